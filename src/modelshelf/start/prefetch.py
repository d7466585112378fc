"""Reading a model into the page cache while its engine still imports, many ranges at once.

One stream of a network filesystem fills a fraction of the link, and an engine that maps its weights
asks for one page after another.
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
from modelshelf.start.memory import room

_RANGE = 1 << 20  # bytes of one request
_THREADS = 32
_WEIGHTS = (".safetensors", ".gguf", ".bin")
_SMALL = 32 << 20  # bytes; an engine reads its configuration and tokenizer first


@dataclasses.dataclass(frozen=True, slots=True)
class Readable:
    """A file to read ahead."""

    path: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is read, in this order, and why not all; `reason` is empty if all is."""

    files: tuple[Readable, ...]
    reason: str


def plan(files: Sequence[Readable], most: int | None) -> Plan:
    """Choose what to read: in the order in which an engine reads, and no more than fits.

    A file that does not fit is left out whole, and the smaller ones behind it are not.

    Args:
        files: What there is.
        most: Bytes that may be read; None if nothing is known to bound them.
    """
    chosen: list[Readable] = []
    left = sum(file.size for file in files) if most is None else most
    for file in sorted(files, key=_turn):
        if file.size <= left:
            chosen.append(file)
            left -= file.size
    out = sum(file.size for file in files) - sum(file.size for file in chosen)
    return Plan(tuple(chosen), f"{out:,} bytes do not fit into {most:,} of memory" if out else "")


def prefetch(paths: Sequence[str], memory: int | None, stop: threading.Event) -> Prefetched:
    """Read files into the page cache; never fails.

    Args:
        paths: Files, and folders to read whole.
        memory: Bytes to read at the most; what the memory of host and container leaves is a bound
            in any case.
        stop: Set to have it end soon.

    Returns:
        What was read, and why that is not all.
    """
    began = time.monotonic()
    bounds = [bound for bound in (memory, room()) if bound is not None]
    try:
        planned = plan(list(_found(paths)), min(bounds, default=None))
    except OSError as error:
        return Prefetched(0, 0.0, str(error))
    with _Ranges(planned.files, stop) as ranges:
        readers = [threading.Thread(target=ranges.read, daemon=True) for _ in range(_THREADS)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    seconds = round(time.monotonic() - began, 3)
    return Prefetched(
        ranges.done, seconds, "; ".join(filter(None, (ranges.reason, planned.reason)))
    )


class _Ranges:
    """The ranges of some files, which threads take one after another and read.

    Args:
        files: In their order.
        stop: Set to have nobody take another.
    """

    def __init__(self, files: Sequence[Readable], stop: threading.Event) -> None:
        self._stop = stop
        self._turn = threading.Lock()
        self._open = contextlib.ExitStack()
        self._left = self._all(files)
        self.done = 0
        self.reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self) -> None:
        """Take and read ranges until there are none; what was read is thrown away."""
        buffer = memoryview(bytearray(_RANGE))
        while (taken := self._next()) is not None:
            fd, offset, end = taken
            try:
                while offset < end and (count := os.preadv(fd, [buffer[: end - offset]], offset)):
                    offset += count
                    with self._turn:
                        self.done += count
            except OSError as error:
                self._fail(str(error))

    def _next(self) -> tuple[int, int, int] | None:
        with self._turn:
            if self._stop.is_set():
                self.reason = self.reason or "stopped before the end"
                return None
            try:
                return next(self._left, None)
            except OSError as error:
                self.reason = str(error)
                return None

    def _all(self, files: Sequence[Readable]) -> Iterator[tuple[int, int, int]]:
        for file in files:
            fd = os.open(file.path, os.O_RDONLY)
            self._open.callback(os.close, fd)
            with contextlib.suppress(AttributeError, OSError):
                # The kernel asks for twice as much at a time.
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            for offset in range(0, file.size, _RANGE):
                yield fd, offset, min(offset + _RANGE, file.size)

    def _fail(self, reason: str) -> None:
        with self._turn:
            self.reason = reason
            self._left = iter(())


def _found(paths: Sequence[str]) -> Iterator[Readable]:
    for path in paths:
        if not os.path.isdir(path):
            yield Readable(path, os.stat(path).st_size)
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                yield Readable(file, os.stat(file).st_size)


def _turn(file: Readable) -> tuple[object, ...]:
    """Small files first, then weights, and shard 2 before shard 10, as vLLM reads them."""
    weights = file.path.endswith(_WEIGHTS)
    kind = 1 if weights else 0 if file.size <= _SMALL else 2
    parts = re.split(r"(\d+)", file.path)
    return kind, [(int(part), "") if part.isdigit() else (0, part) for part in parts]
