"""Files of a published snapshot that are not there any more, and how they are added again.

A snapshot is published whole, and nothing of ours changes it then. But other programs can delete a
file on a share, a filesystem can lose one, and a copy of a shelf can be cut off. So a command that
says that a model is there has looked at every file. It looks at sizes: that takes one stat(2) for
each file, while reading all bytes again (`verify`) may take an hour.
"""

from __future__ import annotations

import contextlib
import os

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.files import FOLDER_MODE, READ_ONLY_FOLDER_MODE, set_mode, sync_to_disk
from modelshelf.shelf.values import File, Snapshot


def find_missing_files(snapshot: Snapshot) -> list[File]:
    """Find the files of a published snapshot that are not there in their sizes."""
    return [file for file in snapshot.files if not has_size(snapshot.path, file)]


def require_whole(snapshot: Snapshot) -> None:
    """Make sure that every file of a published snapshot is there in its size.

    Raises:
        IntegrityError: One is not; the message names it.
    """
    missing = find_missing_files(snapshot)
    if not missing:
        return
    more = f" and {len(missing) - 1} other files" if len(missing) > 1 else ""
    raise IntegrityError(
        f"{snapshot.repo_id}@{snapshot.id} is not whole: {missing[0].path}{more} cannot be found "
        f"in its size in {snapshot.path}",
        hint=f"modelshelf pull {snapshot.source} adds what is missing",
    )


def add_missing_files(published: Snapshot, staged: str) -> None:
    """Move the missing files of a published snapshot to their places, each in one rename.

    The snapshot's folder itself stays, because engines may have mounted it.

    Args:
        published: The snapshot.
        staged: A writer's finished folder with the same files.

    Raises:
        OSError: The filesystem refused.
    """
    for file in find_missing_files(published):
        *folders, name = file.path.split("/")
        source_folder, target_folder = staged, published.path or ""
        changed = [target_folder]
        for folder in folders:
            source_folder = os.path.join(source_folder, folder)
            target_folder = os.path.join(target_folder, folder)
            changed.append(target_folder)
        set_mode(source_folder, FOLDER_MODE)
        for folder in changed:
            if os.path.isdir(folder):
                set_mode(folder, FOLDER_MODE)
            else:
                os.mkdir(folder, FOLDER_MODE)
        os.rename(os.path.join(source_folder, name), os.path.join(target_folder, name))
        for folder in reversed(changed):
            sync_to_disk(folder)
            set_mode(folder, READ_ONLY_FOLDER_MODE)


def has_size(folder: str | None, file: File) -> bool:
    """Whether a folder has a file in its size; False if there is no folder."""
    if folder is None:
        return False
    with contextlib.suppress(OSError):
        path = os.path.join(folder, file.path)
        return os.path.isfile(path) and os.path.getsize(path) == file.size
    return False
