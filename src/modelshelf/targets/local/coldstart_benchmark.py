"""A benchmark of cold starts: serve a model several times, and report each start's timeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from modelshelf.engines.timeline import Timeline
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.values import Snapshot
from modelshelf.targets.local.log_recorder import load_timeline
from modelshelf.targets.local.server import Server


def coldstarts(
    serve: Callable[[str], Server], starts: int, folder: str, cold: Snapshot | None = None
) -> Iterator[Timeline]:
    """Start a server several times, one start after another.

    Args:
        serve: Starts a server of one replica, which logs to the folder that it gets.
        starts: The number of starts.
        folder: The folder for the logs; each start gets a folder in it.
        cold: The snapshot to drop from the page cache before each start; None to drop nothing.

    Yields:
        The timeline of each start.

    Raises:
        TargetError: A start failed, or its timeline could not be saved.
        UsageError: This system cannot drop files from the page cache.
    """
    for number in range(1, starts + 1):
        if cold:
            drop_from_page_cache(cold)
        log_dir = os.path.join(folder, f"start-{number}")
        with serve(log_dir):
            timeline = load_timeline(os.path.join(log_dir, "replica-0.log"))
        if timeline is None:
            raise TargetError(
                f"start {number} left no timeline in {log_dir}", hint="is the disk full?"
            )
        yield timeline


def drop_from_page_cache(snapshot: Snapshot) -> None:
    """Drop a snapshot's files from this machine's page cache.

    Pages that another process has mapped into its memory stay.

    Raises:
        UsageError: This system has no call for it.
    """
    if not hasattr(os, "posix_fadvise"):
        raise UsageError(
            "this system cannot drop files from the page cache", hint="leave --cold out"
        )
    for file in snapshot.files:
        descriptor = os.open(os.path.join(snapshot.path or "", file.path), os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
