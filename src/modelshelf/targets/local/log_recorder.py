"""Records the lines of a log together with their times, and keeps the timeline of a start."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Self

from modelshelf.engines.timeline import Timeline
from modelshelf.engines.timeline_reader import TimedLine, read_timeline

_POLL_SECONDS = 0.05  # the precision of the times
_MAX_LINES = 10_000  # of one start; later lines are ignored


class LogRecorder:
    """Records when each line is appended to a log, from now on until `finish` or the block's end.

    Args:
        log: The file; it need not exist yet.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._offset = os.path.getsize(log) if os.path.exists(log) else 0
        self._partial_line = b""
        self._lines: list[TimedLine] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"record-{log}", daemon=True)
        self._thread.start()

    def finish(self) -> list[TimedLine]:
        """Stop recording, and return the lines."""
        self._stop()
        self._read_new_lines()
        return self._lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS) and len(self._lines) < _MAX_LINES:
            self._read_new_lines()

    def _read_new_lines(self) -> None:
        with contextlib.suppress(OSError), open(self._log, "rb") as file:
            file.seek(self._offset)
            new_bytes = file.read()
            now = time.time()
            self._offset += len(new_bytes)
            *lines, self._partial_line = (self._partial_line + new_bytes).split(b"\n")
            self._lines += [(now, line.decode(errors="replace")) for line in lines]


def save_timeline(lines: Sequence[TimedLine], seconds: float, log: str) -> Timeline | None:
    """Read the timeline of a start that is ready now, and save it in a file beside its log.

    A timeline that cannot be saved is no error: the server works without it.

    Args:
        lines: The lines that were logged during the start.
        seconds: How long the start took.
        log: The log. The timeline of `replica-0.log` is in `replica-0.timeline.json`.

    Returns:
        The timeline; None if nothing is known about the start.
    """
    now = time.time()
    timeline = read_timeline(lines, began=now - seconds, ready=now)
    with contextlib.suppress(OSError):
        if timeline:
            path = timeline_path(log)
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                json.dump(timeline.to_json(), file, indent=2)
            os.replace(f"{path}.part", path)
    return timeline


def timeline_path(log: str) -> str:
    """The file with the timeline of the last start that wrote to a log."""
    return log.removesuffix(".log") + ".timeline.json"


def load_timeline(log: str) -> Timeline | None:
    """Load the timeline of the last start that wrote to a log; None if there is none."""
    try:
        with open(timeline_path(log), encoding="utf-8") as file:
            return Timeline.from_json(json.load(file))
    except (OSError, ValueError, TypeError, KeyError):
        return None
