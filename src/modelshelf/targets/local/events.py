"""What happens while this machine serves, as frozen values."""

from __future__ import annotations

import dataclasses

from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class ModelReading(Event):
    """How an engine reads its model, and why."""

    model: str
    load: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaStarting(Event):
    """An engine process was started; its output goes to the file `log`."""

    replica: int
    pid: int
    port: int
    log: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaReady(Event):
    """A replica answers on its port.

    Attributes:
        seconds: Since it was started.
        phases: What they were made of: names and seconds.
        how: `stock`, `mended` or `fast`, where its engine says so.
        reason: Why it was not faster; may be empty.
    """

    replica: int
    port: int
    seconds: float
    phases: tuple[tuple[str, float], ...] = ()
    how: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ReplicaDied(Event):
    """A replica ended by itself and is started again after `wait` seconds."""

    replica: int
    exit_code: int
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class RouterDied(Event):
    """The router before the replicas ended by itself and is started again after `wait` seconds."""

    exit_code: int
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class Serving(Event):
    """Everything is ready: base URL of the OpenAI-compatible API, and the model's name there."""

    url: str
    model: str
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True)
class Draining(Event):
    """Stopping: requests in flight are finished first, for `seconds` at most."""

    seconds: float
