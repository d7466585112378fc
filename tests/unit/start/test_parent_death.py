"""The signal that a child's process group gets when its parent dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from modelshelf.start.parent_death import signal_group_at_parent_death


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals for pipes")
@pytest.mark.parametrize("number", [signal.SIGIO, signal.SIGKILL])
def test_a_closed_pipe_ends_the_group(number: signal.Signals) -> None:
    """The kernel sends the signal once the parent's end of the pipe is closed, and not before."""
    pipe_end, parent_end = os.pipe()
    child = subprocess.Popen(["sleep", "60"], stdin=pipe_end, start_new_session=True)
    signal_group_at_parent_death(pipe_end, child.pid, number)
    os.close(pipe_end)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.1)
    os.close(parent_end)
    assert child.wait(5) == -number
