"""llama.cpp, which serves one GGUF model with its own HTTP server.

On this machine it is the Python package xllamacpp, run by `llamacpp_server`. In a pod it is the
program `llama-server` of llama.cpp's own image.
"""

from __future__ import annotations

import math
import os
import posixpath
import sys
from typing import TYPE_CHECKING

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.engines import budget
from modelshelf.engines.images import choose_image
from modelshelf.engines.local_engine import ServeOptions, ServerSpec
from modelshelf.engines.pod_engine import PORT, Container, DrainSeconds, PodOptions, is_nvidia
from modelshelf.select import servable
from modelshelf.select.quantisations import choose_projector, find_quantisations
from modelshelf.shelf.errors import NotOnShelfError, UsageError
from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import ServerConfig

PACKAGE = "xllamacpp"
DISTRIBUTIONS: tuple[str, ...] = ()
PARALLEL = 4
# SIGTERM cuts off the answers that are being made, so all the time to finish is before it.
_KEEP_SERVING_SECONDS = 30


def accepts(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds exactly one GGUF model with all its parts."""
    return servable(snapshot.files, "llamacpp")


def make_server_spec(snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
    """Describe the process that serves a snapshot; see `local_engine.Engine`.

    Raises:
        NotOnShelfError: The snapshot does not hold exactly one whole GGUF model.
    """
    if not accepts(snapshot):
        raise NotOnShelfError(
            f"{snapshot.repo_id}@{snapshot.id} does not hold exactly one whole GGUF model, "
            "which is what llama.cpp serves",
            hint=f"modelshelf pull {snapshot.source} --for llamacpp",
        )
    model = find_quantisations(snapshot.files)[0]
    projector = choose_projector(snapshot.files, model)
    name = options.name or snapshot.repo_id
    argv = [sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server"]
    # llama.cpp takes the first part of a split model and finds the other parts beside it.
    argv += ["--model", os.path.join(path, model.files[0].path)]
    if projector:
        argv += ["--projector", os.path.join(path, projector.path)]
    argv += ["--name", name, "--host", options.host, "--port", str(options.port)]
    if options.context_length is not None:
        argv += ["--context-length", str(options.context_length)]
    argv += ["--parallel", str(options.parallel or PARALLEL)]
    if options.threads is not None:
        argv += ["--threads", str(options.threads)]
    return ServerSpec(
        argv=(*argv, *options.extra), port=options.port, health_path="/health", model=name
    )


def make_container(snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
    """Make the container that serves a snapshot.

    Raises:
        UsageError: The snapshot does not hold exactly one whole GGUF model, or the pinned image is
            not for these GPUs, or the model's name has a comma.
    """
    gpus = server.gpus or 0
    _require_servable(snapshot, server, options.name, gpus)
    port = server.port or PORT
    tokens = server.context_length or budget.LLAMACPP_CONTEXT_TOKENS
    tokens *= 1 if server.context_length is None else server.parallel or PARALLEL
    memory = budget.llamacpp_memory(snapshot.size, tokens)
    if server.shm is not None:
        memory += bytes_of(server.shm)
    key = "llamacpp-cuda" if gpus else "llamacpp"
    return Container(
        image=choose_image(options.images, options.registry, key, server.image),
        command=("/app/llama-server",),
        args=(*_args(snapshot, server, options, port), *server.args),
        env={"HOME": "/tmp", **server.env},  # noqa: S108 - a folder of the container
        port=port,
        health_path="/health",
        model=options.name,
        start=None,
        user=server.user,
        group=server.group,
        writable={"/tmp": "1Gi"},  # noqa: S108
        disk="64Mi",
        shm=server.shm,
        cpu="1",
        memory=quantity_of(memory),
        gpus=gpus,
        gpu_resource=server.gpu_resource,
        drain=DrainSeconds(_KEEP_SERVING_SECONDS if server.drain is None else server.drain),
        # The hook that brings a GPU into the container writes into the root filesystem.
        read_only_root=not gpus,
    )


def _require_servable(snapshot: Snapshot, server: ServerConfig, name: str, gpus: int) -> None:
    if "," in name:
        raise UsageError(
            f"llama.cpp reads the model's name {name!r} as several names, because of the comma",
            hint="give the server a `name:` without one",
        )
    if not accepts(snapshot):
        raise UsageError(
            f"llama.cpp cannot serve {snapshot.repo_id} as it is locked: it does not hold exactly "
            "one whole GGUF model",
            hint=f"models.{server.model}.include names one, as in '*Q4_K_M*'",
        )
    if gpus and server.image is None and not is_nvidia(server.gpu_resource):
        raise UsageError(
            f"the pinned image of llama.cpp is for GPUs of NVIDIA, not for {server.gpu_resource}",
            hint="name one with the server's `image:`",
        )


def _args(
    snapshot: Snapshot, server: ServerConfig, options: PodOptions, port: int
) -> tuple[str, ...]:
    model = find_quantisations(snapshot.files)[0]
    projector = choose_projector(snapshot.files, model)
    args = ["--model", posixpath.join(options.path, model.files[0].path)]
    if projector:
        args += ["--mmproj", posixpath.join(options.path, projector.path)]
    args += ["--alias", options.name, "--host", "0.0.0.0", "--port", str(port)]  # noqa: S104
    parallel = server.parallel or PARALLEL
    if server.context_length is not None:
        args += ["--ctx-size", str(server.context_length * parallel)]
    else:
        # All requests share one context. On a GPU llama.cpp makes it as long as fits. Without one
        # it takes the model's own length, for which a pod's memory may be too small.
        args += ["--kv-unified"]
        args += [] if server.gpus else ["--ctx-size", str(budget.LLAMACPP_CONTEXT_TOKENS)]
    args += ["--parallel", str(parallel)]
    if cores := _configured_cores(server):
        # The threads wait for each other after each layer, so more threads than cores are slower.
        args += ["--threads", str(cores)]
    args += ["--cache-ram", str(budget.LLAMACPP_PROMPT_CACHE // budget.MIB)]
    return (*args, "--offline", "--no-webui", "--no-slots", "--metrics")


def _configured_cores(server: ServerConfig) -> int:
    """The cores that the user's configuration gives a pod, rounded up; 0 if it names none."""
    resources = server.resources or {}
    for part in ("limits", "requests"):
        text = resources.get(part, {}).get("cpu", "")
        try:
            return math.ceil(int(text[:-1]) / 1000 if text.endswith("m") else float(text))
        except ValueError:
            continue
    return 0
