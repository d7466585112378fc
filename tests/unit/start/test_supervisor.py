"""What a start's spec means, and which signals an engine gets."""

from __future__ import annotations

import signal
from typing import Any, cast

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.start.process_tree import ProcessTree
from modelshelf.start.stop_signals import StopSignals
from modelshelf.start.supervisor import CacheSpec, StartSpec, supervise

TERM, INT, PARENT_DIED = signal.SIGTERM, signal.SIGINT, signal.SIGIO


def test_a_spec_may_be_empty() -> None:
    """The engine is then started by its own command line, and nothing else is done."""
    assert StartSpec.from_json({}) == StartSpec()


def test_a_spec_may_have_all_keys() -> None:
    """Each key is read, and each part may be empty."""
    cache = {"folder": "/compile-cache", "snapshot": "o/n@1", "into": "/home/x"}
    spec = {
        "health": "http://127.0.0.1:8000/health",
        "prefetch": {"paths": ["/models/x"], "memory": 5},
        "compile_cache": cache,
        "fast": {"fork": False},
    }
    assert StartSpec.from_json(spec) == StartSpec(
        health="http://127.0.0.1:8000/health",
        prefetch_paths=("/models/x",),
        max_prefetch_bytes=5,
        cache=CacheSpec(**cache),
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
def test_an_unreadable_spec_is_refused(spec: dict[str, Any]) -> None:
    """The error says that the spec is wrong, before anything is started."""
    with pytest.raises(UsageError, match="spec of the start is not readable"):
        StartSpec.from_json(spec)


class _Engine:
    """Stands in for an engine's processes and for our signals; each wait is one step.

    Args:
        steps: What happens: a number is a signal that we receive, a text is the exit code of the
            engine, and `gone` is the end of the last process.
    """

    def __init__(self, *steps: int | str) -> None:
        self.exit_code: int | None = None
        self.is_empty = False
        self.actions: list[object] = []
        self.received: list[int] = []
        self._steps = list(steps)

    def signal_program(self, number: int) -> None:
        self.actions.append(number)

    def stop_all(self) -> None:
        if "stop" not in self.actions:
            self.actions.append("stop")

    def wait(self, _seconds: float) -> None:
        step = self._steps.pop(0)
        if isinstance(step, int):
            self.received.append(step)
        elif step == "gone":
            self.is_empty = True
        else:
            self.exit_code = int(step)

    def reap(self) -> None:
        pass

    def run(self, *, ready: bool) -> int:
        return supervise(cast("ProcessTree", self), cast("StopSignals", self), lambda: ready)


@pytest.mark.parametrize(
    ("ready", "steps", "actions", "exit_code"),
    [
        # The engine ends by itself, and what it left behind is stopped.
        (True, ("0", "gone"), ["stop"], 0),
        (False, ("1", "gone"), ["stop"], 1),
        (True, ("-9", "gone"), ["stop"], 137),
        # A ready engine finishes its requests, and its exit code is its own.
        (True, (TERM, "0", "gone"), [TERM, "stop"], 0),
        (True, (INT, "-2", "gone"), [INT, "stop"], 130),
        # An engine that is starting is stopped. So is one that gets a second signal, and one whose
        # grandparent has died.
        (False, (TERM, "-9", "gone"), ["stop"], 143),
        (True, (TERM, INT, "-9", "gone"), [TERM, "stop"], 143),
        # A supervisor that signals every process of a group signals us twice, and means it once.
        (True, (TERM, TERM, "0", "gone"), [TERM, "stop"], 0),
        (True, (INT, TERM, "-9", "gone"), [INT, "stop"], 130),
        (True, (PARENT_DIED, "0", "gone"), ["stop"], 128 + PARENT_DIED),
    ],
)
def test_what_a_signal_does(
    ready: bool,  # noqa: FBT001
    steps: tuple[int | str, ...],
    actions: list[object],
    exit_code: int,
) -> None:
    """A ready engine gets the first signal; everything else stops all of its processes."""
    engine = _Engine(*steps)
    assert engine.run(ready=ready) == exit_code
    assert engine.actions == actions
