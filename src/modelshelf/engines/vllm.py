"""vLLM in a pod: its OpenAI-compatible server, from safetensors on the share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.engines import budget, vllm_versions
from modelshelf.engines.images import image
from modelshelf.engines.loading import Loading, Weights, Where, choose
from modelshelf.engines.pods import OFFLINE, PORT, Container, Drain, PodOptions, Start, is_nvidia
from modelshelf.select import servable
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import ServerConfig

# The image's own user, in the group that its folders are open to. vLLM looks its user up by name,
# and dies where there is none.
_USER, _GROUP, _HOME = 2000, 0, "/home/vllm"
_SETTLE = 10  # seconds: with --shutdown-timeout a request that comes after SIGTERM gets a 500
_DRAIN = 120
_LEAST_QUEUE = 256
_MOST_SEQUENCES = 1024  # that vLLM works on at a time by default, on the largest GPUs
# vLLM's own port for talking to itself; taken for the one it serves on, it ends a start.
_MISTAKEN = "VLLM_PORT"


def pod(snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
    """The container that serves a snapshot.

    Raises:
        UsageError: vLLM cannot serve these files, or not as the server is configured.
    """
    gpus = 1 if server.gpus is None else server.gpus
    _refuse(snapshot, server, gpus)
    named = refuse_arguments(server, options.images, options.registry)
    shm = server.shm or quantity_of(budget.shm_size(gpus))
    memory = budget.vllm_memory(snapshot.size, bytes_of(shm), gpus=gpus)
    load = _loading(snapshot, server, options.where, _given_memory(server) or memory)
    drain = _drain(_DRAIN if server.drain is None else server.drain)
    port = server.port or PORT
    return Container(
        image=named,
        command=("vllm", "serve", options.path),
        args=(*_args(server, options.name, port, drain), *load.args, *server.args),
        env={**_environment(gpus, options.start), **server.env},
        port=port,
        health_path="/health",
        model=options.name,
        start=Start(load.prefetch, load.why, _fork(server, gpus)),
        user=server.user or _USER,
        group=_GROUP if server.group is None else server.group,
        writable={_HOME: "10Gi", "/tmp": "5Gi"},  # noqa: S108 (of the container's own)
        disk="2Gi",
        shm=shm,
        cpu=str(2 + 2 * gpus),
        memory=quantity_of(memory),
        gpus=gpus,
        gpu_resource=server.gpu_resource,
        drain=drain,
        # The hook that brings a GPU into a container writes there.
        read_only_root=False,
    )


def refuse_arguments(server: ServerConfig, images: Mapping[str, str], registry: str | None) -> str:
    """Refuse arguments of the user that the image's version of vLLM does not have.

    Returns:
        The image.

    Raises:
        UsageError: There is one.
    """
    key = "vllm-cpu" if server.gpus == 0 else "vllm"
    named = image(images, registry, key, server.image)
    vllm_versions.refuse(server.args, named)
    return named


def _refuse(snapshot: Snapshot, server: ServerConfig, gpus: int) -> None:
    if not servable(snapshot.files, "vllm"):
        raise UsageError(
            f"vLLM cannot serve {snapshot.repo_id} as it is locked: there are no whole weights "
            "with their configuration among its files",
            hint=f"models.{server.model}.engine: vllm chooses them; for GGUF files the server's "
            "engine is llamacpp",
        )
    if _MISTAKEN in server.env:
        raise UsageError(
            f"vLLM takes {_MISTAKEN} for talking to itself, not for serving",
            hint="the server's `port:` is the one it listens on",
        )
    if gpus and server.image is None and not is_nvidia(server.gpu_resource):
        raise UsageError(
            f"the pinned image of vLLM is for GPUs of NVIDIA, not for {server.gpu_resource}",
            hint="name one with the server's `image:`",
        )


def _drain(seconds: int) -> Drain:
    """How it stops, if requests under way have some seconds to finish.

    They have them all in all: half of them before SIGTERM, when it serves what still comes over
    connections that are open, and half after it, so that the last of these has time, too.
    """
    finish = seconds // 2
    return Drain(min(_SETTLE, seconds), seconds - finish, finish)


def _loading(snapshot: Snapshot, server: ServerConfig, where: Where, memory: int) -> Loading:
    gpus = 1 if server.gpus is None else server.gpus
    shm = bytes_of(server.shm) if server.shm else budget.shm_size(gpus)
    room = memory - budget.vllm_besides(snapshot.size, shm, gpus=gpus)
    return choose(server.load, Weights(snapshot, where, room, gpus), server.args)


def _given_memory(server: ServerConfig) -> int | None:
    """The memory that the user gives a container; a request alone is the limit, too."""
    for part in ("limits", "requests"):
        if amount := (server.resources or {}).get(part, {}).get("memory"):
            with contextlib.suppress(UsageError):  # in thousandths, which nobody writes
                return bytes_of(amount)
    return None


def _fork(server: ServerConfig, gpus: int) -> bool | None:
    """Whether one import serves all its processes: tested on processors, asked for on GPUs."""
    if gpus:
        return server.fast_start or None
    return server.fast_start is not False


def _args(server: ServerConfig, name: str, port: int, drain: Drain) -> tuple[str, ...]:
    most = _MOST_SEQUENCES if server.parallel is None else server.parallel
    args = [
        f"--served-model-name={name}",
        "--host=0.0.0.0",
        f"--port={port}",
        # Else SIGTERM ends answers under way in the middle, as if they were complete.
        f"--shutdown-timeout={drain.finish}",
        # Else requests queue without end: a client is better off with a 503 and another pod.
        f"--max-num-queued-reqs={max(_LEAST_QUEUE, 2 * most)}",
        "--disable-access-log-for-endpoints=/health,/metrics,/ping",
    ]
    if server.context_length is not None:
        args.append(f"--max-model-len={server.context_length}")
    if server.parallel is not None:
        args.append(f"--max-num-seqs={server.parallel}")
    if (server.gpus or 0) > 1:
        args.append(f"--tensor-parallel-size={server.gpus}")
    return tuple(args)


def _environment(gpus: int, start: int) -> dict[str, str]:
    env = {
        **OFFLINE,
        "HOME": _HOME,
        "USER": "vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(start),
        "VLLM_NO_USAGE_STATS": "1",
    }
    return env if gpus else {**env, "VLLM_CPU_KVCACHE_SPACE": str(budget.VLLM_CPU_KV)}
