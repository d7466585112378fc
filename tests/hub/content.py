"""What the Hub's files hold: bytes, a file on disk, or gigabytes that need no memory."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
from collections.abc import Iterator
from typing import Protocol

# A prime, so that no power of two is a multiple of it: swapped chunks never look alike.
_PERIOD = 1_048_583
_BLOCK = 1024 * 1024


class Content(Protocol):
    """Bytes of a known number that can be read from anywhere."""

    @property
    def size(self) -> int:
        """Bytes."""

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`, in pieces of at most about a MiB."""


class Bytes:
    """Content that stands in memory."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._view)

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`."""
        for at in range(start, stop, _BLOCK):
            yield self._view[at : min(at + _BLOCK, stop)]


class FileContent:
    """Content that lies in a file, mapped while it is read."""

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
    """Pseudo-random bytes that repeat about every MiB, behind a head of one's own.

    Args:
        size: Bytes altogether, the head included.
        seed: Another seed, other bytes.
        head: What the content begins with.
    """

    def __init__(self, size: int, seed: int = 0, head: bytes = b"") -> None:
        self.size = size
        self._head = memoryview(head)[:size]
        self._period = memoryview(random.Random(seed).randbytes(_PERIOD))

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`."""
        head = len(self._head)
        if start < min(head, stop):
            yield self._head[start:stop]
        at = max(start, head)
        while at < stop:
            inside = (at - head) % _PERIOD
            block = self._period[inside : inside + stop - at]
            yield block
            at += len(block)


def safetensors(size: int, seed: int = 0) -> Pattern:
    """A well-formed safetensors file of exactly `size` bytes (at least 256), holding one tensor."""
    return Pattern(size, seed, safetensors_head(size))


def safetensors_head(size: int, tensor: str = "weight") -> bytes:
    """What a safetensors file of `size` bytes begins with, if all that follows is one tensor.

    Format: eight bytes of little-endian header length, the header in JSON padded with spaces, the
    data (https://huggingface.co/docs/safetensors).
    """
    width = 120
    count = size - 8 - width
    if count < 0:
        raise ValueError(f"a safetensors file of {size} bytes is too small to be made here")
    table = {tensor: {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
    header = json.dumps(table, separators=(",", ":")).encode().ljust(width)
    return len(header).to_bytes(8, "little") + header


def content_of(value: bytes | Content) -> Content:
    """Bytes as content; content as it is."""
    return Bytes(value) if isinstance(value, bytes) else value


def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes of a stretch of content, in one piece."""
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
