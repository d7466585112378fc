"""What dead writers left of a snapshot: found, judged, and taken over without trusting a lock."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Sequence

from modelshelf.shelf import layout
from modelshelf.shelf.digests import Digest, hash_prefix
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.files import FOLDER_MODE, explained, names, read_json
from modelshelf.shelf.process_identity import ProcessIdentity, boot_id
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.events import FileDone
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.staging import FILE_MODE, Part, Staging


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """A folder of another writer.

    Attributes:
        path: Where it lies.
        writer: Who wrote it; None if that cannot be read.
    """

    path: str
    writer: ProcessIdentity | None

    def at(self, file: File) -> str:
        """Where it would hold a file."""
        return os.path.join(self.path, *file.path.split("/"))

    def has_finished(self, file: File) -> bool:
        """Whether it holds the whole file, verified."""
        with contextlib.suppress(OSError):
            return os.lstat(self.at(file)).st_size == file.size
        return False

    def trusted(self, file: File) -> int:
        """How many bytes of a file that is being written are on the disk for certain.

        While the writer's host lives, all that it wrote; after the host's death, what it synced.
        """
        part = self.at(file) + layout.PART
        try:
            length = min(os.lstat(part).st_size, file.size)
        except OSError:
            return 0
        if self.writer is not None and self.writer.boot_id == boot_id() != "":
            return length
        record = read_json(self.at(file) + layout.SYNCED) or {}
        synced = record.get("length")
        return min(length, synced) if isinstance(synced, int) and synced > 0 else 0

    def gone(self) -> bool:
        """Whether its writer can be proven to have ended."""
        return self.writer is not None and self.writer.provably_gone()

    def here(self, file: File) -> int:
        """Bytes of a file that need not be fetched."""
        return file.size if self.has_finished(file) else self.trusted(file)


def leftovers(shelf: str, snapshot: Snapshot) -> list[Leftover]:
    """The folders of other writers for a snapshot."""
    parent = os.path.join(shelf, layout.staging_parent(snapshot.repo_id))
    found = []
    for name in names(parent):
        if name.startswith(f"{snapshot.id}."):
            path = os.path.join(parent, name)
            found.append(Leftover(path, _writer(path)))
    return found


def _writer(path: str) -> ProcessIdentity | None:
    record = None
    with contextlib.suppress(OSError):
        record = read_json(os.path.join(path, layout.WRITER_FILE))
    try:
        return None if record is None else ProcessIdentity.from_json(record)
    except (KeyError, TypeError, ValueError):
        return None


def copied(found: Sequence[Leftover], files: Sequence[File]) -> int:
    """Bytes that taking over needs room for: the largest begun file that must be copied.

    They are copied one at a time, and each is deleted where it was.
    """
    alive = [leftover for leftover in found if not leftover.gone()]
    begun = [x.trusted(f) for x in alive for f in files if not x.has_finished(f)]
    return max(begun, default=0)


def take_over(found: Sequence[Leftover]) -> list[Leftover]:
    """Rename the folders of dead writers, so that one who lives after all cannot publish them.

    Returns:
        The folders under their new names.
    """
    taken = []
    for leftover in found:
        path = f"{leftover.path.rpartition('.')[0]}.{uuid.uuid4().hex[:12]}"
        with explained(leftover.path), contextlib.suppress(FileNotFoundError):
            os.rename(leftover.path, path)
            for folder, _, _ in os.walk(path):
                os.chmod(folder, FOLDER_MODE)
            taken.append(dataclasses.replace(leftover, path=path))
    return taken


def adopt(staging: Staging, taken: Sequence[Leftover], meter: Meter) -> dict[str, Part]:
    """Move what dead writers finished, and begin what they began, one file at a time.

    Args:
        staging: Where to.
        taken: What `take_over` returned.
        meter: Counts the bytes that are there.

    Returns:
        The files that are there in part, by path; they stand at what was adopted.
    """
    parts = {}
    for file in staging.missing():
        if any(_adopt_finished(staging, leftover, file, meter) for leftover in taken):
            continue
        best = max(taken, key=lambda leftover: leftover.trusted(file), default=None)
        if best is not None and (length := best.trusted(file)):
            part = _adopt_part(staging, best, file, length, meter)
            if part is not None:
                # It is opened again when bytes come: there may be more files than descriptors.
                part.close()
                parts[file.path] = part
    return parts


def _adopt_finished(staging: Staging, leftover: Leftover, file: File, meter: Meter) -> bool:
    if not leftover.has_finished(file):
        return False
    sha256 = file.content_sha256 or _rehash(leftover.at(file), file)
    if sha256 is None or not staging.take(file, leftover.at(file), sha256):
        return False
    meter.add(done=file.size)
    meter.tell(FileDone(file.path, file.size, "adopted"))
    return True


def _rehash(path: str, file: File) -> str | None:
    """The sha256 of a file of which only the git blob id is known; None if it does not fit."""
    digest = Digest(file)
    with contextlib.suppress(OSError, IntegrityError):
        fd = os.open(path, os.O_RDONLY)
        try:
            hash_prefix(fd, digest, file.size)
        finally:
            os.close(fd)
        return None if digest.mismatch() else digest.sha256()
    return None


def _adopt_part(
    staging: Staging, leftover: Leftover, file: File, length: int, meter: Meter
) -> Part | None:
    source = leftover.at(file) + layout.PART
    if not leftover.gone():
        # A writer that still has the file open must never reach the one that is published.
        try:
            part = staging.copy(file, source, meter, length)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.unlink(source)
        return part
    try:
        # Its writer may have died when it was read-only and had not got its name yet.
        os.chmod(source, FILE_MODE)
        os.rename(source, staging.at(file) + layout.PART)
    except FileNotFoundError:
        return None
    part = staging.part(file)
    part.resume(length)
    meter.add(done=length)
    return part
