"""An engine's processes: they end with us, nothing of them is left, and no signal is lost."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import types
from collections.abc import Mapping, Sequence
from typing import Self

from modelshelf.start.parent_death import signal_group_at_parent_death

_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGIO)
# They remove what others leave in /dev/shm, and end when the last of those has ended.
_TIDY = (b"multiprocessing.resource_tracker", b"torch_shm_manager")
_PATIENCE = 3.0  # seconds from asking everything to end to killing it
_TIDYING = 1.0  # seconds more for those that tidy
_ENDED = ("Z", "X")


class Signals:
    """The signals that ask us to end: at first they interrupt, and once held they are kept.

    SIGIO is how the local target's children learn that it is gone. Children that end wake `wait`.

    Args:
        asked: What was asked for before, and where what is asked for now is added.
    """

    def __init__(self, asked: list[int] | None = None) -> None:
        self.asked = [] if asked is None else asked
        self._held = False
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*_HEEDED, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._wake)

    def hold(self) -> bool:
        """Interrupt no more; whether there is nothing to begin, since the end was asked for."""
        self._held = True
        return bool(self.asked)

    def ask(self, number: int) -> None:
        """Ask for an end from within, from any thread."""
        self.asked.append(number)
        with contextlib.suppress(OSError):
            os.write(self._wake, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until a signal comes or a child ends, for so long at most."""
        select.select([self._woken], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _heed(self, number: int, _frame: types.FrameType | None) -> None:
        if number == signal.SIGCHLD:
            return
        # Kept even so: what is raised in a callback of the interpreter's is swallowed there.
        self.asked.append(number)
        if not self._held:
            raise KeyboardInterrupt


class Group:
    """A program and all that it starts. This process must have no other children.

    It has a session of its own, so that a signal reaches it through us alone. What it orphans comes
    to us, and the kernel kills all of it when we die, even by SIGKILL.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.

    Raises:
        OSError: It cannot be run.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        _adopt_orphans()
        self.code: int | None = None
        self.gone = False
        self._ending: float | None = None
        reader, self._tether = os.pipe()
        try:
            self._leader = subprocess.Popen(  # noqa: S603 - what we were told to run
                argv, env=dict(env), stdin=reader, start_new_session=True
            )
            signal_group_at_parent_death(reader, self._leader.pid, signal.SIGKILL)
        except BaseException:
            os.close(self._tether)
            raise
        finally:
            os.close(reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tether)

    def reap(self) -> None:
        """See who has ended: `code` is the program's, negative for a signal; `gone` if all have."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._leader.pid:
                    self.code = os.waitstatus_to_exitcode(status)
                    self._leader.returncode = self.code
        except ChildProcessError:
            self.gone = True

    def tell(self, number: int) -> None:
        """Send the program itself a signal; what it started is its own business."""
        if self.code is None:
            os.kill(self._leader.pid, number)

    def end(self) -> None:
        """Ask all that is left to end, once, and kill it a while later: call it until all is gone.

        An engine that is still starting loses SIGTERM, so to ask is not enough.
        """
        first = self._ending is None
        began = self._ending = time.monotonic() if self._ending is None else self._ending
        late = time.monotonic() - began - _PATIENCE
        if first or late >= 0:
            for pid in _members(self._leader.pid):
                if late >= _TIDYING or not _tidies(pid):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGTERM if first else signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of what the children orphan, as the first process of a container is."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - a Python may have been built without it

        ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)


def _members(session: int) -> list[int]:
    """The running processes below this one, or in a session; its group where /proc is not ours."""
    try:
        # A /proc of another namespace shows other processes under our pids.
        if os.readlink("/proc/self") != str(os.getpid()):
            return [-session]
        table = {int(name): _relatives(name) for name in os.listdir("/proc") if name.isdigit()}
    except OSError:
        return [-session]

    def ours(pid: int) -> bool:
        while pid in table and pid != os.getpid():
            _, parent, its_session = table[pid]
            if its_session == session:
                return True
            pid = parent
        return pid == os.getpid()

    return [
        pid
        for pid, (state, _, _) in table.items()
        if state not in _ENDED and pid != os.getpid() and ours(pid)
    ]


def _relatives(pid: str) -> tuple[str, int, int]:
    """A process's state, parent and session; see proc(5)."""
    # The second field is the program's name in parentheses and may hold spaces and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1]), int(fields[3])) if fields else ("X", 0, 0)


def _tidies(pid: int) -> bool:
    command = _read(f"/proc/{pid}/cmdline")
    return any(name in command for name in _TIDY)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
