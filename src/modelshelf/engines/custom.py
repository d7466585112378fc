"""Any engine that loads a model from a path: the user gives its image and its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.engines import budget
from modelshelf.engines.images import mirrored_image
from modelshelf.engines.pod_engine import OFFLINE, PORT, Container, DrainSeconds, PodOptions
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import ServerConfig

_HOME = "/home/engine"
# It is unknown whether such an engine finishes its requests after SIGTERM. So it gets this time
# before SIGTERM.
_KEEP_SERVING_SECONDS = 30


def make_container(snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
    """Make the container that serves a snapshot.

    Raises:
        UsageError: The server has no image, or no command that names the model.
    """
    port = server.port or PORT
    gpus = server.gpus or 0
    command, args = _fill_command(server, options, port)
    shm = server.shm or quantity_of(budget.shm_size(gpus))
    memory = budget.vllm_memory(snapshot.size, bytes_of(shm), gpus=gpus)
    return Container(
        image=mirrored_image(server.image or "", options.registry),
        command=command,
        args=args,
        env={**OFFLINE, "HOME": _HOME, **server.env},
        port=port,
        health_path=server.health,
        model=options.name,
        start=None,
        user=server.user,
        group=server.group,
        writable={_HOME: "10Gi", "/tmp": "5Gi"},  # noqa: S108 - a folder of the container
        disk="2Gi",
        shm=shm,
        cpu=str(2 + 2 * gpus),
        memory=quantity_of(memory),
        gpus=gpus,
        gpu_resource=server.gpu_resource,
        drain=DrainSeconds(_KEEP_SERVING_SECONDS if server.drain is None else server.drain),
        read_only_root=False,
    )


def _fill_command(
    server: ServerConfig, options: PodOptions, port: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fill the placeholders in the command and in the arguments."""
    if server.image is None:
        raise UsageError(
            "a custom engine has no default image", hint="name one with the server's `image:`"
        )
    if not any("{model}" in text for text in (*server.command, *server.args)):
        raise UsageError(
            "nothing in the custom engine's command says where the model is",
            hint="write {model} there, and {port} and {name} where they belong",
        )
    values = {"{model}": options.path, "{port}": str(port), "{name}": options.name}

    def fill(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_replace_all(text, values) for text in texts)

    return fill(server.command), fill(server.args)


def _replace_all(text: str, values: dict[str, str]) -> str:
    # str.format does not do: some arguments are JSON, which has braces of its own.
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
