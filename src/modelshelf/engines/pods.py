"""What a pod is told about its engine, whatever the engine: values alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    # pydantic takes long to import, and serving on this machine needs none of it.
    from modelshelf.config.server_section import ServerConfig
    from modelshelf.engines.loading import Where

PORT = 8000  # of every engine: one port fewer to know
OFFLINE: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_NVIDIA = "nvidia.com/"


@dataclasses.dataclass(frozen=True, slots=True)
class Drain:
    """How a server stops, in seconds.

    Attributes:
        settle: It goes on serving as before, while the news spreads that it is leaving. Requests
            that come after SIGTERM fail in every engine.
        busy: It goes on for as much longer while requests are under way; 0 where nothing of ours
            can look.
        finish: After SIGTERM the engine itself finishes what is under way, and ends sooner if
            nothing is.
        teardown: It frees its memory and ends.
    """

    settle: int
    busy: int = 0
    finish: int = 0
    teardown: int = 15

    @property
    def most(self) -> int:
        """Until SIGTERM, at the most."""
        return self.settle + self.busy

    @property
    def grace(self) -> int:
        """All of it: what Kubernetes waits before it kills."""
        return self.most + self.finish + self.teardown


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """How our `start` runs an engine whose image has a `python3`.

    Attributes:
        prefetch: Whether it reads the model into the page cache while the engine imports.
        load: How the engine reads the model, and why; the end of a sentence.
        fork: Whether the engine's processes are forked from one that has imported it; False for
            its own way of starting them, mended; None to change nothing.
        metrics: The path at which the engine counts requests under way.
    """

    prefetch: bool
    load: str
    fork: bool | None
    metrics: str = "/metrics"


@dataclasses.dataclass(frozen=True, slots=True)
class PodOptions:
    """What an engine is told besides the snapshot and its part of modelshelf.yaml.

    Attributes:
        path: The folder in which it sees the snapshot.
        name: The model's name in the API.
        start: Seconds that it may take until it is ready.
        images: Names of images that take the place of the pinned ones, by key.
        registry: Where a mirror has all images.
        where: What kind of filesystem the snapshot lies on.
    """

    path: str
    name: str
    start: int
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    registry: str | None = None
    where: Where = "nfs"


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """The container in which an engine runs. Sizes are Kubernetes quantities.

    Attributes:
        image: Its full name.
        command: The program, in place of the image's own.
        args: Its arguments.
        env: Environment variables.
        port: Where it listens.
        health_path: What answers 200 there once the model is loaded.
        model: The model's name in its API.
        start: How our own code starts it, and gates it; None where the image has no `python3`.
        user: The uid that it needs; None if any will do.
        group: The gid that it needs; None if any will do.
        writable: Folder → how much it may write there.
        disk: What it writes at least.
        shm: How large `/dev/shm` is; None for the usual 64 MiB.
        cpu: Cores that it has for itself; it takes more while nobody else wants them.
        memory: What it needs and gets at the most.
        gpus: GPUs.
        gpu_resource: What the cluster calls them.
        drain: How it stops.
        read_only_root: Whether it can do without writing elsewhere.
    """

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    health_path: str
    model: str
    start: Start | None
    user: int | None
    group: int | None
    writable: Mapping[str, str]
    disk: str
    shm: str | None
    cpu: str
    memory: str
    gpus: int
    gpu_resource: str
    drain: Drain
    read_only_root: bool


class PodEngine(Protocol):
    """What serves models in pods. Implementations are modules, listed in `POD_ENGINES`."""

    def pod(self, snapshot: Snapshot, server: ServerConfig, options: PodOptions) -> Container:
        """The container that serves a snapshot.

        Raises:
            UsageError: It cannot serve these files, or not as the server is configured.
        """
        ...


def is_nvidia(resource: str) -> bool:
    """Whether a GPU resource is one of NVIDIA's, a part of a GPU or a shared one included."""
    return resource.startswith(_NVIDIA)
