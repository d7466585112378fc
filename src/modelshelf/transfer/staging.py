"""One writer's folder: files on their way to the shelf, and what a dead writer left of them.

While a file is fetched it is `x.part`; beside it, `x.part.synced` says how much of it is on the
disk for certain. A finished file is closed, synced and verified before it loses its `.part`, so no
handle that anybody may still hold can reach it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import functools
import os
import uuid
from collections.abc import Callable

from modelshelf.shelf import layout
from modelshelf.shelf.digests import BLOCK, Digest, hash_prefix
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.files import explained, make_folders, write_json
from modelshelf.shelf.files import sync as sync_path
from modelshelf.shelf.headers import check_header
from modelshelf.shelf.process_identity import ProcessIdentity, boot_id
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.meter import Meter

_LARGE = 2 << 20  # bytes that take longer to write than to hand to another thread
SYNC_EVERY = 128 << 20  # bytes that a host's death may cost for each file
_flush = getattr(os, "fdatasync", os.fsync)  # macOS has the latter alone
FILE_MODE = 0o644  # of a file that is being written
_READ_ONLY = 0o444
_ANY_WRITE = 0o222
_READ_ONLY_FOLDER = 0o555


@functools.cache
def _writers() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(32, thread_name_prefix="write")


class Part:
    """One file being written in order, from what is there already to its end.

    It is opened with its first byte, since a snapshot may have more files than a process may open.

    Args:
        path: Where the finished file will lie.
        file: What it should be.
        on_finish: Told the sha256 when the file is whole, verified and synced.
    """

    def __init__(self, path: str, file: File, on_finish: Callable[[File, str], None]) -> None:
        self.file = file
        self.done = 0
        self._path = path
        self._on_finish = on_finish
        self._wrong_before = False
        self._digest = Digest(file)
        self._synced = 0
        self._descriptor = -1

    def _fd(self) -> int:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path + layout.PART, flags, FILE_MODE)
        return self._descriptor

    def resume(self, length: int) -> None:
        """Keep the first `length` bytes that are there, after hashing them; cut the rest off.

        Raises:
            ShelfError: They could not be read.
        """
        with explained(self._path):
            os.ftruncate(self._fd(), length)
            hash_prefix(self._fd(), self._digest, length)
            self.done = length
            if length:
                self._sync()

    def append(self, block: memoryview) -> None:
        """Hash and write the next bytes; sync them now and then.

        Raises:
            NoSpaceError, NotWritableError, ShelfError: They could not be written.
        """
        with explained(self._path):
            if len(block) < _LARGE:
                self._digest.update(block)
                self._write(block)
            else:
                # Of one file the bytes are hashed one after the other, so a large block is
                # written meanwhile by another core.
                writing = _writers().submit(self._write, block)
                self._digest.update(block)
                writing.result()
            self.done += len(block)
            if self.done - self._synced >= SYNC_EVERY:
                self._sync()

    def _write(self, block: memoryview) -> None:
        fd, offset = self._fd(), self.done
        while len(block):
            count = os.pwrite(fd, block, offset)
            block, offset = block[count:], offset + count

    def _sync(self) -> None:
        _flush(self._fd())
        self._synced = self.done
        record = {"boot_id": boot_id(), "length": self.done}
        write_json(self._path + layout.SYNCED, record)

    def finish(self) -> bool:
        """Verify what was written; give it its name, or empty it for one more fetch.

        Returns:
            Whether it was right.

        Raises:
            IntegrityError: It was wrong before, or its format's header does not fit its size.
            ShelfError: It could not be synced.
        """
        problem = self._digest.mismatch()
        if problem:
            self._restart(problem)
            return False
        with explained(self._path):
            fd = self._fd()
            check_header(self._path + layout.PART, self.file.path)
            os.fchmod(fd, _READ_ONLY)
            os.fsync(fd)
            self.close()
            os.rename(self._path + layout.PART, self._path)
            _forget(self._path + layout.SYNCED)
        self._on_finish(self.file, self._digest.sha256())
        return True

    def _restart(self, problem: str) -> None:
        with explained(self._path):
            os.ftruncate(self._fd(), 0)
            _forget(self._path + layout.SYNCED)
        self.done = self._synced = 0
        self._digest = Digest(self.file)
        if self._wrong_before:
            raise IntegrityError(
                f"{self.file.path} does not match its checksum ({problem}), fetched twice",
                hint="nothing was published; the source or a proxy before it is broken",
            )
        self._wrong_before = True

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Staging:
    """A writer's folder for one snapshot.

    Args:
        shelf: The shelf's folder.
        snapshot: What is to be published.
    """

    def __init__(self, shelf: str, snapshot: Snapshot) -> None:
        self.shelf = shelf
        self.snapshot = snapshot
        self._sha256: dict[str, str] = {}
        writer = uuid.uuid4().hex[:12]
        relative = layout.staging_folder(snapshot.repo_id, snapshot.id, writer)
        with explained(shelf):
            self.path = make_folders(shelf, relative)
            record = os.path.join(self.path, layout.WRITER_FILE)
            write_json(record, ProcessIdentity.of_this_process().to_json())

    def at(self, file: File) -> str:
        """Where a finished file lies; its folder is made.

        Raises:
            ShelfError: The folder could not be made.
        """
        folder = os.path.dirname(file.path)
        if folder:
            with explained(self.path):
                make_folders(self.path, folder.replace("/", os.sep))
        return os.path.join(self.path, *file.path.split("/"))

    def missing(self) -> list[File]:
        """The files that are not finished."""
        return [file for file in self.snapshot.files if file.path not in self._sha256]

    def part(self, file: File) -> Part:
        """The file, to be written."""
        return Part(self.at(file), file, self._finished)

    def _finished(self, file: File, sha256: str) -> None:
        self._sha256[file.path] = sha256

    def copy(self, file: File, source: str, meter: Meter, length: int | None = None) -> Part:
        """Write a file, or its first `length` bytes, from another one while hashing.

        Raises:
            OSError: The other file cannot be read, or is shorter.
            ShelfError: This one cannot be written.
        """
        part = self.part(file)
        part.resume(0)
        buffer = memoryview(bytearray(BLOCK))
        length = file.size if length is None else length
        try:
            with open(source, "rb", buffering=0) as reader:
                while part.done < length and (
                    count := reader.readinto(buffer[: min(BLOCK, length - part.done)])
                ):
                    part.append(buffer[:count])
                    meter.add(done=count)
            if part.done < length:
                raise OSError(errno.EIO, "it ended early", source)  # noqa: TRY301
        except BaseException:
            part.close()
            raise
        return part

    def take(self, file: File, source: str, sha256: str) -> bool:
        """Move a finished file here that a dead writer verified; False if it is gone."""
        path = self.at(file)
        try:
            os.rename(source, path)
        except FileNotFoundError:
            return False
        self._finished(file, sha256)
        return True

    def link(self, file: File, source: str, sha256: str) -> bool:
        """Give a verified file of this filesystem a second name here; False where that fails."""
        path = self.at(file)
        try:
            os.link(os.path.realpath(source), path)
        except OSError:
            return False
        try:
            if os.stat(path).st_mode & _ANY_WRITE:
                os.chmod(path, _READ_ONLY)
            sync_path(path)
        except OSError:
            # What its owner may change behind our back must not be published.
            os.unlink(path)
            return False
        self._finished(file, sha256)
        return True

    def seal(self) -> Snapshot:
        """Make the folder ready to be published: read-only, synced, nothing else in it.

        Returns:
            The snapshot with every file's sha256.

        Raises:
            ShelfError: A file is missing: somebody took this folder over.
        """
        with explained(self.path):
            for file in self.snapshot.files:
                if os.lstat(self.at(file)).st_size != file.size:
                    raise OSError(errno.EIO, "it has another size than was written", self.at(file))
            for folder, folders, found in os.walk(self.path, topdown=False):
                for name in found:
                    path = os.path.join(folder, name)
                    if os.path.relpath(path, self.path).replace(os.sep, "/") not in self._sha256:
                        os.unlink(path)
                for name in folders:
                    os.chmod(os.path.join(folder, name), _READ_ONLY_FOLDER)
                sync_path(folder)
        files = tuple(
            dataclasses.replace(file, sha256=self._sha256[file.path])
            for file in self.snapshot.files
        )
        return dataclasses.replace(self.snapshot, files=files)

    def taken(self) -> bool:
        """Whether another writer took this folder over."""
        return not os.path.exists(os.path.join(self.path, layout.WRITER_FILE))

    def empty(self) -> bool:
        """Whether nothing that is worth keeping was written."""
        return not any(
            name != layout.WRITER_FILE for _, _, found in os.walk(self.path) for name in found
        )


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
