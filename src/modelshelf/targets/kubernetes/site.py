"""Where a verb works: the file, the cluster, who is told, and how long it waits."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable

from modelshelf.config.file import Config
from modelshelf.kube.client import Cluster
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.targets.kubernetes.events import Awaiting


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How time is told and passed; tests bring their own.

    Attributes:
        now: Seconds on a clock that never goes back.
        sleep: Wait for some seconds.
        wall: Seconds since 1970.
        look: Seconds between two looks at the cluster.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time
    look: float = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each wait may take, in seconds; None means what the object itself allows for.

    Attributes:
        bound: For a claim to get its volume.
        gone: For something deleted to be gone.
        pull: For a pull Job; None for its own deadline.
        ready: For a server that makes no progress; None for its Deployment's progress deadline.
        answer: For a server to answer one question.
    """

    bound: float = 120.0
    gone: float = 300.0
    pull: float | None = None
    ready: float | None = None
    answer: float = 180.0

    @classmethod
    def all(cls, seconds: float) -> Timeouts:
        """The same for every wait."""
        return cls(seconds, seconds, seconds, seconds, seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """What every step of a verb needs."""

    config: Config
    cluster: Cluster
    tell: Listener = ignore
    timeouts: Timeouts = Timeouts()
    pace: Pace = Pace()

    @property
    def namespace(self) -> str:
        """The namespace of everything but volumes."""
        return self.config.namespace


class Deadline:
    """The end of a wait."""

    def __init__(self, pace: Pace, seconds: float) -> None:
        self.seconds = seconds
        self._pace = pace
        self._end = pace.now() + seconds

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._pace.now() >= self._end

    def extend(self) -> None:
        """Begin anew: something moved."""
        self._end = self._pace.now() + self.seconds


class Told:
    """Tells what is new, and nothing twice."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self._last: dict[str, str] = {}

    def awaiting(self, what: str, why: str) -> None:
        """Say why something is waited for, if that reason is another than the last."""
        if why and self._last.get(what) != why:
            self._last[what] = why
            self._tell(Awaiting(what, why))

    def once(self, key: str, state: str, event: Event) -> None:
        """Say an event if the state of a thing is another than the last."""
        if self._last.get(key) != state:
            self._last[key] = state
            self._tell(event)


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *front, last = list(names) or [""]
    return f"{', '.join(front)} and {last}" if front else last
