"""Leases: who is pulling a snapshot, and who is reading one.

A lease saves bandwidth (one process pulls, the others wait) and protects readers from `rm`. The
correctness of a shelf's bytes does not depend on leases: two processes that both believe to hold
one write to different folders, and publishing is a rename.

A lease is a file that its holder creates and rewrites every few seconds (its heartbeat). It counts
until no heartbeat came for a while, or until its process is provably gone.

**Why a file and not flock(2).** On some shared filesystems, and on NFS with some mount options, a
lock is local to each host, or the call succeeds for everybody. It cannot be told from a lock that
works. Creating a file with O_CREAT and O_EXCL is atomic on the server from NFS version 3 on
(open(2)): of several hosts exactly one succeeds.

**Why a heartbeat and not an expiry time.** An expiry time compares the holder's clock with the
observer's, and clocks of hosts differ. An observer needs no common clock to see *that* a file
changes. So it remembers when it saw the last change by its own monotonic clock, which nobody sets
back or forward.
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

from modelshelf.shelf.files import (
    explain_os_errors,
    filesystem_time,
    list_names,
    make_folders,
    read_json,
    set_mode,
    write_json,
)
from modelshelf.shelf.layout import lease_file
from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.values import canonical_json


@dataclasses.dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How often a lease is renewed, and when it stops counting.

    Attributes:
        heartbeat_seconds: Time between two heartbeats of a holder.
        stale_seconds: Time without a heartbeat after which a lease counts for nothing. It must be
            several heartbeats, since a busy host or a slow share may delay them.
    """

    heartbeat_seconds: float = 5.0
    stale_seconds: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """What a lease's file says of the holder.

    Attributes:
        owner: A random id, since one process may hold several leases.
        process: The process that holds it.
        purpose: `pull` or `read`, for people.
        beats: How many heartbeats there were.
    """

    owner: str
    process: ProcessIdentity
    purpose: str
    beats: int

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host}"


# For a moment after its creation a lease's file is empty.
_BEING_WRITTEN = Holder("", ProcessIdentity("an unknown host", "", "", 0, ""), "", 0)


def read_holder(path: str) -> Holder | None:
    """Read the holder from a lease's file; None if there is no file or it cannot be understood."""
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


def _read_present_holder(path: str) -> Holder | None:
    """Like `read_holder`, but a file that cannot be understood has an unknown holder."""
    holder = read_holder(path)
    if holder is None and os.path.exists(path):
        return _BEING_WRITTEN
    return holder


class LeaseObserver:
    """Judges one lease over time by the observer's own clock.

    Args:
        path: The lease's file.
        timing: How long the lease counts without a change.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        path: str,
        timing: LeaseTiming | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._stale_seconds = (timing or LeaseTiming()).stale_seconds
        self._clock = clock
        self._last_holder: Holder | None = None
        self._last_change = clock()

    def live_holder(self) -> Holder | None:
        """Look at the lease once more.

        Returns:
            Its holder; None if the lease is missing or stale, or its process is provably gone.
        """
        holder = _read_present_holder(self._path)
        now = self._clock()
        if holder != self._last_holder:
            self._last_holder, self._last_change = holder, now
        if holder is None:
            return None
        if now - self._last_change >= self._stale_seconds or holder.process.provably_gone():
            return None
        return holder


class Lease:
    """A held lease. A thread renews it until it is released.

    Use `Lease.take` to get one. As a context manager it releases itself.
    """

    def __init__(self, path: str, holder: Holder, heartbeat_seconds: float) -> None:
        self._path = path
        self._holder = holder
        self._heartbeat_seconds = heartbeat_seconds
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls, shelf: str, key: str, purpose: str, timing: LeaseTiming | None = None
    ) -> Lease | None:
        """Take a lease that nobody holds.

        Args:
            shelf: The shelf's folder.
            key: What the lease is for.
            purpose: `pull` or `read`, for people.
            timing: How often to renew it.

        Returns:
            The lease; None if its file exists. A `LeaseObserver` tells whether that one counts.

        Raises:
            NotWritableError, NoSpaceError: The file could not be made.
        """
        path = os.path.join(shelf, lease_file(key))
        holder = Holder(uuid.uuid4().hex, ProcessIdentity.of_this_process(), purpose, 0)
        with explain_os_errors(path):
            make_folders(shelf, "leases")
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                return None
            try:
                with open(fd, "wb") as file:
                    # Other users must be able to read it, whatever the umask.
                    set_mode(fd, 0o644)
                    file.write(canonical_json(dataclasses.asdict(holder)))
            except BaseException:
                # An empty lease would keep everybody waiting until it is stale.
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
        return cls(path, holder, (timing or LeaseTiming()).heartbeat_seconds)

    def _renew(self) -> None:
        while not self._released.wait(self._heartbeat_seconds):
            if not self.is_held():
                return
            self._holder = dataclasses.replace(self._holder, beats=self._holder.beats + 1)
            # If a heartbeat cannot be written, the lease goes stale. That costs bandwidth only.
            with contextlib.suppress(OSError):
                write_json(self._path, dataclasses.asdict(self._holder))

    def is_held(self) -> bool:
        """Whether the lease's file still names this holder."""
        holder = read_holder(self._path)
        return holder is not None and holder.owner == self._holder.owner

    def release(self) -> None:
        """Stop renewing the lease, and delete its file if it is still ours."""
        self._released.set()
        self._thread.join()
        if self.is_held():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def remove_stale_lease(shelf: str, key: str) -> None:
    """Remove a lease that a `LeaseObserver` found dead, so that somebody can take it.

    A plain unlink would be a race: another observer may remove the dead lease and take a fresh one
    between our look and our unlink. So the file is renamed first, and judged under its new name. If
    it turns out to be a fresh lease, it is put back.

    Args:
        shelf: The shelf's folder.
        key: What the lease is for.

    Raises:
        NotWritableError, ShelfError: It could not be removed.
    """
    path = os.path.join(shelf, lease_file(key))
    stale_holder = read_holder(path)
    aside = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
    with explain_os_errors(path), contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if read_holder(aside) == stale_holder:
            os.unlink(aside)
        else:
            os.rename(aside, path)


def live_holders(shelf: str, prefix: str) -> Iterator[Holder]:
    """The holders of leases whose key begins with a prefix, as far as one look can tell.

    A lease counts here unless its process is provably gone, or its file is older than a stale
    lease's. Its age is measured by the filesystem's own clock (`filesystem_time`).

    Args:
        shelf: The shelf's folder.
        prefix: The beginning of the keys.
    """
    folder = os.path.join(shelf, "leases")
    name_prefix = os.path.basename(lease_file(prefix)).removesuffix(".json")
    for name in list_names(folder):
        if not name.startswith(name_prefix) or not name.endswith(".json"):
            continue
        path = os.path.join(folder, name)
        holder = _read_present_holder(path)
        if holder is None or holder.process.provably_gone():
            continue
        if _age_seconds(path) < LeaseTiming().stale_seconds:
            yield holder


def _age_seconds(path: str) -> float:
    """Time since a file changed; 0 if that cannot be known, so that its lease counts."""
    try:
        return filesystem_time(os.path.dirname(path)) - os.stat(path).st_mtime
    except OSError:
        return 0.0
