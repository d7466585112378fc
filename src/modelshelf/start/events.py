"""What happens around an engine's start, as frozen values."""

from __future__ import annotations

import dataclasses

from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class EngineStarting(Event):
    """`start` starts an engine.

    Attributes:
        argv: What is run.
        how: `stock`, `mended` (a fault of the engine's caches mended), or `fast` (one import for
            all of its processes).
        reason: Why it is not faster; empty if nothing stood in the way.
    """

    argv: tuple[str, ...]
    how: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class EngineReady(Event):
    """The engine's health path answered 200, `seconds` after `start` began."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class EngineEnded(Event):
    """The engine has ended, and nothing that it started is left; 128 + n means by signal n."""

    exit_code: int


@dataclasses.dataclass(frozen=True, slots=True)
class Prefetched(Event):
    """Bytes of a model were read into the page cache; `reason` says why not all, if not all."""

    bytes: int
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class CacheUnpacked(Event):
    """What an earlier start had compiled is in its place, verified."""

    key: str
    bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class CacheMissing(Event):
    """There is nothing to unpack, so the engine makes it again; `reason` says why."""

    key: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Primed(Event):
    """What a start compiles is on the shelf; `how` is `made` by this one, or `present` before."""

    key: str
    path: str
    bytes: int
    seconds: float
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Drained(Event):
    """`drain` ended after `seconds`; `reason` says whether the engine was quiet by then."""

    seconds: float
    reason: str
