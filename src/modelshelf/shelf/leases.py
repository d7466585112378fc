"""Leases: who is pulling a snapshot, and who is reading one.

A lease saves bandwidth and protects readers from `rm`; no correctness of the shelf's bytes rests
on it. It is a file made with O_EXCL and rewritten now and then. It is stale when it did not change
for a while on the observer's own monotonic clock, since clocks of hosts differ and `flock` lies on
many shared filesystems.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Self

from modelshelf.shelf.files import explained, make_folders, names, now_at, read_json, write_json
from modelshelf.shelf.layout import lease_file
from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.values import canonical_json


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How hearts beat.

    Attributes:
        beat: Seconds between two heartbeats.
        stale: Seconds without one after which a lease counts for nothing.
    """

    beat: float = 5.0
    stale: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """What a lease's file says: whose it is, for what, and how often its heart has beaten."""

    owner: str
    process: ProcessIdentity
    purpose: str
    beats: int

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host}"


# A lease's file is empty for a moment after it was made.
_BEING_WRITTEN = Holder("", ProcessIdentity("an unknown host", "", "", 0, ""), "", 0)


def read_holder(path: str) -> Holder | None:
    """The holder named by a lease's file; None if there is none or it cannot be read."""
    data = None
    with contextlib.suppress(OSError):
        data = read_json(path)
    if data is None:
        return None
    try:
        process = ProcessIdentity.from_json(data["process"])
        return Holder(str(data["owner"]), process, str(data["purpose"]), int(data["beats"]))
    except (KeyError, TypeError, ValueError):
        return None


def _look(path: str) -> Holder | None:
    holder = read_holder(path)
    if holder is None and os.path.exists(path):
        return _BEING_WRITTEN
    return holder


class Watch:
    """Judges one lease over time by an observer's own clock.

    Args:
        path: The lease's file.
        patience: How long it counts without a change.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        path: str,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._stale = (patience or Patience()).stale
        self._clock = clock
        self._seen: Holder | None = None
        self._since = clock()

    def live(self) -> Holder | None:
        """The holder, or None when the lease is missing, stale, or its process provably gone."""
        holder = _look(self._path)
        now = self._clock()
        if holder != self._seen:
            self._seen, self._since = holder, now
        if holder is None:
            return None
        if now - self._since >= self._stale or holder.process.provably_gone():
            return None
        return holder


class Lease:
    """A held lease whose heart beats in a thread until it is released.

    Use `Lease.take`. As a context manager it releases itself.
    """

    def __init__(self, path: str, holder: Holder, beat: float) -> None:
        self._path = path
        self._holder = holder
        self._beat = beat
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls, shelf: str, key: str, purpose: str, patience: Patience | None = None
    ) -> Lease | None:
        """Take a lease that nobody holds.

        Args:
            shelf: The shelf's folder.
            key: What the lease is for.
            purpose: `pull` or `read`, for people.
            patience: How often its heart beats.

        Returns:
            The lease, or None if its file is there: ask a `Watch` whether it is live.

        Raises:
            NotWritableError, NoSpaceError: The file could not be made.
        """
        path = os.path.join(shelf, lease_file(key))
        holder = Holder(uuid.uuid4().hex, ProcessIdentity.of_this_process(), purpose, 0)
        with explained(path):
            make_folders(shelf, "leases")
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                return None
            try:
                with open(fd, "wb") as file:
                    os.fchmod(fd, 0o644)
                    file.write(canonical_json(dataclasses.asdict(holder)))
            except BaseException:
                # An empty lease would keep everybody waiting until it is stale.
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
        return cls(path, holder, (patience or Patience()).beat)

    def _run(self) -> None:
        while not self._done.wait(self._beat):
            if not self.held():
                return
            self._holder = dataclasses.replace(self._holder, beats=self._holder.beats + 1)
            # A heartbeat that cannot be written makes the lease stale, which costs bandwidth only.
            with contextlib.suppress(OSError):
                write_json(self._path, dataclasses.asdict(self._holder))

    def held(self) -> bool:
        """Whether the lease's file still names this holder."""
        holder = read_holder(self._path)
        return holder is not None and holder.owner == self._holder.owner

    def release(self) -> None:
        """Stop the heart and delete the file if it is still ours."""
        self._done.set()
        self._thread.join()
        if self.held():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def break_stale(shelf: str, key: str) -> None:
    """Remove a lease that a `Watch` found dead, so that somebody can take it.

    It is renamed away first: when two observers do this at once and the slower one finds that it
    took away a fresh lease, it puts that back.
    """
    path = os.path.join(shelf, lease_file(key))
    judged = read_holder(path)
    aside = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
    with explained(path), contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if read_holder(aside) == judged:
            os.unlink(aside)
        else:
            os.rename(aside, path)


def live_holders(shelf: str, prefix: str) -> Iterator[Holder]:
    """The holders of leases whose key begins with a prefix, as far as one look can tell.

    A lease counts as live here unless its process is provably gone or its file is older than
    the heartbeat allows by this filesystem's own clock.
    """
    folder = os.path.join(shelf, "leases")
    start = os.path.basename(lease_file(prefix)).removesuffix(".json")
    for name in names(folder):
        path = os.path.join(folder, name)
        if not name.startswith(start) or not name.endswith(".json"):
            continue
        holder = _look(path)
        if holder and not holder.process.provably_gone() and _age(path) < Patience().stale:
            yield holder


def _age(path: str) -> float:
    """Seconds since a file changed, by the clock of the filesystem it lies on."""
    try:
        return now_at(os.path.dirname(path)) - os.stat(path).st_mtime
    except OSError:
        return 0.0
