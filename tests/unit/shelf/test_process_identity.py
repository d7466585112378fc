"""Who a process is, and whether it is gone for good."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from modelshelf.shelf import process_identity
from modelshelf.shelf.process_identity import Process, boot_id

pytestmark = pytest.mark.skipif(not boot_id(), reason="only Linux says who a process is")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its stdin is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as running:
        yield running


def _identity(pid: int) -> Process:
    return dataclasses.replace(
        Process.this(), pid=pid, started=process_identity._started(pid) or ""
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a child end without reaping it."""
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_this_process_is_not_gone() -> None:
    """Whoever asks about itself lives, and every field says something."""
    this = Process.this()
    assert this.pid == os.getpid()
    assert all(dataclasses.astuple(this))
    assert not this.provably_gone()


def test_a_live_process_is_not_gone(child: subprocess.Popen[bytes]) -> None:
    """Another process of this host and namespace can be seen to live."""
    assert not _identity(child.pid).provably_gone()


def test_a_process_that_ended_is_gone(child: subprocess.Popen[bytes]) -> None:
    """It is gone as soon as it ended: as a zombie, and after it was reaped."""
    identity = _identity(child.pid)
    _end(child)
    assert identity.provably_gone()
    child.wait()
    assert identity.provably_gone()


def test_a_pid_that_is_used_again_is_another_process() -> None:
    """Under the same pid, another start time means that the first one ended."""
    assert dataclasses.replace(Process.this(), started="1").provably_gone()


@pytest.mark.parametrize(
    "change",
    [
        {"boot_id": "00000000-0000-0000-0000-000000000000"},
        {"boot_id": ""},
        {"pid_namespace": "1"},
        {"pid_namespace": ""},
        {"started": ""},
    ],
    ids=str,
)
def test_of_another_world_nothing_is_proven(change: dict[str, Any]) -> None:
    """A pid that does not exist here proves nothing of another boot, host or container."""
    no_such_pid: dict[str, Any] = {"pid": 2**22 + 1, "started": "1"}
    assert dataclasses.replace(Process.this(), **no_such_pid).provably_gone()
    assert not dataclasses.replace(Process.this(), **(no_such_pid | change)).provably_gone()


def test_a_hidden_process_is_not_gone(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where /proc hides other users' processes, signals still tell who lives."""
    identity = _identity(child.pid)
    read = process_identity._read
    monkeypatch.setattr(process_identity, "_read", lambda p: "" if p.endswith("/stat") else read(p))
    assert not identity.provably_gone()
    _end(child)
    child.wait()
    assert identity.provably_gone()


def test_a_process_of_another_user_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that may not be signalled, and is not shown, lives."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    identity = Process.this()
    read = process_identity._read
    monkeypatch.setattr(process_identity, "_read", lambda p: "" if p.endswith("/stat") else read(p))
    monkeypatch.setattr(os, "kill", refuse)
    assert not identity.provably_gone()


def test_a_foreign_proc_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc shows another namespace, pids there are not ours, and nobody is proven gone."""
    dead = dataclasses.replace(Process.this(), started="1")
    monkeypatch.setattr(os, "readlink", lambda _: "999999")
    assert Process.this().pid_namespace == ""
    assert not dead.provably_gone()


def test_a_name_with_spaces_and_parentheses_is_no_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start time is counted from behind the program's name, whatever that holds."""
    # proc(5): the state is field 3 and the start time field 22.
    fields = " ".join(str(number) for number in range(4, 53))
    monkeypatch.setattr(process_identity, "_read", lambda _: f"7 (a) b) (c d) S {fields}")
    assert process_identity._started(7) == "22"


def test_identities_survive_json() -> None:
    """What a lease records is read back as the same value."""
    assert Process.from_json(Process.this().to_json()) == Process.this()


@pytest.mark.parametrize("data", [{}, {"pid": "x"}, {**Process.this().to_json(), "pid": None}])
def test_json_of_another_shape_is_refused(data: dict[str, Any]) -> None:
    """A record that lacks something, or has no number for a pid, raises a documented error."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Process.from_json(data)


def test_a_pid_beyond_all_measure_is_nobody_s() -> None:
    """A record with a senseless number crashes nobody."""
    assert dataclasses.replace(Process.this(), pid=2**70).provably_gone()
