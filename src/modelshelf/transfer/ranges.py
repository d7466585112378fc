"""What to ask for next: ranges of one file, and how many connections. Pure."""

from __future__ import annotations

import dataclasses
import heapq
from typing import NamedTuple


class Range(NamedTuple):
    """Bytes `start` up to but not including `end` of a file."""

    start: int
    end: int


class Window:
    """The ranges of one file that nobody has asked for yet.

    Ranges are given out lowest first, so the one that the file needs next is always on its way.

    Args:
        size: Bytes of the file.
        done: Bytes at its beginning that are there already.
        chunk: Bytes of one range.

    Attributes:
        active: Ranges that are under way.
        reading_whole: Whether the one that is under way is all that is left of the file.
    """

    def __init__(self, size: int, done: int, chunk: int) -> None:
        self._size = size
        self._chunk = chunk
        self._next = done
        self._released: list[Range] = []
        self._whole = False
        self.reading_whole = False
        self.active = 0

    def claim(self, done: int) -> Range | None:
        """The next range to ask for; None if there is none at the moment.

        Args:
            done: Bytes of the file that are written.
        """
        if self._whole:
            # Ranges that were under way before may still bring something, so they come first.
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

    def release(self, left: Range) -> None:
        """What is left of a claimed range will not arrive: somebody else may claim it."""
        self.active -= 1
        if left.start < left.end and not self._whole:
            heapq.heappush(self._released, left)

    def take_whole(self) -> None:
        """The server ignores ranges: from now on one reader takes all that is not written."""
        self._whole = True
        self._released.clear()


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How connections grow.

    Attributes:
        least: Connections at the start.
        most: Connections at the most.
        gain: A doubling must raise the throughput by this factor to be kept.
        settle: Seconds after a change that are not measured.
        measure: Seconds that are.
        again: Seconds after which a doubling that did not help is tried again, since one
            measurement may be wrong; twice as long each time.
        rest: The longest such rest, and the rest after the server asked for less.
        busy: The share of the processor's time from which on more connections only cost more.
    """

    least: int = 4
    most: int = 32
    gain: float = 1.15
    settle: float = 0.2
    measure: float = 0.4
    again: float = 3.0
    rest: float = 30.0
    busy: float = 0.6


class Ramp:
    """Doubles the connections while that raises the throughput, and takes back what did not help.

    Slow start for connections instead of packets: a link that limits each connection wants many,
    a busy processor or a server that throttles wants few.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._before = 0.0
        self._previous = limits.least
        self._changed = now
        self._mark: tuple[float, int, float] | None = None
        self._resting_until: float | None = None
        self._patience = limits.again
        self.connections = limits.least

    def tick(self, now: float, received: int, worked: float = 0.0) -> int:
        """How many connections there should be.

        Args:
            now: A monotonic clock, in seconds.
            received: Bytes received so far.
            worked: Seconds of processor time used so far, divided by the number of cores.
        """
        if self._resting_until is not None:
            if now >= self._resting_until:
                self._resting_until, self._before = None, 0.0
                self._change(self.connections, now)
            return self.connections
        if now - self._changed < self._limits.settle:
            return self.connections
        # Before the first byte there is nothing to judge by.
        if self._mark is None or received == self._mark[1]:
            self._mark = (now, received, worked)
            return self.connections
        began, start, idle = self._mark
        seconds = now - began
        if seconds >= self._limits.measure:
            self._judge((received - start) / seconds, (worked - idle) / seconds, now)
        return self.connections

    def _judge(self, rate: float, load: float, now: float) -> None:
        if load >= self._limits.busy and not self._before:
            self._rest(self._limits.again, self.connections, now)
        elif rate < self._before * self._limits.gain:
            self._rest(self._patience, self._previous, now)
            self._patience = min(self._patience * 2, self._limits.rest)
        elif self.connections < self._limits.most:
            if self._before:
                self._patience = self._limits.again
            self._before, self._previous = rate, self.connections
            self._change(min(self.connections * 2, self._limits.most), now)
        else:
            self._rest(self._limits.rest, self.connections, now)

    def back_off(self, now: float) -> None:
        """The server asked for less: halve the connections and rest."""
        if now - self._changed >= self._limits.settle:
            self._rest(self._limits.rest, max(1, self.connections // 2), now)

    def _rest(self, seconds: float, connections: int, now: float) -> None:
        self._resting_until = now + seconds
        self._change(connections, now)

    def _change(self, connections: int, now: float) -> None:
        self.connections, self._changed, self._mark = connections, now, None
