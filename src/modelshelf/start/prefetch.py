"""Prefetch: reading a model into the page cache while its engine still imports.

A network filesystem reaches its full rate only if many requests are under way. An engine that maps
its weights into memory asks for one page after another. So we read the files beforehand, many
ranges at a time, and throw away what was read: the kernel keeps the pages, and the engine finds
them in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Self

from modelshelf.start.events import Prefetched
from modelshelf.start.memory import page_cache_room

_RANGE_BYTES = 1 << 20
_THREADS = 32
_WEIGHTS_ENDINGS = (".safetensors", ".gguf", ".bin")
# Configuration and tokenizer files are smaller than this. An engine reads them first.
_MAX_SMALL_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to prefetch."""

    path: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class PrefetchPlan:
    """What is prefetched.

    Attributes:
        files: The files, in the order in which they are read.
        reason: Why these are not all; empty if they are.
    """

    files: tuple[ModelFile, ...]
    reason: str


def plan_prefetch(files: Sequence[ModelFile], max_bytes: int | None) -> PrefetchPlan:
    """Choose the files to read: in the order in which an engine reads them, as many as fit.

    A file that does not fit is left out as a whole. Smaller files that come after it are not.

    Args:
        files: All files of the model.
        max_bytes: How much may be read; None if no limit is known.
    """
    total = sum(file.size for file in files)
    chosen: list[ModelFile] = []
    remaining = total if max_bytes is None else max_bytes
    for file in sorted(files, key=_reading_order):
        if file.size <= remaining:
            chosen.append(file)
            remaining -= file.size
    left_out = total - sum(file.size for file in chosen)
    reason = f"{left_out:,} bytes do not fit into {max_bytes:,} of memory" if left_out else ""
    return PrefetchPlan(tuple(chosen), reason)


def prefetch(paths: Sequence[str], max_bytes: int | None, stop: threading.Event) -> Prefetched:
    """Read files into the page cache. It never fails.

    Args:
        paths: Files, and folders whose files are read.
        max_bytes: How much may be read. What the memory of the host and of the container allows
            is a limit in any case.
        stop: Set it to have the reading end soon.

    Returns:
        How much was read, and why that is not all.
    """
    began = time.monotonic()
    limits = [limit for limit in (max_bytes, page_cache_room()) if limit is not None]
    try:
        plan = plan_prefetch(list(_find_files(paths)), min(limits, default=None))
    except OSError as error:
        return Prefetched(0, 0.0, str(error))
    with _RangeQueue(plan.files, stop) as queue:
        readers = [threading.Thread(target=queue.read, daemon=True) for _ in range(_THREADS)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    seconds = round(time.monotonic() - began, 3)
    reason = "; ".join(filter(None, (queue.reason, plan.reason)))
    return Prefetched(queue.bytes_read, seconds, reason)


class _RangeQueue:
    """The ranges of some files, which threads take one after another and read.

    Args:
        files: The files, in the order in which they are read.
        stop: When it is set, no thread takes another range.

    Attributes:
        bytes_read: How much was read.
        reason: Why that is not all; empty if it is.
    """

    def __init__(self, files: Sequence[ModelFile], stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._open_files = contextlib.ExitStack()
        self._ranges = self._split(files)
        self.bytes_read = 0
        self.reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    def read(self) -> None:
        """Take and read ranges until none is left. Several threads call this."""
        buffer = memoryview(bytearray(_RANGE_BYTES))
        while (next_range := self._take()) is not None:
            fd, offset, end = next_range
            try:
                while offset < end and (count := os.preadv(fd, [buffer[: end - offset]], offset)):
                    offset += count
                    with self._lock:
                        self.bytes_read += count
            except OSError as error:
                self._give_up(str(error))

    def _take(self) -> tuple[int, int, int] | None:
        """Take the next range: descriptor, first byte, and the byte after the last."""
        with self._lock:
            if self._stop.is_set():
                self.reason = self.reason or "stopped before the end"
                return None
            try:
                return next(self._ranges, None)
            except OSError as error:
                self.reason = str(error)
                return None

    def _split(self, files: Sequence[ModelFile]) -> Iterator[tuple[int, int, int]]:
        for file in files:
            fd = os.open(file.path, os.O_RDONLY)
            self._open_files.callback(os.close, fd)
            with contextlib.suppress(AttributeError, OSError):
                # With this advice the kernel asks for twice as much at a time.
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            for offset in range(0, file.size, _RANGE_BYTES):
                yield fd, offset, min(offset + _RANGE_BYTES, file.size)

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self.reason = reason
            self._ranges = iter(())


def _find_files(paths: Sequence[str]) -> Iterator[ModelFile]:
    for path in paths:
        if not os.path.isdir(path):
            yield ModelFile(path, os.stat(path).st_size)
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                yield ModelFile(file, os.stat(file).st_size)


def _reading_order(file: ModelFile) -> tuple[object, ...]:
    """Return a sort key: small files, then weights, then all others.

    Shard 2 comes before shard 10, as vLLM reads them.
    """
    is_weights = file.path.endswith(_WEIGHTS_ENDINGS)
    rank = 1 if is_weights else 0 if file.size <= _MAX_SMALL_BYTES else 2
    parts = re.split(r"(\d+)", file.path)
    return rank, [(int(part), "") if part.isdigit() else (0, part) for part in parts]
