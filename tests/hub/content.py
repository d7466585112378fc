"""The content of the Hub's files: bytes, a file on disk, or gigabytes that need no memory."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
from collections.abc import Iterator
from typing import Protocol

# A prime number: chunks at multiples of a power of two differ, so a test notices swapped chunks.
_PERIOD_BYTES = 1_048_583
_BLOCK_BYTES = 1024 * 1024


class Content(Protocol):
    """A known number of bytes that can be read from any offset."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`, in pieces of at most about a MiB."""


class Bytes:
    """Content in memory."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self._view)

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`."""
        for at in range(start, stop, _BLOCK_BYTES):
            yield self._view[at : min(at + _BLOCK_BYTES, stop)]


class FileContent:
    """Content of a file, which is mapped while it is read."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self.size = os.stat(path).st_size

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`."""
        if start < stop:
            with open(self._path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            yield from Bytes(mapped).blocks(start, stop)


class Pattern:
    """Pseudo-random bytes that repeat about every MiB, behind a head that is given.

    Args:
        size: Bytes altogether, the head included.
        seed: Another seed gives other bytes.
        head: The first bytes of the content.
    """

    def __init__(self, size: int, seed: int = 0, head: bytes = b"") -> None:
        self.size = size
        self._head = memoryview(head)[:size]
        self._period = memoryview(random.Random(seed).randbytes(_PERIOD_BYTES))

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`."""
        head = len(self._head)
        if start < min(head, stop):
            yield self._head[start:stop]
        position = max(start, head)
        while position < stop:
            offset = (position - head) % _PERIOD_BYTES
            block = self._period[offset : offset + stop - position]
            yield block
            position += len(block)


def safetensors(size: int, seed: int = 0) -> Pattern:
    """A well-formed safetensors file of exactly `size` bytes (at least 256), holding one tensor."""
    return Pattern(size, seed, safetensors_head(size))


def safetensors_head(size: int, tensor: str = "weight") -> bytes:
    """The first bytes of a safetensors file of `size` bytes that holds one tensor.

    Format: eight bytes of little-endian header length, the header in JSON padded with spaces, the
    data (https://huggingface.co/docs/safetensors).
    """
    width = 120
    count = size - 8 - width
    if count < 0:
        raise ValueError(f"a safetensors file of {size} bytes is too small for the header")
    table = {tensor: {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
    header = json.dumps(table, separators=(",", ":")).encode().ljust(width)
    return len(header).to_bytes(8, "little") + header


def content_of(value: bytes | Content) -> Content:
    """Turn bytes into content, and return content unchanged."""
    return Bytes(value) if isinstance(value, bytes) else value


def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    """Read the bytes from `start` up to `stop` in one piece."""
    return b"".join(content.blocks(start, content.size if stop is None else stop))


def sha256(content: Content) -> str:
    """sha256 of the content, in hex."""
    digest = hashlib.sha256()
    for block in content.blocks(0, content.size):
        digest.update(block)
    return digest.hexdigest()


def git_sha1(content: Content) -> str:
    """The git blob id of the content: sha1 of `blob SIZE NUL` and the bytes, in hex."""
    digest = hashlib.sha1(b"blob %d\0" % content.size, usedforsecurity=False)
    for block in content.blocks(0, content.size):
        digest.update(block)
    return digest.hexdigest()
