"""The gate before an engine: it waits until the model is whole on this host, and never downloads.

It runs as an init container. On another host the pull may have published the model a moment ago,
and this host's NFS client may not see it yet. A client caches what it knows of a folder, and also
that a name was *not* there (a negative entry), for up to a minute by default (`acdirmax`, nfs(5)).
A gate that only opened the model's path again and again would be answered from that cache. Listing
the folder makes the client ask the server, so the gate lists each folder first. The mount options
`lookupcache=positive` or `noac` would help too, but the mount is not ours to configure.
"""

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

POLL_SECONDS = 2.0


def find_problem(shelf: str, snapshot: Snapshot) -> str:
    """Say why a snapshot is not whole on a shelf; empty if it is whole.

    Args:
        shelf: The shelf's folder.
        snapshot: What must be there, in the sizes that it states.
    """
    path = os.path.join(shelf, snapshot_folder(snapshot.repo_id, snapshot.id))
    try:
        # Listed, not just opened: see the module's documentation.
        if os.path.basename(path) not in list_names(os.path.dirname(path)):
            if SHELF_FILE not in list_names(shelf):
                return f"{shelf} is not a shelf, or not mounted"
            return f"{snapshot.repo_id}@{snapshot.id} is not on the shelf {shelf}"
    except OSError as error:
        return f"{error.filename or shelf} cannot be listed: {error.strerror}"
    if read_snapshot(path, snapshot.repo_id, snapshot.id) is None:
        return f"{path} has no readable record of a snapshot"
    for file in snapshot.files:
        problem = _find_file_problem(os.path.join(path, *file.path.split("/")), file.size)
        if problem:
            return f"{file.path} of {snapshot.repo_id}@{snapshot.id} {problem}"
    return ""


def _find_file_problem(path: str, expected_bytes: int) -> str:
    try:
        size = os.stat(path).st_size
    except OSError as error:
        return f"cannot be found: {error.strerror}"
    if size == expected_bytes:
        return ""
    return f"has {size:,} bytes instead of {expected_bytes:,}"


def wait_for_snapshot(
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
        timeout: Seconds to wait at most; 0 checks once.
        listener: Gets an event when the reason to wait changes, and when the gate opens.
        sleep: Waits for some seconds between two checks.

    Raises:
        BusyError: The time is over; the message says what is missing.
    """
    start = time.monotonic()
    last_problem = ""
    while problem := find_problem(shelf, snapshot):
        if problem != last_problem:
            last_problem = problem
            listener(GateWaiting(snapshot.id, problem))
        if time.monotonic() - start >= timeout:
            raise BusyError(
                f"{problem}, after {timeout:g} s",
                hint="look at the pull of this model: it publishes the model when it is whole",
            )
        sleep(POLL_SECONDS)
    path = os.path.join(shelf, snapshot_folder(snapshot.repo_id, snapshot.id))
    listener(GateOpen(snapshot.id, path, round(time.monotonic() - start, 3)))
