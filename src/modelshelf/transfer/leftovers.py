"""What dead writers left of a snapshot: which bytes can be trusted, and how they are used again.

Nobody can be sure that another writer is dead. It may live in another container or on another
host, where nothing can be proven (see `process_identity`), and it may go on writing at any time.
Two steps keep it from harming the shelf:

- Its folder is renamed (`claim_leftovers`). A writer that still lives then finds its files missing
  and publishes nothing.
- A file that it may still have open is copied and not moved. An open file follows its rename, so
  its writer could change the published file. Files that are finished are closed before they get
  their name, and can be moved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Sequence

from modelshelf.shelf import layout
from modelshelf.shelf.digests import verified_sha256
from modelshelf.shelf.files import (
    FOLDER_MODE,
    explain_os_errors,
    list_names,
    read_json,
    set_mode,
)
from modelshelf.shelf.process_identity import ProcessIdentity, boot_id
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.partial_file import WRITABLE_MODE, PartialFile
from modelshelf.transfer.staging import Staging


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """The staging folder of another writer, which is probably dead.

    Attributes:
        path: The folder.
        writer: Who wrote it; None if that cannot be read.
    """

    path: str
    writer: ProcessIdentity | None

    def path_of(self, file: File) -> str:
        """Where it has a file if it has finished that."""
        return os.path.join(self.path, *file.path.split("/"))

    def has_finished(self, file: File) -> bool:
        """Whether it has the whole file, verified."""
        with contextlib.suppress(OSError):
            return os.lstat(self.path_of(file)).st_size == file.size
        return False

    def partial_bytes(self, file: File) -> int:
        """How many bytes of an unfinished file are on the disk for certain.

        As long as the writer's host has not booted again, that is all that it wrote, since the
        kernel has it. After a boot, only what was synced counts.
        """
        part = self.path_of(file) + layout.PART_SUFFIX
        try:
            length = min(os.lstat(part).st_size, file.size)
        except OSError:
            return 0
        if self.writer is not None and self.writer.boot_id == boot_id() != "":
            return length
        record = read_json(self.path_of(file) + layout.SYNCED_SUFFIX) or {}
        synced = record.get("length")
        return min(length, synced) if isinstance(synced, int) and synced > 0 else 0

    def writer_is_gone(self) -> bool:
        """Whether its writer can be proven to have ended."""
        return self.writer is not None and self.writer.provably_gone()

    def usable_bytes(self, file: File) -> int:
        """Bytes of a file that need not be fetched again."""
        return file.size if self.has_finished(file) else self.partial_bytes(file)


def find_leftovers(shelf: str, snapshot: Snapshot) -> list[Leftover]:
    """Find the staging folders of other writers for a snapshot.

    Args:
        shelf: The shelf's folder.
        snapshot: What is to be pulled.
    """
    parent = os.path.join(shelf, layout.staging_parent(snapshot.repo_id))
    paths = [os.path.join(parent, n) for n in list_names(parent) if n.startswith(f"{snapshot.id}.")]
    return [Leftover(path, _read_writer(path)) for path in paths]


def _read_writer(path: str) -> ProcessIdentity | None:
    record = None
    with contextlib.suppress(OSError):
        record = read_json(os.path.join(path, layout.WRITER_FILE))
    try:
        return None if record is None else ProcessIdentity.from_json(record)
    except (KeyError, TypeError, ValueError):
        return None


def copy_space_bytes(leftovers: Sequence[Leftover], files: Sequence[File]) -> int:
    """Bytes of space that the copies of unfinished files need for a while.

    The files are copied one at a time, and each original is deleted before the next copy. So it is
    the size of the largest one.
    """
    copied = [leftover for leftover in leftovers if not leftover.writer_is_gone()]
    sizes = [x.partial_bytes(f) for x in copied for f in files if not x.has_finished(f)]
    return max(sizes, default=0)


def claim_leftovers(leftovers: Sequence[Leftover]) -> list[Leftover]:
    """Rename the folders of dead writers, so that a writer that still lives cannot publish them.

    Returns:
        The folders under their new names, without those that another pull has claimed.

    Raises:
        NotWritableError, ShelfError: A folder could not be renamed.
    """
    claimed = []
    for leftover in leftovers:
        path = f"{leftover.path.rpartition('.')[0]}.{uuid.uuid4().hex[:12]}"
        with explain_os_errors(leftover.path), contextlib.suppress(FileNotFoundError):
            os.rename(leftover.path, path)
            # Its writer may have died while it made them read-only.
            for folder, _, _ in os.walk(path):
                set_mode(folder, FOLDER_MODE)
            claimed.append(dataclasses.replace(leftover, path=path))
    return claimed


def recover_files(
    staging: Staging, claimed: Sequence[Leftover], meter: Meter
) -> dict[str, PartialFile]:
    """Move the files here that dead writers finished, and continue those that they began.

    Args:
        staging: The folder to move them to.
        claimed: What `claim_leftovers` returned.
        meter: Counts the bytes.

    Returns:
        The unfinished files, by path, at the end of the bytes that were recovered. They are closed:
        there may be more of them than a process may have open.
    """
    parts = {}
    for file in staging.unfinished_files():
        if any(_recover_finished(staging, leftover, file, meter) for leftover in claimed):
            continue
        best = max(claimed, key=lambda leftover: leftover.partial_bytes(file), default=None)
        if best is not None and (length := best.partial_bytes(file)):
            part = _recover_partial(staging, best, file, length, meter)
            if part is not None:
                part.close()
                parts[file.path] = part
    return parts


def _recover_finished(staging: Staging, leftover: Leftover, file: File, meter: Meter) -> bool:
    """Move a finished file here; False if the writer has none, or a wrong one."""
    if not leftover.has_finished(file):
        return False
    path = leftover.path_of(file)
    # If only its git blob id is known, it is read again: the record needs the sha256.
    sha256 = file.content_sha256 or verified_sha256(path, file)
    if sha256 is None or not staging.move_in(file, path, sha256):
        return False
    meter.count_whole_file(file, "recovered")
    return True


def _recover_partial(
    staging: Staging, leftover: Leftover, file: File, length: int, meter: Meter
) -> PartialFile | None:
    source = leftover.path_of(file) + layout.PART_SUFFIX
    if not leftover.writer_is_gone():
        # Its writer may still have the file open, so that one must never be published.
        try:
            part = staging.copy(file, source, meter, length)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.unlink(source)
        return part
    try:
        # Its writer may have died between making it read-only and renaming it.
        set_mode(source, WRITABLE_MODE)
        os.rename(source, staging.path_of(file) + layout.PART_SUFFIX)
    except FileNotFoundError:
        return None
    part = staging.open_partial(file)
    part.resume(length)
    meter.add(done=length)
    return part
