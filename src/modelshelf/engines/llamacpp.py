"""llama.cpp: serves one GGUF model with its own HTTP server.

On this machine it is embedded as xllamacpp; in a pod it is `llama-server` of the project's image.
"""

from __future__ import annotations

import math
import os
import posixpath
import sys
from typing import TYPE_CHECKING

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.engines import budget
from modelshelf.engines.images import image
from modelshelf.engines.pods import PORT, Container, Drain, PodOptions, is_nvidia
from modelshelf.engines.spec import ServeOptions, ServerSpec
from modelshelf.select import servable
from modelshelf.select.quantisations import choose_projector, find_quantisations
from modelshelf.shelf.errors import NotOnShelfError, UsageError
from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import ServerConfig

NEEDS = "xllamacpp"
DISTRIBUTIONS: tuple[str, ...] = ()
PARALLEL = 4
_SETTLE = 30  # seconds: SIGTERM ends answers under way, so this is all that they get


def accepts(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds exactly one GGUF model with all its parts."""
    return servable(snapshot.files, "llamacpp")


def spec(snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
    """The process that serves a snapshot whose folder the engine sees at `path`.

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
    # Of a split model llama.cpp takes the first part and finds the others beside it.
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


def pod(snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
    """The container that serves a snapshot.

    Raises:
        UsageError: The snapshot does not hold exactly one whole GGUF model, or the pinned image is
            not for these GPUs.
    """
    gpus = server.gpus or 0
    _refuse(snapshot, server, options.name, gpus)
    port = server.port or PORT
    tokens = server.context_length or budget.LLAMACPP_CONTEXT
    tokens *= 1 if server.context_length is None else server.parallel or PARALLEL
    memory = budget.llamacpp_memory(snapshot.size, tokens)
    if server.shm is not None:
        memory += bytes_of(server.shm)
    key = "llamacpp-cuda" if gpus else "llamacpp"
    return Container(
        image=image(options.images, options.registry, key, server.image),
        command=("/app/llama-server",),
        args=(*_args(snapshot, server, options, port), *server.args),
        env={"HOME": "/tmp", **server.env},  # noqa: S108 (of the container's own)
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
        drain=Drain(_SETTLE if server.drain is None else server.drain),
        # With a GPU, the hook that brings it into the container writes there.
        read_only_root=not gpus,
    )


def _refuse(snapshot: Snapshot, server: ServerConfig, name: str, gpus: int) -> None:
    if "," in name:
        raise UsageError(
            f"llama.cpp takes the model's name {name!r} for several, because of the comma",
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
        # One context for all requests. On a GPU it becomes as long as fits; otherwise a model's own
        # length could be more than any pod's memory.
        args += ["--kv-unified"]
        args += [] if server.gpus else ["--ctx-size", str(budget.LLAMACPP_CONTEXT)]
    args += ["--parallel", str(parallel)]
    if cores := _cores(server):
        # Threads wait for each other after each layer: more than there are cores stand in the way.
        args += ["--threads", str(cores)]
    args += ["--cache-ram", str(budget.LLAMACPP_PROMPTS // budget.MIB)]
    return (*args, "--offline", "--no-webui", "--no-slots", "--metrics")


def _cores(server: ServerConfig) -> int:
    """The whole cores that the user gives a pod, rounded up; 0 where nobody says."""
    given = server.resources or {}
    for part in ("limits", "requests"):
        text = given.get(part, {}).get("cpu", "")
        try:
            return math.ceil(int(text[:-1]) / 1000 if text.endswith("m") else float(text))
        except ValueError:
            continue
    return 0
