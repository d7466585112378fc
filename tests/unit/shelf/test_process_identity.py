"""Who a process is, and whether it is gone for good."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from modelshelf.shelf import process_identity
from modelshelf.shelf.process_identity import ProcessIdentity, boot_id

pytestmark = pytest.mark.skipif(not boot_id(), reason="only Linux says who a process is")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its stdin is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as running:
        yield running


def _identity(pid: int) -> ProcessIdentity:
    return dataclasses.replace(
        ProcessIdentity.of_this_process(), pid=pid, started=process_identity._start_time(pid) or ""
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a child end without reaping it."""
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_this_process_is_not_gone() -> None:
    """A process that asks about itself lives, and every field says something."""
    this = ProcessIdentity.of_this_process()
    assert this.pid == os.getpid()
    assert all(dataclasses.astuple(this))
    assert not this.provably_gone()


def test_a_live_process_is_not_gone(child: subprocess.Popen[bytes]) -> None:
    """Another process of this host and namespace can be seen to live."""
    assert not _identity(child.pid).provably_gone()


def test_a_process_that_ended_is_gone(child: subprocess.Popen[bytes]) -> None:
    """It is gone as soon as it has ended: as a zombie, and after its parent waited for it."""
    identity = _identity(child.pid)
    _end(child)
    assert identity.provably_gone()
    child.wait()
    assert identity.provably_gone()


def test_a_pid_that_is_used_again_is_another_process() -> None:
    """Under the same pid, another start time means that the first one ended."""
    assert dataclasses.replace(ProcessIdentity.of_this_process(), started="1").provably_gone()


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
def test_nothing_is_proven_of_another_boot_or_namespace(change: dict[str, Any]) -> None:
    """A pid that does not exist here proves nothing of another boot, host or container."""
    no_such_pid: dict[str, Any] = {"pid": 2**22 + 1, "started": "1"}
    assert dataclasses.replace(ProcessIdentity.of_this_process(), **no_such_pid).provably_gone()
    assert not dataclasses.replace(
        ProcessIdentity.of_this_process(), **(no_such_pid | change)
    ).provably_gone()


def test_a_hidden_process_is_not_gone(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where /proc hides other users' processes, signals still tell who lives."""
    identity = _identity(child.pid)
    monkeypatch.setattr(process_identity, "read_proc_stat", lambda _pid: None)
    assert not identity.provably_gone()
    _end(child)
    child.wait()
    assert identity.provably_gone()


def test_a_process_of_another_user_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that may not be signalled, and is not shown, lives."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    identity = ProcessIdentity.of_this_process()
    monkeypatch.setattr(process_identity, "read_proc_stat", lambda _pid: None)
    monkeypatch.setattr(os, "kill", refuse)
    assert not identity.provably_gone()


def test_proc_of_another_namespace_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc shows another namespace, pids there are not ours, and nobody is proven gone."""
    dead = dataclasses.replace(ProcessIdentity.of_this_process(), started="1")
    monkeypatch.setattr(os, "readlink", lambda _: "999999")
    assert ProcessIdentity.of_this_process().pid_namespace == ""
    assert not dead.provably_gone()


def test_identities_survive_json() -> None:
    """What a lease records is read back as the same value."""
    assert (
        ProcessIdentity.from_json(ProcessIdentity.of_this_process().to_json())
        == ProcessIdentity.of_this_process()
    )


@pytest.mark.parametrize(
    "data", [{}, {"pid": "x"}, {**ProcessIdentity.of_this_process().to_json(), "pid": None}]
)
def test_json_of_another_shape_is_refused(data: dict[str, Any]) -> None:
    """A record that lacks something, or has no number for a pid, raises a documented error."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        ProcessIdentity.from_json(data)


def test_a_pid_that_no_system_has_is_gone() -> None:
    """A record with a number that is too large for a process id raises nothing."""
    assert dataclasses.replace(ProcessIdentity.of_this_process(), pid=2**70).provably_gone()
