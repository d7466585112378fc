"""The end of a child process when its parent dies.

A parent that is killed by SIGKILL cannot end its children: the signal runs no handler. The children
would go on, and hold memory, ports and GPUs.

So the child's standard input is a pipe whose other end only the parent has. The kernel closes that
end when the parent dies, in whatever way. On Linux the kernel can then send a signal to the child's
process group (O_ASYNC, see fcntl(2)). The child need not cooperate, and need not even be running
code of an interpreter.

Two alternatives are worse. PR_SET_PDEATHSIG sends its signal when the thread ends that started the
child, even if the parent lives on; and it reaches the child alone, not its group. A thread in the
child that reads the pipe does not run while the engine's own code holds the interpreter.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal


def signal_group_at_parent_death(
    pipe_end: int, group: int, number: signal.Signals = signal.SIGIO
) -> None:
    """Have the kernel signal a process group once the other end of a pipe is closed.

    Systems that send no signals for pipes ignore this; there the child has to watch the pipe.

    Args:
        pipe_end: The end for reading, which is the child's standard input. The setting belongs to
            the open file, so it stays in force when the parent closes its own copy of this end.
        group: The process group.
        number: The signal. The default action of SIGIO is to end a process, and a process can
            handle it to end its own children first. Systems other than Linux send SIGIO always.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe_end, fcntl.F_SETOWN, -group)
        if number != signal.SIGIO and hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(pipe_end, fcntl.F_SETSIG, number)
        fcntl.fcntl(pipe_end, fcntl.F_SETFL, fcntl.fcntl(pipe_end, fcntl.F_GETFL) | os.O_ASYNC)
