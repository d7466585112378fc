"""The events of serving on this machine."""

from __future__ import annotations

import dataclasses

from modelshelf.engines.timeline import StartMethod
from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class ModelReading(Event):
    """The engine reads a model; `load` says how, and why."""

    model: str
    load: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaStarting(Event):
    """The process of a replica was started; its output goes to the file `log`."""

    replica: int
    pid: int
    port: int
    log: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaReady(Event):
    """A replica answers on its port.

    Attributes:
        seconds: Seconds since it was started.
        phases: The name and the seconds of each phase of the start.
        how: How the engine was started: `stock`, `mended` or `fast`, as in `EngineStarting`; empty
            if unknown.
        reason: Why it was not started in a faster way; may be empty.
    """

    replica: int
    port: int
    seconds: float
    phases: tuple[tuple[str, float], ...] = ()
    how: StartMethod = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaDied(Event):
    """A replica ended by itself; it is started again after `wait` seconds."""

    replica: int
    exit_code: int
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class RouterDied(Event):
    """The router ended by itself; it is started again after `wait` seconds."""

    exit_code: int
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class Serving(Event):
    """All replicas are ready; the OpenAI-compatible API is at `url`, and serves `model`."""

    url: str
    model: str
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True)
class Draining(Event):
    """The server stops; its requests get `seconds` to finish."""

    seconds: float
