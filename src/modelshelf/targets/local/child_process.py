"""One child process, which ends when this process ends, at the latest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from modelshelf.start.parent_death import signal_group_at_parent_death

# How long a child has to end its own children. `modelshelf.start` takes 3 seconds until it kills.
_END_SECONDS = 6.0


class ChildProcess:
    """A running child process that does not outlive this one.

    The child has a session of its own. Ctrl-C in a terminal sends SIGINT to the whole foreground
    process group. Without a session of their own, the children would get it, too, and end in the
    wrong order, without finishing their requests. With one, only this process gets SIGINT, and
    decides which child ends when.

    `parent_death` explains how the child ends if this process is killed.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        log: The file that its output is appended to.

    Raises:
        OSError: The program cannot be run.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: str) -> None:
        # The child's standard input is a pipe. Its other end tells the child that we are alive.
        pipe_end, self._alive_pipe = os.pipe()
        try:
            with open(log, "ab") as output:
                self._child = subprocess.Popen(  # noqa: S603 - modelshelf's own command line
                    argv,
                    env=dict(env),
                    stdin=pipe_end,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            signal_group_at_parent_death(pipe_end, self._child.pid)
        except BaseException:
            os.close(self._alive_pipe)
            raise
        finally:
            os.close(pipe_end)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for the end of the process.

        Returns:
            The exit code, which is negative for a signal; None if it is still running.
        """
        try:
            return self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Ask the process, by SIGTERM, to finish its work and to end."""
        if self._child.poll() is None:
            self._child.terminate()

    def kill(self) -> None:
        """End the process and its children now, and wait until it has ended.

        SIGKILL of the process alone would leave its children behind. So it gets SIGIO first, the
        signal of a dead parent: `modelshelf.start` then ends its children before it exits.
        """
        if self._child.poll() is None and sys.platform == "linux":
            self._child.send_signal(signal.SIGIO)
            self.wait(_END_SECONDS)
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """Free the pipe of a process that has ended."""
        os.close(self._alive_pipe)
