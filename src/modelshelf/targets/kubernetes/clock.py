"""Time as the verbs see it: the clock that they read, how they pause, and when a wait is over."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """How a verb reads the time and lets it pass; tests bring a clock of their own.

    Attributes:
        now: Seconds on a clock that never goes back.
        sleep: Wait for some seconds.
        wall: Seconds since 1970.
        poll_seconds: Seconds between two looks at the cluster.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time
    poll_seconds: float = 0.5

    def pause(self) -> None:
        """Wait until the next look at the cluster."""
        self.sleep(self.poll_seconds)


SYSTEM_CLOCK = Clock()


class Deadline:
    """The end of a wait.

    Attributes:
        seconds: How long the wait may take.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock.now() + seconds

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._clock.now() >= self._end

    def extend(self) -> None:
        """Start the wait again from now, because there was progress."""
        self._end = self._clock.now() + self.seconds
