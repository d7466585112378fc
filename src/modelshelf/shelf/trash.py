"""The trash of a shelf: removed folders, kept until no engine can have their files open.

Removing a model renames its folder into `trash/`. For readers that is one step: they find the model
whole or not at all. An engine that is just loading it has its files open and keeps reading them
under their new names, on NFS too, where the server would answer ESTALE after a deletion. So the
bytes are deleted after a grace period only.
"""

from __future__ import annotations

import contextlib
import os
import uuid

from modelshelf.shelf.files import (
    FOLDER_MODE,
    delete_tree,
    filesystem_time,
    list_names,
    make_folders,
    set_mode,
)

TRASH_GRACE_SECONDS = 3600.0  # longer than an engine takes to load a model


def move_to_trash(shelf: str, path: str) -> str:
    """Rename a folder of a shelf into its trash; a folder that is not there is no error.

    Args:
        shelf: The shelf's folder.
        path: The folder to remove.

    Returns:
        The folder in the trash that holds it.

    Raises:
        OSError: The filesystem refused.
    """
    trash_entry = make_folders(shelf, os.path.join("trash", uuid.uuid4().hex))
    with contextlib.suppress(FileNotFoundError):
        # A folder without write permission cannot be renamed to another parent.
        set_mode(path, FOLDER_MODE)
        os.rename(path, os.path.join(trash_entry, os.path.basename(path)))
    return trash_entry


def empty_trash(shelf: str, grace_seconds: float) -> None:
    """Delete what has been in a shelf's trash for some time; what cannot be deleted stays.

    Args:
        shelf: The shelf's folder.
        grace_seconds: The age from which on something is deleted, by the filesystem's clock.
    """
    trash = os.path.join(shelf, "trash")
    entries: list[str] = []
    now = 0.0
    with contextlib.suppress(OSError):
        entries = list_names(trash)
        now = filesystem_time(trash) if entries else 0.0
    for entry in (os.path.join(trash, name) for name in entries):
        with contextlib.suppress(OSError):
            if now - os.stat(entry).st_mtime >= grace_seconds:
                delete_tree(entry)
