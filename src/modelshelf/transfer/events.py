"""The events of a pull."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, TypeAlias

from modelshelf.shelf.events import Event
from modelshelf.shelf.values import LeftOut

FileOrigin: TypeAlias = Literal["fetched", "linked", "copied", "recovered"]
"""How a file came to the shelf.

`fetched` from the source; `linked` or `copied` from another snapshot or from the user's folder;
`recovered` from what a dead pull had finished.
"""

PullOutcome: TypeAlias = Literal["pulled", "waited", "present"]
"""`pulled` by this pull; `waited` until another pull had published it; `present` before."""


@dataclasses.dataclass(frozen=True, slots=True)
class Planned(Event):
    """A pull has decided where each file will come from.

    Attributes:
        snapshot: The id it will publish.
        files: How many files it has.
        bytes: Bytes of all files.
        fetch: Bytes to fetch from the source.
        here: Bytes that need not be fetched: the shelf, a dead pull or a given folder has them.
        left_out: The files of the repository that were not chosen, and why.
        free_after: Bytes that will be free on the filesystem afterwards; None if the filesystem
            does not say.
    """

    repo_id: str
    revision: str
    snapshot: str
    files: int
    bytes: int
    fetch: int
    here: int
    left_out: tuple[LeftOut, ...]
    free_after: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Progressed(Event):
    """How far a pull is; sent a few times a second.

    Attributes:
        done: Bytes hashed and written, and those that were there before.
        total: Bytes of the snapshot.
        fetched: Bytes received from the source by this pull.
        connections: Connections in use.
    """

    IS_PROGRESS: ClassVar[bool] = True

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
    """A file is whole, verified and on the disk.

    Attributes:
        size: Its bytes.
        how: `fetched` from the source; `linked` or `copied` from another snapshot or from a given
            folder; `recovered` from what a dead pull had finished.
    """

    path: str
    size: int
    how: FileOrigin


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting(Event):
    """Another process (`holder`) is pulling the same snapshot, and this pull waits for it."""

    snapshot: str
    holder: str


@dataclasses.dataclass(frozen=True, slots=True)
class Published(Event):
    """A snapshot is on the shelf.

    Attributes:
        fetched: Bytes that this pull received from the source (0 if the snapshot was there).
        seconds: How long the pull took.
        how: `pulled` by this pull; `waited` until another pull had published it; `present` before.
    """

    repo_id: str
    snapshot: str
    path: str
    bytes: int
    fetched: int
    seconds: float
    how: PullOutcome
