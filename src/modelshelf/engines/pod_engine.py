"""The protocol of engines in pods: what an engine gets, and the container that it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from modelshelf.shelf.values import Snapshot

if TYPE_CHECKING:
    # pydantic takes long to import, and serving on this machine does not need it.
    from modelshelf.config.server_section import ServerConfig
    from modelshelf.engines.weight_loading import StorageKind

PORT = 8000  # the default of every engine
OFFLINE: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_NVIDIA_PREFIX = "nvidia.com/"


@dataclasses.dataclass(frozen=True, slots=True)
class DrainSeconds:
    """How long each step of stopping a server takes, in the order of the steps.

    Attributes:
        keep_serving: The engine serves as before, while clients and proxies learn that the pod is
            leaving. Every engine fails the requests that arrive after SIGTERM.
        requests: The engine serves for up to this much longer while it has requests. 0 where
            modelshelf's `drain` cannot run in the container.
        finish: After SIGTERM the engine itself finishes its requests for up to this long.
        teardown: The engine frees its memory and exits.
    """

    keep_serving: int
    requests: int = 0
    finish: int = 0
    teardown: int = 15

    @property
    def before_sigterm(self) -> int:
        """The longest time until the engine gets SIGTERM."""
        return self.keep_serving + self.requests

    @property
    def grace_period(self) -> int:
        """The time for all steps, after which Kubernetes kills the pod."""
        return self.before_sigterm + self.finish + self.teardown


@dataclasses.dataclass(frozen=True, slots=True)
class StartOptions:
    """How `modelshelf.start` runs an engine, where the engine's image has a `python3`.

    Attributes:
        prefetch: Whether it reads the model into the page cache while the engine imports.
        load: How the engine reads the model, and why: the end of a sentence that begins with "the
            engine reads the model".
        fork: True to fork the engine's processes from one that has imported the engine. False to
            let the engine start them in its own way, with known faults mended. None to change
            nothing.
        metrics: The path at which the engine reports the number of its requests.
    """

    prefetch: bool
    load: str
    fork: bool | None
    metrics: str = "/metrics"


@dataclasses.dataclass(frozen=True, slots=True)
class PodOptions:
    """What an engine gets besides the snapshot and its server's part of modelshelf.yaml.

    Attributes:
        path: The folder in which the engine sees the snapshot.
        name: The model's name in the API.
        start_seconds: How long the engine may take until it is ready.
        images: The user's names of images by key; each replaces the pinned one.
        registry: The mirror that has all images; None if there is none.
        storage: The kind of filesystem that the snapshot lies on.
    """

    path: str
    name: str
    start_seconds: int
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    registry: str | None = None
    storage: StorageKind = "nfs"


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """The container in which an engine runs. Sizes are Kubernetes quantities.

    Attributes:
        image: Its full name.
        command: The program; it replaces the image's own.
        args: The program's arguments.
        env: Environment variables.
        port: The port that the engine listens on.
        health_path: The path that answers 200 once the model is loaded.
        model: The model's name in the engine's API.
        start: How `modelshelf.start` runs the engine; None where the image has no `python3`.
        user: The uid that the engine needs; None if any uid will do.
        group: The gid that the engine needs; None if any gid will do.
        writable: Folder → how much the engine may write there.
        disk: How much the engine writes at least.
        shm: The size of `/dev/shm`; None for the usual 64 MiB.
        cpu: The cores that are reserved for the engine. It uses more while other pods do not.
        memory: The memory that the engine needs, which is also its limit.
        gpus: The number of GPUs.
        gpu_resource: The cluster's name for a GPU.
        drain: How long each step of stopping takes.
        read_only_root: Whether the engine writes nowhere but in `writable`.
    """

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    health_path: str
    model: str
    start: StartOptions | None
    user: int | None
    group: int | None
    writable: Mapping[str, str]
    disk: str
    shm: str | None
    cpu: str
    memory: str
    gpus: int
    gpu_resource: str
    drain: DrainSeconds
    read_only_root: bool


class PodEngine(Protocol):
    """An engine that serves models in pods. The engines are modules, listed in `POD_ENGINES`."""

    def make_container(
        self, snapshot: Snapshot, server: ServerConfig, options: PodOptions
    ) -> Container:
        """Make the container that serves a snapshot.

        Raises:
            UsageError: The engine cannot serve these files, or not with this configuration.
        """
        ...


def is_nvidia(resource: str) -> bool:
    """Whether a GPU resource is NVIDIA's; that includes parts of a GPU and shared GPUs."""
    return resource.startswith(_NVIDIA_PREFIX)
