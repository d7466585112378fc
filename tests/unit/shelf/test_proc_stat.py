"""What the kernel says of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelshelf.shelf.proc_stat import (
    ProcStat,
    parse_proc_stat,
    proc_shows_our_pids,
    read_proc_stat,
)

only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this /proc")


@only_on_linux
def test_it_describes_this_process() -> None:
    """Parent and session agree with the system calls, and a running process has not ended."""
    stat = read_proc_stat(os.getpid())
    assert stat is not None
    assert (stat.parent, stat.session) == (os.getppid(), os.getsid(0))
    assert stat.start_ticks > 0
    assert not stat.has_ended


@only_on_linux
def test_a_zombie_has_ended_and_a_reaped_process_is_nowhere() -> None:
    """A process that nobody has waited for yet counts as ended, and then it is not shown."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stat = read_proc_stat(child.pid)
    assert stat is not None
    assert stat.has_ended
    child.wait()
    assert read_proc_stat(child.pid) is None


def test_a_name_with_spaces_and_parentheses_is_no_trap() -> None:
    """The fields are counted from behind the program's name, whatever that holds."""
    # proc(5): the state is field 3, and the start time field 22.
    fields = " ".join(str(number) for number in range(4, 53))
    assert parse_proc_stat(f"7 (a) b) (c d) S {fields}") == ProcStat("S", 4, 6, 22)


@pytest.mark.parametrize("line", ["", "7 (cat) S 1 2 3"])
def test_a_line_with_too_few_fields_describes_nothing(line: str) -> None:
    """A line that lacks a field is as good as none."""
    assert parse_proc_stat(line) is None


@only_on_linux
def test_proc_of_another_namespace_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """`/proc` has our numbers unless it shows this process under another one."""
    assert proc_shows_our_pids()
    monkeypatch.setattr(os, "readlink", lambda _: "999999")
    assert not proc_shows_our_pids()


def test_without_proc_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without `/proc` shows no process."""

    def fail(_path: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "readlink", fail)
    assert not proc_shows_our_pids()
    assert read_proc_stat(2**22 + 1) is None
