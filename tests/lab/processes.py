"""Programs that run beside a test, each with a log of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class StartError(Exception):
    """Something did not come up; the message ends with the last lines of its log."""


class Process:
    """A running program.

    Args:
        name: What it is; its log is `<name>.log`.
        argv: The program and its arguments.
        logs: The folder of its log.
        env: What it finds in its environment besides ours.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        logs: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        logs.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C is for the program that then ends it in its own time.
            self._child = subprocess.Popen(
                [os.fspath(word) for word in argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def stop(self, seconds: float = 10) -> None:
        """End it: politely, and after some seconds without asking."""
        self._child.terminate()
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def until(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for something that this program is to bring about.

        Args:
            ready: Whether it is so now; an OSError counts as no.
            what: What is waited for, as `answers`.
            seconds: How long at most.

        Raises:
            StartError: The program ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            if self._child.poll() is not None:
                raise StartError(f"{self.name} ended by itself: {self.last_words()}")
            if time.monotonic() > deadline:
                raise StartError(f"not within {seconds:g} s: {what}: {self.last_words()}")
            time.sleep(0.05)

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(["", *text.splitlines()[-lines:]])
