"""The timeline of a start: how long each of its phases took. Plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

GATE, UNPACK, PREFETCH, IMPORT = "gate", "unpack", "prefetch", "import"
WEIGHTS, COMPILE, CAPTURE, INIT, READY = "weights", "compile", "graph capture", "init", "ready"
# Tables and charts show the phases in this order. Only pods have `scheduled` and `image`. Only pods
# without a shelf, which benchmarks compare with, have `download`.
PHASES = (
    *("scheduled", "image", "download", GATE, UNPACK, PREFETCH),
    *(IMPORT, WEIGHTS, COMPILE, CAPTURE, INIT, READY),
)

StartMethod = Literal["", "stock", "mended", "fast"]
"""How an engine was started, as in `start.events.EngineStarting`; empty if unknown."""


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """A part of a start.

    Attributes:
        name: One of `PHASES`.
        began: Seconds from the beginning of the timeline to that of the phase.
        seconds: How long it took.
        bytes: How many bytes it read; 0 if it did not count them.
        detail: More about it; may be empty.
    """

    name: str
    began: float
    seconds: float
    bytes: int = 0
    detail: str = ""

    @property
    def runs_in_parallel(self) -> bool:
        """Whether other phases run at the same time, which is so for `prefetch` alone."""
        return self.name == PREFETCH


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """One start.

    Attributes:
        began: When it began, in seconds since 1970.
        ready: Seconds until the engine answered; None if it has not answered.
        how: How the engine was started.
        reason: Why it was not started in a faster way; may be empty.
        phases: The phases in the order in which they began.
    """

    began: float
    ready: float | None
    how: StartMethod
    reason: str
    phases: tuple[Phase, ...]

    @property
    def phase_seconds(self) -> tuple[tuple[str, float], ...]:
        """The name and the seconds of each phase, to the millisecond."""
        return tuple((phase.name, round(phase.seconds, 3)) for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        """The timeline as JSON, to the millisecond."""
        value: dict[str, Any] = _round_floats(dataclasses.asdict(self))
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Timeline:
        """Read the JSON that `to_json` made.

        Raises:
            KeyError, TypeError: It has another shape.
        """
        phases = tuple(Phase(**phase) for phase in value["phases"])
        return cls(**{**value, "phases": phases})


def _round_floats(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _round_floats(item) for key, item in value.items()}
    return [_round_floats(item) for item in value] if isinstance(value, list | tuple) else value
