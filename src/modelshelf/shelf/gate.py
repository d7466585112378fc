"""The gate before an engine: it opens when the model is whole here, and never downloads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from modelshelf.shelf.errors import BusyError
from modelshelf.shelf.events import GateOpen, GateWaiting, Listener, ignore
from modelshelf.shelf.files import list_names
from modelshelf.shelf.layout import SHELF_FILE, snapshot_folder
from modelshelf.shelf.shelf import read_snapshot
from modelshelf.shelf.values import Snapshot

_LOOK = 2.0  # seconds between two looks


def missing(shelf: str, snapshot: Snapshot) -> str:
    """Why a snapshot is not whole on a shelf, as a sentence; empty if it is.

    The folders above are listed first: an NFS client remembers for a minute that a name was not
    there, unless it reads the folder.
    """
    path = os.path.join(shelf, snapshot_folder(snapshot.repo_id, snapshot.id))
    try:
        if os.path.basename(path) not in list_names(os.path.dirname(path)):
            if SHELF_FILE not in list_names(shelf):
                return f"{shelf} is not a shelf, or not mounted"
            return f"{snapshot.repo_id}@{snapshot.id} is not on the shelf {shelf}"
    except OSError as error:
        return f"{error.filename or shelf} cannot be listed: {error.strerror}"
    if read_snapshot(path, snapshot.repo_id, snapshot.id) is None:
        return f"{path} has no readable record of a snapshot"
    for file in snapshot.files:
        problem = _problem(os.path.join(path, *file.path.split("/")), file.size)
        if problem:
            return f"{file.path} of {snapshot.repo_id}@{snapshot.id} {problem}"
    return ""


def _problem(path: str, size: int) -> str:
    try:
        found = os.stat(path).st_size
    except OSError as error:
        return f"cannot be found: {error.strerror}"
    return "" if found == size else f"has {found:,} bytes instead of {size:,}"


def gate(
    shelf: str,
    snapshot: Snapshot,
    *,
    timeout: float,
    listener: Listener = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until a snapshot is whole on a shelf.

    Args:
        shelf: The shelf's folder.
        snapshot: What must be there.
        timeout: Seconds to wait at the most; 0 to look once.
        listener: Told why it waits, and when it opens.
        sleep: How to wait between two looks.

    Raises:
        BusyError: The time is over; the message says what is missing.
    """
    began = time.monotonic()
    told = ""
    while reason := missing(shelf, snapshot):
        if reason != told:
            told = reason
            listener(GateWaiting(snapshot.id, reason))
        if time.monotonic() - began >= timeout:
            raise BusyError(
                f"{reason}, after {timeout:g} s",
                hint="look at the pull of this model: it publishes the model when it is whole",
            )
        sleep(_LOOK)
    path = os.path.join(shelf, snapshot_folder(snapshot.repo_id, snapshot.id))
    listener(GateOpen(snapshot.id, path, round(time.monotonic() - began, 3)))
