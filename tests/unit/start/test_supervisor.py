"""What a start's spec says, and what an engine is told when."""

from __future__ import annotations

import signal
from typing import Any, cast

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.start.process_tree import Group, Signals
from modelshelf.start.supervisor import Caches, StartSpec, supervise

TERM, INT, LOST = signal.SIGTERM, signal.SIGINT, signal.SIGIO


def test_a_spec_may_say_nothing() -> None:
    """Then the engine is started as its command says, and nothing else is done."""
    assert StartSpec.from_json({}) == StartSpec()


def test_a_spec_may_say_everything() -> None:
    """Each part is optional by itself."""
    caches = {"folder": "/compile-cache", "snapshot": "o/n@1", "into": "/home/x"}
    spec = {
        "health": "http://127.0.0.1:8000/health",
        "prefetch": {"paths": ["/models/x"], "memory": 5},
        "compile_cache": caches,
        "fast": {"fork": False},
    }
    assert StartSpec.from_json(spec) == StartSpec(
        health="http://127.0.0.1:8000/health",
        paths=("/models/x",),
        memory=5,
        caches=Caches(**caches),
        fork=False,
    )
    assert (
        StartSpec.from_json({"prefetch": {"paths": [], "memory": None}, "fast": None})
        == StartSpec()
    )


@pytest.mark.parametrize(
    "spec",
    [
        {"health": "https://x:1/"},
        {"health": "http://x/health"},
        {"health": 7},
        {"prefetch": {"paths": 7}},
        {"prefetch": {"paths": [], "memory": "much"}},
        {"compile_cache": {"folder": "/compile-cache"}},
        {"fast": {"spoon": True}},
        {"fast": 1},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(spec: dict[str, Any]) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match="spec of the start is not readable"):
        StartSpec.from_json(spec)


class _Engine:
    """An engine that writes down what it is told, and its parent's signals: one step each wait."""

    def __init__(self, *steps: int | str) -> None:
        self.code: int | None = None
        self.gone = False
        self.told: list[object] = []
        self.asked: list[int] = []
        self._steps = list(steps)

    def tell(self, number: int) -> None:
        self.told.append(number)

    def end(self) -> None:
        if "end" not in self.told:
            self.told.append("end")

    def wait(self, _seconds: float) -> None:
        step = self._steps.pop(0)
        if isinstance(step, int):
            self.asked.append(step)
        elif step == "gone":
            self.gone = True
        else:
            self.code = int(step)

    def reap(self) -> None:
        pass

    def run(self, *, ready: bool) -> int:
        return supervise(cast("Group", self), cast("Signals", self), lambda: ready)


@pytest.mark.parametrize(
    ("ready", "steps", "told", "code"),
    [
        # It ends by itself, and what it left behind is ended.
        (True, ("0", "gone"), ["end"], 0),
        (False, ("1", "gone"), ["end"], 1),
        (True, ("-9", "gone"), ["end"], 137),
        # A ready one finishes what it does, and its code is its own.
        (True, (TERM, "0", "gone"), [TERM, "end"], 0),
        (True, (INT, "-2", "gone"), [INT, "end"], 130),
        # One that starts is ended, as is one that is asked twice, and one that lost who started us.
        (False, (TERM, "-9", "gone"), ["end"], 143),
        (True, (TERM, INT, "-9", "gone"), [TERM, "end"], 143),
        # A supervisor that tells every process, and so us twice, does not want more than it says.
        (True, (TERM, TERM, "0", "gone"), [TERM, "end"], 0),
        (True, (INT, TERM, "-9", "gone"), [INT, "end"], 130),
        (True, (LOST, "0", "gone"), ["end"], 128 + LOST),
    ],
)
def test_who_is_told_what(
    ready: bool,  # noqa: FBT001
    steps: tuple[int | str, ...],
    told: list[object],
    code: int,
) -> None:
    """A signal reaches a ready engine once; everything else ends all of its processes."""
    engine = _Engine(*steps)
    assert engine.run(ready=ready) == code
    assert engine.told == told
