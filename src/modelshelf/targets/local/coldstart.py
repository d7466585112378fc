"""Start a model again and again on this machine, and tell what each start was made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from modelshelf.engines.timeline import Timeline
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.values import Snapshot
from modelshelf.targets.local.recording import read_timeline
from modelshelf.targets.local.server import Server


def coldstarts(
    serve: Callable[[str], Server], starts: int, folder: str, cold: Snapshot | None = None
) -> Iterator[Timeline]:
    """The timelines of so many starts, one after another.

    Args:
        serve: Serves with one replica, and logs to the folder it is given.
        starts: How many.
        folder: Where the logs go, in a folder for each start.
        cold: What is dropped from this machine's memory before each start; None for nothing.

    Raises:
        TargetError: A start failed, or its timeline could not be kept.
    """
    for number in range(1, starts + 1):
        if cold:
            forget(cold)
        logs = os.path.join(folder, f"start-{number}")
        with serve(logs):
            found = read_timeline(os.path.join(logs, "replica-0.log"))
        if found is None:
            raise TargetError(f"start {number} left no timeline in {logs}", hint="is it full?")
        yield found


def forget(snapshot: Snapshot) -> None:
    """Drop a snapshot's files from this machine's memory, as far as nobody else maps them.

    Raises:
        UsageError: This system has no such call.
    """
    if not hasattr(os, "posix_fadvise"):
        raise UsageError(
            "files cannot be dropped from memory on this system", hint="leave --cold out"
        )
    for file in snapshot.files:
        descriptor = os.open(os.path.join(snapshot.path or "", file.path), os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
