"""Hashing content on its way to the disk, and comparing it with what its source states."""

from __future__ import annotations

import hashlib
import os

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.values import File

# Fits in a core's second-level cache, so that what was read is still there when it is hashed.
BLOCK_BYTES = 1024 * 1024


class Digest:
    r"""sha256 of a file's bytes, and its git blob id where the source states only that.

    The git blob id is the sha1 of `blob SIZE\\0` and the content (git-hash-object).
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.git_sha1 and not file.lfs_sha256:
            self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, block: memoryview | bytes) -> None:
        """Take the next bytes, in order."""
        self._sha256.update(block)
        if self._git is not None:
            self._git.update(block)

    def sha256(self) -> str:
        """The sha256 so far, in hex."""
        return self._sha256.hexdigest()

    def mismatch(self) -> str:
        """What differs from the source's checksums, as `kind: expected X, got Y`; empty if equal.

        A sha256 recorded earlier counts as the source's too.
        """
        if self._git is not None and self._git.hexdigest() != self._file.git_sha1:
            return f"git sha1: expected {self._file.git_sha1}, got {self._git.hexdigest()}"
        expected = self._file.content_sha256
        if expected and self.sha256() != expected:
            return f"sha256: expected {expected}, got {self.sha256()}"
        return ""


def hash_range(fd: int, digest: Digest, length: int, start: int = 0) -> None:
    """Feed the bytes from `start` to `length` of an open file to a digest.

    Raises:
        IntegrityError: The file is shorter than that.
        OSError: It cannot be read.
    """
    buffer = memoryview(bytearray(BLOCK_BYTES))
    offset = start
    while offset < length:
        count = os.preadv(fd, [buffer[: min(BLOCK_BYTES, length - offset)]], offset)
        if count == 0:
            raise IntegrityError(f"the file ended after {offset:,} of {length:,} bytes")
        digest.update(buffer[:count])
        offset += count
