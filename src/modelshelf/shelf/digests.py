"""Hashing content on its way to the disk, and comparing it with what its source states."""

from __future__ import annotations

import contextlib
import hashlib
import os

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.values import File

# It fits in a core's second-level cache, so a block that was just read is still there to hash.
BLOCK_BYTES = 1024 * 1024


class Digest:
    r"""Sha256 of a file's bytes, and its git blob id where the source states only that.

    The git blob id is the sha1 of `blob SIZE\\0` and the content (git-hash-object).

    Args:
        file: The file, with the checksums that its source states.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.git_sha1 and not file.lfs_sha256:
            self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, block: memoryview | bytes) -> None:
        """Hash the next bytes of the file."""
        self._sha256.update(block)
        if self._git is not None:
            self._git.update(block)

    def sha256(self) -> str:
        """The sha256 of the bytes so far, in hex."""
        return self._sha256.hexdigest()

    def mismatch(self) -> str:
        """What differs from the source's checksums, as `kind: expected X, got Y`; empty if equal.

        A sha256 that an earlier pull recorded counts as the source's, too.
        """
        if self._git is not None and self._git.hexdigest() != self._file.git_sha1:
            return f"git sha1: expected {self._file.git_sha1}, got {self._git.hexdigest()}"
        expected = self._file.content_sha256
        if expected and self.sha256() != expected:
            return f"sha256: expected {expected}, got {self.sha256()}"
        return ""


def hash_range(fd: int, digest: Digest, end: int, start: int = 0) -> None:
    """Feed the bytes from `start` up to `end` of an open file to a digest.

    Raises:
        IntegrityError: The file is shorter than `end`.
        OSError: It cannot be read.
    """
    buffer = memoryview(bytearray(BLOCK_BYTES))
    offset = start
    while offset < end:
        count = os.preadv(fd, [buffer[: min(BLOCK_BYTES, end - offset)]], offset)
        if count == 0:
            raise IntegrityError(f"the file ended after {offset:,} of {end:,} bytes")
        digest.update(buffer[:count])
        offset += count


def verified_sha256(path: str, file: File) -> str | None:
    """Read a whole file and compare it with what its source states.

    Args:
        path: Where the bytes lie.
        file: What they should be.

    Returns:
        Their sha256 in hex; None if they differ or cannot be read.
    """
    digest = Digest(file)
    with contextlib.suppress(OSError, IntegrityError), open(path, "rb", buffering=0) as reader:
        hash_range(reader.fileno(), digest, file.size)
        return None if digest.mismatch() else digest.sha256()
    return None
