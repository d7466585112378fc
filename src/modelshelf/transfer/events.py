"""What happens during a pull, as frozen values."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from modelshelf.shelf.events import Event
from modelshelf.shelf.values import LeftOut


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
