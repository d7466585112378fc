"""The events around an engine's start, as frozen values."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from modelshelf.shelf.events import Event

StartMode: TypeAlias = Literal["stock", "mended", "fast"]
"""How an engine is started.

- `stock`: by its own command line.
- `mended`: vLLM in its own interpreter by `vllm_launcher`, which adds a method that torch lacks.
  vLLM then loads compiled code that it would compile again.
- `fast`: as `mended`, and vLLM's processes are forked from one that has imported vLLM, instead of
  importing it once each.
"""

CacheOrigin: TypeAlias = Literal["made", "present"]
"""Where a published compile cache comes from: `made` by this run, or `present` before it."""


@dataclasses.dataclass(frozen=True, slots=True)
class EngineStarting(Event):
    """`start` starts an engine.

    Attributes:
        argv: The command line that is run.
        how: `stock` (by its own command line), `mended` (with a fix by which vLLM loads compiled
            code again), or `fast` (mended, with one import for all of its processes).
        reason: Why it is not faster; empty if nothing stood in the way.
    """

    argv: tuple[str, ...]
    how: StartMode
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class EngineReady(Event):
    """The engine's health path answered 200, `seconds` after `start` began."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class EngineEnded(Event):
    """The engine and all that it started have ended; `exit_code` is 128 + n after signal n."""

    exit_code: int


@dataclasses.dataclass(frozen=True, slots=True)
class Prefetched(Event):
    """Bytes of a model were read into the page cache; if not all, `reason` says why."""

    bytes: int
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class CacheUnpacked(Event):
    """A compile cache that an earlier `prime` published was verified and unpacked."""

    key: str
    bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class CacheMissing(Event):
    """No compile cache was unpacked, so the engine compiles again; `reason` says why."""

    key: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Primed(Event):
    """A compile cache is on the shelf.

    Attributes:
        key: Its folder below `compile-cache`.
        path: Its whole path.
        bytes: The size of its archive.
        seconds: How long `prime` took.
        how: `made` if this run compiled and published it, `present` if it was there before.
    """

    key: str
    path: str
    bytes: int
    seconds: float
    how: CacheOrigin


@dataclasses.dataclass(frozen=True, slots=True)
class Drained(Event):
    """`drain` ended after `seconds`; `reason` says whether the engine was idle by then."""

    seconds: float
    reason: str
