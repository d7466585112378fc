"""vLLM in a pod: its OpenAI-compatible server, which reads weights from the share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.engines import budget, vllm_versions
from modelshelf.engines.images import choose_image
from modelshelf.engines.pod_engine import (
    OFFLINE,
    PORT,
    Container,
    DrainSeconds,
    PodOptions,
    StartOptions,
    is_nvidia,
)
from modelshelf.engines.weight_loading import (
    LoadMethod,
    StorageKind,
    Weights,
    choose_load_method,
)
from modelshelf.select import servable
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import ServerConfig

# The image's own user, and the group that may write to the image's folders. vLLM looks up the name
# of its user, and exits if the user has none.
_USER, _GROUP, _HOME = 2000, 0, "/home/vllm"
# With --shutdown-timeout, a request that arrives after SIGTERM gets the status 500.
_KEEP_SERVING_SECONDS = 10
_DRAIN_SECONDS = 120
_MIN_QUEUED_REQUESTS = 256
_MAX_SEQUENCES = 1024  # vLLM's own default on the largest GPUs
# vLLM's processes talk to each other through this port. Users take the name for the port that vLLM
# serves on; vLLM does not start then.
_INTERNAL_PORT_VARIABLE = "VLLM_PORT"


def make_container(snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
    """Make the container that serves a snapshot.

    Raises:
        UsageError: vLLM cannot serve these files, or not as the server is configured.
    """
    gpus = 1 if server.gpus is None else server.gpus
    _require_servable(snapshot, server, gpus)
    image = check_arguments(server, options.images, options.registry)
    shm = server.shm or quantity_of(budget.shm_size(gpus))
    memory = budget.vllm_memory(snapshot.size, bytes_of(shm), gpus=gpus)
    container_memory = _configured_memory(server) or memory
    load = _load_method(snapshot, server, options.storage, container_memory)
    drain = _drain_seconds(_DRAIN_SECONDS if server.drain is None else server.drain)
    port = server.port or PORT
    return Container(
        image=image,
        command=("vllm", "serve", options.path),
        args=(*_args(server, options.name, port, drain), *load.args, *server.args),
        env={**_environment(gpus, options.start_seconds), **server.env},
        port=port,
        health_path="/health",
        model=options.name,
        start=StartOptions(load.prefetch, load.description, _fork(server, gpus)),
        user=server.user or _USER,
        group=_GROUP if server.group is None else server.group,
        writable={_HOME: "10Gi", "/tmp": "5Gi"},  # noqa: S108 - a folder of the container
        disk="2Gi",
        shm=shm,
        cpu=str(2 + 2 * gpus),
        memory=quantity_of(memory),
        gpus=gpus,
        gpu_resource=server.gpu_resource,
        drain=drain,
        # The hook that brings a GPU into a container writes into the root filesystem.
        read_only_root=False,
    )


def check_arguments(server: ServerConfig, images: Mapping[str, str], registry: str | None) -> str:
    """Check the user's arguments against the version of vLLM in the server's image.

    Args:
        server: The server's part of modelshelf.yaml.
        images: The user's names of images by key.
        registry: The mirror that has all images; None if there is none.

    Returns:
        The full name of the image.

    Raises:
        UsageError: That version does not have the value of an argument.
    """
    key = "vllm-cpu" if server.gpus == 0 else "vllm"
    image = choose_image(images, registry, key, server.image)
    vllm_versions.require_known_values(server.args, image)
    return image


def _require_servable(snapshot: Snapshot, server: ServerConfig, gpus: int) -> None:
    if not servable(snapshot.files, "vllm"):
        raise UsageError(
            f"vLLM cannot serve {snapshot.repo_id} as it is locked: there are no whole weights "
            "with their configuration among its files",
            hint=f"models.{server.model}.engine: vllm chooses them; for GGUF files the server's "
            "engine is llamacpp",
        )
    if _INTERNAL_PORT_VARIABLE in server.env:
        raise UsageError(
            f"vLLM uses {_INTERNAL_PORT_VARIABLE} between its own processes, not for serving",
            hint="set the port that it listens on with the server's `port:`",
        )
    if gpus and server.image is None and not is_nvidia(server.gpu_resource):
        raise UsageError(
            f"the pinned image of vLLM is for GPUs of NVIDIA, not for {server.gpu_resource}",
            hint="name one with the server's `image:`",
        )


def _drain_seconds(seconds: int) -> DrainSeconds:
    """Divide the seconds that requests have to finish: half before SIGTERM, half after it.

    Before SIGTERM vLLM still accepts the requests that arrive over open connections. The second
    half is there so that the last of those has time to finish, too.
    """
    finish = seconds // 2
    return DrainSeconds(min(_KEEP_SERVING_SECONDS, seconds), seconds - finish, finish)


def _load_method(
    snapshot: Snapshot, server: ServerConfig, storage: StorageKind, memory: int
) -> LoadMethod:
    gpus = 1 if server.gpus is None else server.gpus
    shm = bytes_of(server.shm) if server.shm else budget.shm_size(gpus)
    room = memory - budget.vllm_overhead(snapshot.size, shm, gpus=gpus)
    return choose_load_method(server.load, Weights(snapshot, storage, room, gpus), server.args)


def _configured_memory(server: ServerConfig) -> int | None:
    """The bytes of memory that the user's configuration gives a container; None if it does not.

    A request without a limit becomes the limit, too.
    """
    for part in ("limits", "requests"):
        if quantity := (server.resources or {}).get(part, {}).get("memory"):
            # Kubernetes also allows thousandths of a byte, which `bytes_of` refuses.
            with contextlib.suppress(UsageError):
                return bytes_of(quantity)
    return None


def _fork(server: ServerConfig, gpus: int) -> bool | None:
    """Whether processes are forked: by default on CPUs, where it is tested; on GPUs on request."""
    if gpus:
        return server.fast_start or None
    return server.fast_start is not False


def _args(server: ServerConfig, name: str, port: int, drain: DrainSeconds) -> tuple[str, ...]:
    sequences = _MAX_SEQUENCES if server.parallel is None else server.parallel
    args = [
        f"--served-model-name={name}",
        "--host=0.0.0.0",
        f"--port={port}",
        # Without it, SIGTERM cuts answers off in the middle, and they look complete.
        f"--shutdown-timeout={drain.finish}",
        # Without it, the queue is unlimited. A client that gets a 503 can try another pod.
        f"--max-num-queued-reqs={max(_MIN_QUEUED_REQUESTS, 2 * sequences)}",
        "--disable-access-log-for-endpoints=/health,/metrics,/ping",
    ]
    if server.context_length is not None:
        args.append(f"--max-model-len={server.context_length}")
    if server.parallel is not None:
        args.append(f"--max-num-seqs={server.parallel}")
    if (server.gpus or 0) > 1:
        args.append(f"--tensor-parallel-size={server.gpus}")
    return tuple(args)


def _environment(gpus: int, start_seconds: int) -> dict[str, str]:
    env = {
        **OFFLINE,
        "HOME": _HOME,
        "USER": "vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(start_seconds),
        "VLLM_NO_USAGE_STATS": "1",
    }
    return env if gpus else {**env, "VLLM_CPU_KVCACHE_SPACE": str(budget.VLLM_CPU_KV_CACHE_GIB)}
