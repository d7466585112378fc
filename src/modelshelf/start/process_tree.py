"""A program and every process that it starts: all of them end, at the latest when we do.

An engine such as vLLM consists of several processes. One that outlives the others keeps GPU memory,
shared memory or the port, and the next start fails. The operating system ends no process because
its parent has ended, and each usual way to end "all of it" misses some:

- A signal to a process group or a session reaches the processes that stay in it. A child leaves
  both by calling setsid().
- The parent of each process stands in /proc, so a process tree can be followed through sessions.
  But when a parent dies, its children are given to process 1, and the link is lost.
- PR_SET_PDEATHSIG has the kernel signal a child when its parent dies, even by SIGKILL. It holds
  for that child alone and not for what the child starts, and it acts when the *thread* dies that
  forked.
- A cgroup or a PID namespace of the program's own would be exact. Making one takes rights that a
  restricted pod does not have.

So three things are combined:

- PR_SET_CHILD_SUBREAPER makes us the parent of every orphan below us, as process 1 of a container
  is anyway. The tree in /proc then stays whole below us, and we can reap what has ended: a process
  that nobody reaps stays as a zombie.
- The program gets a session of its own. On Ctrl-C the kernel signals all processes in the
  foreground group of the terminal. That reaches us alone, and we decide what the program gets.
- The program's standard input is a pipe, and we hold its only writing end. When we end, for
  whatever reason, the kernel closes it. F_SETOWN and F_SETSIG have the kernel then send SIGKILL to
  the whole process group of the program. This tether needs no code that runs, neither in us nor in
  the program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

from modelshelf.shelf.proc_stat import proc_shows_our_pids, read_proc_stat
from modelshelf.start.parent_death import signal_group_at_parent_death

_PR_SET_CHILD_SUBREAPER = 36  # an option of prctl(2)
# Processes that remove what others leave in /dev/shm. They end when the last of those has ended.
_CLEANERS = (b"multiprocessing.resource_tracker", b"torch_shm_manager")
_GRACE_SECONDS = 3.0  # from SIGTERM to SIGKILL
_CLEANER_GRACE_SECONDS = 1.0  # more than the others have


class ProcessTree:
    """A running program and every process that it starts.

    This process must have no other children, and no threads when the program is started.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.

    Attributes:
        exit_code: The program's exit code, -n if signal n ended it; None while it runs. It is as
            new as the last `reap`.
        is_empty: Whether no process of the tree is left; as new as the last `reap`.

    Raises:
        OSError: The program cannot be run.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        _become_subreaper()
        self.exit_code: int | None = None
        self.is_empty = False
        self._sigterm_sent_at: float | None = None
        reader, self._tether = os.pipe()
        try:
            self._program = subprocess.Popen(  # noqa: S603 - running it is what we are for
                argv,
                env=dict(env),
                stdin=reader,
                start_new_session=True,
                # A preexec_fn can hang where threads hold locks. This process has no threads yet.
                preexec_fn=_tie_to_parent,  # noqa: PLW1509
            )
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
        """Wait for the processes that have ended, and update `exit_code` and `is_empty`."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._program.pid:
                    self.exit_code = os.waitstatus_to_exitcode(status)
                    # Popen cannot wait for it any more, and would warn that it still runs.
                    self._program.returncode = self.exit_code
        except ChildProcessError:
            self.is_empty = True

    def signal_program(self, number: int) -> None:
        """Send a signal to the program itself, and to nothing that it has started."""
        if self.exit_code is None:
            os.kill(self._program.pid, number)

    def stop_all(self) -> None:
        """Stop all processes that are left. Call it repeatedly until `is_empty`.

        The first call sends SIGTERM. That is not enough: vLLM, for one, loses a SIGTERM that comes
        while it is starting. So calls that come `_GRACE_SECONDS` later send SIGKILL. They repeat
        it, since a process that was just forked may not have been in the list before.

        Processes that clean up shared memory get no SIGTERM, and SIGKILL a second later than the
        others. They end by themselves when they have removed what the others left.
        """
        now = time.monotonic()
        is_first_call = self._sigterm_sent_at is None
        if self._sigterm_sent_at is None:
            self._sigterm_sent_at = now
        overdue = now - self._sigterm_sent_at - _GRACE_SECONDS
        if not is_first_call and overdue < 0:
            return
        number = signal.SIGTERM if is_first_call else signal.SIGKILL
        for pid in _running_pids(self._program.pid):
            if overdue >= _CLEANER_GRACE_SECONDS or not _is_cleaner(pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)


def _become_subreaper() -> None:
    """Become the parent of what our descendants orphan (PR_SET_CHILD_SUBREAPER of prctl(2))."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - a Python may have been built without it

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _tie_to_parent() -> None:
    """In the child, before exec(2): have the kernel kill our process group when the parent dies.

    If the parent did this, it could be killed just before, and the program would live on. The child
    holds both ends of the pipe until its exec(2), so nothing can be missed here: if the parent is
    dead by then, the exec itself closes the last writing end and has the group killed.
    """
    signal_group_at_parent_death(0, os.getpid(), signal.SIGKILL)


def _running_pids(session: int) -> list[int]:
    """List the running processes that descend from this one, or are in a session.

    Returns:
        What kill(2) takes. Without a usable /proc, that is the process group of the session's
        leader alone, as a negative number.
    """
    if not proc_shows_our_pids():
        return [-session]
    this_process = os.getpid()
    stats = {
        int(name): stat
        for name in os.listdir("/proc")
        if name.isdigit() and (stat := read_proc_stat(int(name)))
    }

    def belongs_to_tree(pid: int) -> bool:
        while pid in stats and pid != this_process:
            if stats[pid].session == session:
                return True
            pid = stats[pid].parent
        return pid == this_process

    return [
        pid
        for pid, stat in stats.items()
        if not stat.has_ended and pid != this_process and belongs_to_tree(pid)
    ]


def _is_cleaner(pid: int) -> bool:
    """Whether a process is one that removes shared memory when the others have ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
    except OSError:
        return False
    return any(name in command for name in _CLEANERS)
