"""What happens, as frozen values: the library speaks through these and never prints.

Whoever calls passes a `Listener`; a progress bar, JSON lines and counters are three of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `to_json` gives its name under `event` and its fields beside it."""

    def to_json(self) -> dict[str, Any]:
        """The event as one JSON object, `{"event": "file-done", "path": …}`."""
        return {"event": name_of(type(self)), **dataclasses.asdict(self)}


def name_of(kind: type[Event]) -> str:
    """The name of a kind of event in JSON: `file-done` for `FileDone`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who do not care."""


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of a repository that were not chosen: how many, how many bytes, and why."""

    reason: str
    files: int
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Planned(Event):
    """A pull knows what it will do.

    Attributes:
        snapshot: The id it will publish.
        files: How many files it has.
        bytes: Bytes of all of them.
        fetch: Bytes to fetch from the source.
        here: Bytes that are on this shelf, or in a folder it may adopt from, already.
        left_out: What the repository has besides, and why it was not chosen.
        free_after: Bytes that the filesystem will have left.
    """

    repo_id: str
    revision: str
    snapshot: str
    files: int
    bytes: int
    fetch: int
    here: int
    left_out: tuple[LeftOut, ...]
    free_after: int


@dataclasses.dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Bytes are on their way; sent a few times a second.

    Attributes:
        done: Bytes hashed and written, of those that were there before too.
        total: Bytes of the snapshot.
        fetched: Bytes received from the source by this pull.
        connections: Connections in use.
    """

    done: int
    total: int
    fetched: int
    connections: int


@dataclasses.dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A request failed and will be repeated after `wait` seconds."""

    path: str
    reason: str
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class FileDone(Event):
    """A file is whole, verified and on the disk; `how` is fetched, linked, copied or adopted."""

    path: str
    size: int
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting(Event):
    """Somebody else is pulling the same snapshot, and this pull waits for theirs."""

    snapshot: str
    holder: str


@dataclasses.dataclass(frozen=True, slots=True)
class Published(Event):
    """A snapshot is on the shelf.

    Attributes:
        fetched: Bytes received from the source for it by this pull (0 if it was there).
        seconds: How long the pull took.
        how: `pulled` by this pull, `waited` for another's, or `present` before.
    """

    repo_id: str
    snapshot: str
    path: str
    bytes: int
    fetched: int
    seconds: float
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Hashed(Event):
    """`verify` has read this many bytes of `total`."""

    done: int
    total: int


@dataclasses.dataclass(frozen=True, slots=True)
class Damaged(Event):
    """`verify` found a file that is not what was published: `problem` says how."""

    repo_id: str
    snapshot: str
    path: str
    problem: str


@dataclasses.dataclass(frozen=True, slots=True)
class Verified(Event):
    """`verify` has read a snapshot whole; `damaged` counts its bad files."""

    repo_id: str
    snapshot: str
    files: int
    bytes: int
    damaged: int


@dataclasses.dataclass(frozen=True, slots=True)
class Purged(Event):
    """A model was deleted from a shelf for good: its snapshots, and their bytes."""

    repo_id: str
    snapshots: int
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class GateWaiting(Event):
    """A gate waits, and why."""

    snapshot: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class GateOpen(Event):
    """The model is whole here; an engine may start."""

    snapshot: str
    path: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class EngineStarting(Event):
    """`start` starts an engine.

    Attributes:
        argv: What is run.
        how: `stock`, `mended` (a fault of the engine's caches mended), or `fast` (one import for
            all of its processes).
        reason: Why it is not faster; empty if nothing stood in the way.
    """

    argv: tuple[str, ...]
    how: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class EngineReady(Event):
    """The engine's health path answered 200, `seconds` after `start` began."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class EngineEnded(Event):
    """The engine has ended, and nothing that it started is left; 128 + n means by signal n."""

    exit_code: int


@dataclasses.dataclass(frozen=True, slots=True)
class Warmed(Event):
    """Bytes of a model were read into the page cache; `reason` says why not all, if not all."""

    bytes: int
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Unpacked(Event):
    """What an earlier start had compiled is in its place, verified."""

    key: str
    bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Unprimed(Event):
    """There is nothing to unpack, so the engine makes it again; `reason` says why."""

    key: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Primed(Event):
    """What a start compiles is on the shelf; `how` is `made` by this one, or `present` before."""

    key: str
    path: str
    bytes: int
    seconds: float
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Drained(Event):
    """`drain` ended after `seconds`; `reason` says whether the engine was quiet by then."""

    seconds: float
    reason: str


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


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorListening(Event):
    """The mirror answers on this base URL: the value for `HF_ENDPOINT`."""

    url: str
