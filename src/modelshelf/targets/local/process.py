"""One child process: its log, and an end that comes with ours at the latest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

_LOG_LIMIT = 64 * 2**20  # bytes
_ENDING = 6.0  # seconds; `start` asks for 3, then kills
_TAIL = 16 * 1024
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Process:
    """A running child process that does not survive this one, however this one ends.

    It has a session of its own, so that Ctrl-C reaches us alone and we decide who ends when.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        log: The file that its output is added to.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: str) -> None:
        reader, self._tether = os.pipe()
        try:
            with open(log, "ab") as output:
                self._child = subprocess.Popen(  # noqa: S603 - our own argv
                    argv,
                    env=dict(env),
                    stdin=reader,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            _end_with_us(reader, self._child.pid)
        except BaseException:
            os.close(self._tether)
            raise
        finally:
            os.close(reader)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, negative for a signal, once it has ended; None if it has not by then."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Ask it to finish what it does and end."""
        if self._child.poll() is None:
            self._child.terminate()

    def kill(self) -> None:
        """End it and what it started, and wait for that."""
        if self._child.poll() is None and sys.platform == "linux":
            # As if we had died: nothing under way is finished, but `start` ends what it started.
            self._child.send_signal(signal.SIGIO)
            self.wait(_ENDING)
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """Let go of an ended process."""
        os.close(self._tether)


def bound_log(log: str, limit: int = _LOG_LIMIT) -> None:
    """Keep a log of more than `limit` bytes aside, in place of the one kept before.

    What is written between the copy and the cut is lost.
    """
    with contextlib.suppress(OSError):
        if os.path.getsize(log) > limit:
            shutil.copyfile(log, f"{log}.1")
            # Its process adds at the end, wherever that is.
            os.truncate(log, 0)


def last_lines(log: str, count: int) -> list[str]:
    """The last lines of a log that hold anything, without colours."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        text = _COLOURS.sub("", file.read().decode(errors="replace"))
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
    return []


def _end_with_us(reader: int, pid: int) -> None:
    """Have the kernel end a child and its group when the other end of its standard input closes.

    That happens when we die, even by SIGKILL. SIGIO's default is to terminate; it needs nothing of
    the child, not even that its interpreter runs. (PR_SET_PDEATHSIG would follow the thread that
    started the child.) Systems that do not signal pipes leave it to the child to look.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(reader, fcntl.F_SETOWN, -pid)
        fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
