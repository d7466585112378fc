"""What was said during a start, and when: the lines of a log as they come, and their timeline."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Self

from modelshelf.engines.timeline import Stamped, Timeline, timeline

_LOOK = 0.05  # seconds between two looks: how exact a moment is
_MOST = 10_000  # lines; a start that says more is told by its beginning


class Recorder:
    """Notes when each line is added to a log, from now until it is left or asked for them.

    Args:
        log: The file; it need not exist yet.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._offset = os.path.getsize(log) if os.path.exists(log) else 0
        self._rest = b""
        self._lines: list[Stamped] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"record-{log}", daemon=True)
        self._thread.start()

    def lines(self) -> list[Stamped]:
        """Stop, and tell what was noted."""
        self._stop()
        self._look()
        return self._lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK) and len(self._lines) < _MOST:
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(OSError), open(self._log, "rb") as file:
            file.seek(self._offset)
            added = file.read()
            now = time.time()
            self._offset += len(added)
            *whole, self._rest = (self._rest + added).split(b"\n")
            self._lines += [(now, line.decode(errors="replace")) for line in whole]


def recorded(lines: Sequence[Stamped], seconds: float, log: str) -> Timeline | None:
    """The timeline of a start that is ready just now, kept beside its log.

    Args:
        lines: What was said during it.
        seconds: How long it took.
        log: Where it was said: `replica-0.log` has its timeline in `replica-0.timeline.json`.
    """
    now = time.time()
    found = timeline(lines, began=now - seconds, ready=now)
    # Whoever serves does not fail because a note about it cannot be kept.
    with contextlib.suppress(OSError):
        if found:
            path = timeline_path(log)
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                json.dump(found.to_json(), file, indent=2)
            os.replace(f"{path}.part", path)
    return found


def timeline_path(log: str) -> str:
    """Where the timeline of the last start is whose output went to a log."""
    return log.removesuffix(".log") + ".timeline.json"


def read_timeline(log: str) -> Timeline | None:
    """The timeline of the last start whose output went to a log; None if it was not kept."""
    try:
        with open(timeline_path(log), encoding="utf-8") as file:
            return Timeline.from_json(json.load(file))
    except (OSError, ValueError, TypeError, KeyError):
        return None
