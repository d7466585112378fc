"""Which ranges of a file to request next. Pure."""

from __future__ import annotations

import heapq
from typing import NamedTuple


class Range(NamedTuple):
    """The bytes of a file from `start` up to, but not including, `end`."""

    start: int
    end: int


class RangeQueue:
    """The ranges of one file that no connection has requested yet.

    The lowest range comes first. So the range that the file needs next is always on its way.

    Args:
        size: Bytes of the file.
        done: Bytes at its beginning that are there already.
        chunk: Bytes of one range.

    Attributes:
        active: Ranges that are on their way.
        reading_whole: Whether the one range that is on its way is all that is missing of the file.
    """

    def __init__(self, size: int, done: int, chunk: int) -> None:
        self._size = size
        self._chunk = chunk
        self._next = done
        self._released: list[Range] = []
        self._ranges_ignored = False
        self.reading_whole = False
        self.active = 0

    def claim(self, done: int) -> Range | None:
        """Take the next range to request.

        Args:
            done: Bytes of the file that are written.

        Returns:
            None if there is no range to request at the moment.
        """
        if self._ranges_ignored:
            # Ranges that were requested before may still bring something, so they come first.
            if self.active or done >= self._size:
                return None
            claimed = Range(done, self._size)
            self.reading_whole = True
        elif self._released:
            claimed = heapq.heappop(self._released)
        elif self._next < self._size:
            claimed = Range(self._next, min(self._next + self._chunk, self._size))
            self._next = claimed.end
        else:
            return None
        self.active += 1
        return claimed

    def finish(self) -> None:
        """A claimed range has arrived."""
        self.active -= 1

    def release(self, remaining: Range) -> None:
        """Give back what is missing of a claimed range, so that another connection may claim it."""
        self.active -= 1
        if remaining.start < remaining.end and not self._ranges_ignored:
            heapq.heappush(self._released, remaining)

    def read_whole(self) -> None:
        """The server ignores ranges: from now on one connection reads all that is missing."""
        self._ranges_ignored = True
        self._released.clear()
