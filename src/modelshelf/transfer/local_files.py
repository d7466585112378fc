"""Files that are on this host already: on the shelf, or in a folder that the user names.

They are linked where the filesystem allows it, and copied elsewhere. A file that turns out to be
wrong is left out, and the source is asked for it.
"""

from __future__ import annotations

import contextlib
import os

from modelshelf.shelf.digests import verified_sha256
from modelshelf.shelf.files import explain_os_errors
from modelshelf.shelf.headers import check_header
from modelshelf.shelf.missing_files import has_size
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File
from modelshelf.transfer.events import FileDone
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.partial_file import PartialFile
from modelshelf.transfer.staging import Staging


def shelf_paths(shelf: Shelf) -> dict[str, str]:
    """Checksum → path, of every file on a shelf that is there in its size."""
    paths = {}
    for snapshot in shelf.snapshots():
        for file in snapshot.files:
            for checksum in (file.lfs_sha256, file.git_sha1, file.sha256):
                if checksum and checksum not in paths and has_size(snapshot.path, file):
                    paths[checksum] = os.path.join(snapshot.path or "", file.path)
    return paths


def bring_from_shelf(staging: Staging, file: File, source: str, meter: Meter) -> None:
    """Link or copy a file of the shelf, which was verified when it was published.

    Args:
        staging: The folder to bring it to.
        file: What it should be.
        source: Its path on the shelf.
        meter: Counts the bytes.
    """
    sha256 = file.content_sha256 or verified_sha256(source, file)
    if sha256 is None or not _link(staging, file, source, sha256, meter):
        _copy(staging, file, source, meter)


def bring_from_folder(
    staging: Staging, file: File, folder: str, meter: Meter, *, link: bool
) -> None:
    """Link or copy a file of the user's folder, if it is right.

    Args:
        staging: The folder to bring it to.
        file: What it should be.
        folder: The user's folder.
        meter: Counts the bytes.
        link: Whether to try a link first, which makes the user's file read-only.

    Raises:
        IntegrityError: A weights file is not as long as its own header says.
    """
    source = os.path.join(folder, *file.path.split("/"))
    if link:
        sha256 = verified_sha256(source, file)
        if sha256 is None:
            return
        with explain_os_errors(source):
            check_header(source, file.path)
        if _link(staging, file, source, sha256, meter):
            return
    _copy(staging, file, source, meter)


def _link(staging: Staging, file: File, source: str, sha256: str, meter: Meter) -> bool:
    if not staging.link(file, source, sha256):
        return False
    meter.count_whole_file(file, "linked")
    return True


def _copy(staging: Staging, file: File, source: str, meter: Meter) -> None:
    """Copy a file and verify it; a wrong one stays unfinished."""
    part: PartialFile | None = None
    with contextlib.suppress(OSError):
        part = staging.copy(file, source, meter)
    if part is None:
        return
    try:
        if part.finish():
            meter.tell(FileDone(file.path, file.size, "copied"))
        else:
            meter.add(done=-file.size)
    finally:
        part.close()
