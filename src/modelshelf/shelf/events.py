"""Events: what the library reports while it works, as frozen values. It never prints.

A caller passes a `Listener`, a function that gets each event. A progress bar, a writer of JSON
lines and a counter are three of them. Each package defines the events that it emits.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        IS_PROGRESS: Whether events of this kind only show how far something is. A listener may
            drop them, since the next one says more.
    """

    IS_PROGRESS: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """The event as one JSON object, `{"event": "file-done", "path": …}`."""
        return {"event": name_of(type(self)), **dataclasses.asdict(self)}


def name_of(kind: type[Event]) -> str:
    """The name of a kind of event in JSON: `file-done` for `FileDone`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing with an event."""


@dataclasses.dataclass(frozen=True, slots=True)
class Hashed(Event):
    """`verify` has read `done` of `total` bytes."""

    done: int
    total: int


@dataclasses.dataclass(frozen=True, slots=True)
class Damaged(Event):
    """`verify` found a file that is not what was published; `problem` says how it differs."""

    repo_id: str
    snapshot: str
    path: str
    problem: str


@dataclasses.dataclass(frozen=True, slots=True)
class Verified(Event):
    """`verify` has read all of a snapshot; `damaged` is the number of its damaged files."""

    repo_id: str
    snapshot: str
    files: int
    bytes: int
    damaged: int


@dataclasses.dataclass(frozen=True, slots=True)
class Purged(Event):
    """A model was deleted from a shelf: the number of its snapshots, and their bytes."""

    repo_id: str
    snapshots: int
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class GateWaiting(Event):
    """A gate waits until a snapshot is whole on its host; `reason` says what is missing."""

    snapshot: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class GateOpen(Event):
    """A gate opened: the snapshot is whole on its host, and an engine may start."""

    snapshot: str
    path: str
    seconds: float
