"""One file that is being written in order, hashed on the way, and resumable after a crash.

While it is written it is called `x.part`, and `x.part.synced` records how much of it is on the disk
for certain. After the kernel or the power failed, the length of a file proves nothing: a filesystem
may have written the new length and not the bytes. So only what was synced before counts then.

A finished file is verified, made read-only, synced and closed *before* it is renamed to `x`. So
no process has a published file open for writing.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
from collections.abc import Callable

from modelshelf.shelf import layout
from modelshelf.shelf.digests import Digest, hash_range
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.files import explain_os_errors, set_mode, write_json
from modelshelf.shelf.headers import check_header
from modelshelf.shelf.process_identity import boot_id
from modelshelf.shelf.values import File

SYNC_INTERVAL_BYTES = 128 << 20  # what the death of the host may cost for each file
WRITABLE_MODE = 0o644  # of a file that is being written
READ_ONLY_MODE = 0o444
_MIN_THREADED_BYTES = 2 << 20  # a smaller block is written sooner than another thread begins
# fdatasync leaves out metadata that a reader does not need; macOS has only fsync.
_flush_data = getattr(os, "fdatasync", os.fsync)


@functools.cache
def _write_threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(32, thread_name_prefix="write")


class PartialFile:
    """One file that is being written, from what is there already to its end.

    It is opened with its first byte and not before: a snapshot may have more files than a process
    may have open.

    Args:
        path: Where the finished file will lie.
        file: What it should be.
        on_finish: Gets the file and its sha256 when it is whole, verified and synced.

    Attributes:
        file: What it should be.
        done: Bytes that are hashed and written.
    """

    def __init__(self, path: str, file: File, on_finish: Callable[[File, str], None]) -> None:
        self.file = file
        self.done = 0
        self._path = path
        self._on_finish = on_finish
        self._was_wrong = False
        self._digest = Digest(file)
        self._synced = 0
        self._descriptor = -1

    def _fd(self) -> int:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            part = self._path + layout.PART_SUFFIX
            self._descriptor = os.open(part, flags, WRITABLE_MODE)
        return self._descriptor

    def resume(self, length: int) -> None:
        """Hash the first `length` bytes that are there, and cut off the rest.

        Raises:
            ShelfError: They could not be read.
        """
        with explain_os_errors(self._path):
            os.ftruncate(self._fd(), length)
            hash_range(self._fd(), self._digest, length)
            self.done = length
            if length:
                self._sync()

    def append(self, block: memoryview) -> None:
        """Hash and write the next bytes; sync them now and then.

        Raises:
            NoSpaceError, NotWritableError, ShelfError: They could not be written.
        """
        with explain_os_errors(self._path):
            if len(block) < _MIN_THREADED_BYTES:
                self._digest.update(block)
                self._write(block)
            else:
                # The bytes of one file can only be hashed one after the other. So another core
                # writes a large block while this one hashes it.
                writing = _write_threads().submit(self._write, block)
                self._digest.update(block)
                writing.result()
            self.done += len(block)
            if self.done - self._synced >= SYNC_INTERVAL_BYTES:
                self._sync()

    def _write(self, block: memoryview) -> None:
        fd, offset = self._fd(), self.done
        while len(block):
            count = os.pwrite(fd, block, offset)
            block, offset = block[count:], offset + count

    def _sync(self) -> None:
        _flush_data(self._fd())
        self._synced = self.done
        record = {"boot_id": boot_id(), "length": self.done}
        write_json(self._path + layout.SYNCED_SUFFIX, record)

    def finish(self) -> bool:
        """Verify what was written. Give the file its name, or empty it for one more fetch.

        Returns:
            Whether the bytes are right.

        Raises:
            IntegrityError: They were wrong before, too, or the file is not as long as its own
                header says.
            ShelfError: They could not be synced.
        """
        problem = self._digest.mismatch()
        if problem:
            self._restart(problem)
            return False
        with explain_os_errors(self._path):
            fd = self._fd()
            check_header(self._path + layout.PART_SUFFIX, self.file.path)
            set_mode(fd, READ_ONLY_MODE)
            os.fsync(fd)
            self.close()
            os.rename(self._path + layout.PART_SUFFIX, self._path)
            _unlink_if_present(self._path + layout.SYNCED_SUFFIX)
        self._on_finish(self.file, self._digest.sha256())
        return True

    def _restart(self, problem: str) -> None:
        with explain_os_errors(self._path):
            os.ftruncate(self._fd(), 0)
            _unlink_if_present(self._path + layout.SYNCED_SUFFIX)
        self.done = self._synced = 0
        self._digest = Digest(self.file)
        if self._was_wrong:
            raise IntegrityError(
                f"{self.file.path} does not match its checksum ({problem}), fetched twice",
                hint="nothing was published; the source or a proxy before it is broken",
            )
        self._was_wrong = True

    def close(self) -> None:
        """Close the file; its content stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _unlink_if_present(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
