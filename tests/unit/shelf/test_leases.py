"""Leases: who pulls and who reads, judged by an observer's own clock."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from modelshelf.shelf import leases as lease_module
from modelshelf.shelf.errors import NoSpaceError
from modelshelf.shelf.files import write_json
from modelshelf.shelf.leases import (
    Holder,
    Lease,
    Patience,
    Watch,
    break_stale,
    live_holders,
    read_holder,
)
from modelshelf.shelf.process_identity import ProcessIdentity

_KEY = "pull/org/name/c-f"
_STILL = Patience(beat=3600.0)
_DEADLINE = 20.0  # seconds; far more than anything here needs


class _Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    """A folder for leases."""
    return str(tmp_path)


def _path(shelf: str, key: str = _KEY) -> str:
    return os.path.join(shelf, "leases", f"{key.replace('/', '--')}.json")


def _elsewhere(owner: str = "other", beats: int = 0) -> Holder:
    """A holder on another host, of which nothing can be proven."""
    return Holder(owner, ProcessIdentity("far", "other boot", "1", 7, "1"), "pull", beats)


def _write(shelf: str, holder: Holder, key: str = _KEY) -> str:
    os.makedirs(os.path.join(shelf, "leases"), exist_ok=True)
    path = _path(shelf, key)
    write_json(path, dataclasses.asdict(holder))
    return path


def _take(shelf: str, key: str = _KEY, patience: Patience = _STILL) -> Lease:
    lease = Lease.take(shelf, key, "pull", patience)
    assert lease is not None
    return lease


def test_a_lease_names_its_holder_until_it_is_released(shelf: str) -> None:
    """The file says who holds it and for what; afterwards it is gone."""
    with _take(shelf) as lease:
        holder = read_holder(_path(shelf))
        assert holder is not None
        assert holder.process == ProcessIdentity.of_this_process()
        assert (holder.purpose, holder.beats) == ("pull", 0)
        assert str(holder) == f"process {os.getpid()} on {ProcessIdentity.of_this_process().host}"
        assert lease.held()
    assert os.listdir(os.path.join(shelf, "leases")) == []
    assert not lease.held()


def test_others_can_read_a_lease_whatever_the_umask(shelf: str) -> None:
    """A holder with a strict umask must not look dead to other users."""
    old = os.umask(0o077)
    try:
        with _take(shelf):
            assert stat.S_IMODE(os.stat(_path(shelf)).st_mode) == 0o644
    finally:
        os.umask(old)


def test_one_of_two_takers_gets_it(shelf: str) -> None:
    """Who comes second gets none, and may take it after the first released it."""
    with _take(shelf):
        assert Lease.take(shelf, _KEY, "pull", _STILL) is None
        with _take(shelf, "pull/org/other/c-f"):
            pass
    with _take(shelf):
        pass


def test_a_lease_that_cannot_be_written_is_not_left_behind(
    shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk an empty file can be made, and would keep everybody waiting."""

    def full(_fd: int, _mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fchmod", full)
        with pytest.raises(NoSpaceError):
            Lease.take(shelf, _KEY, "pull", _STILL)
    assert os.listdir(os.path.join(shelf, "leases")) == []


def test_a_heart_beats(shelf: str) -> None:
    """While it is held, the file changes, so observers see that its holder lives."""
    deadline = time.monotonic() + _DEADLINE
    with _take(shelf, patience=Patience(beat=0.001)):
        beats = 0
        while beats < 3:
            assert time.monotonic() < deadline
            holder = read_holder(_path(shelf))
            assert holder is not None
            beats = holder.beats


@pytest.mark.parametrize("gone", [True, False], ids=["removed", "taken"])
def test_a_heart_stops_when_the_lease_is_another_s(shelf: str, *, gone: bool) -> None:
    """Who lost a lease neither takes it back nor removes it at the end."""
    lease = _take(shelf, patience=Patience(beat=0.001))
    deadline = time.monotonic() + _DEADLINE
    while lease._thread.is_alive():
        # A beat that was under way may bring ours back once.
        if gone and os.path.exists(_path(shelf)):
            os.unlink(_path(shelf))
        elif not gone:
            _write(shelf, _elsewhere())
        lease._thread.join(0.01)
        assert time.monotonic() < deadline
    lease.release()
    assert read_holder(_path(shelf)) == (None if gone else _elsewhere())


def test_a_lease_is_live_while_it_changes(shelf: str) -> None:
    """By the observer's clock it counts for so long after each change, and no longer."""
    clock = _Clock()
    path = _write(shelf, _elsewhere())
    watch = Watch(path, Patience(stale=30), clock=clock)
    assert watch.live() == _elsewhere()
    clock.now += 29.9
    assert watch.live() == _elsewhere()
    _write(shelf, _elsewhere(beats=1))
    clock.now += 29.9
    assert watch.live() == _elsewhere(beats=1)
    clock.now += 29.9
    assert watch.live() == _elsewhere(beats=1)
    clock.now += 0.2
    assert watch.live() is None


def test_a_stale_lease_comes_back_to_life(shelf: str) -> None:
    """A host that was frozen and beats again holds it still, if nobody broke it."""
    clock = _Clock()
    watch = Watch(_write(shelf, _elsewhere()), Patience(stale=30), clock=clock)
    watch.live()
    clock.now += 31
    assert watch.live() is None
    _write(shelf, _elsewhere(beats=1))
    assert watch.live() == _elsewhere(beats=1)


def test_a_missing_lease_is_not_live(shelf: str) -> None:
    """Where there is no file, nobody holds it."""
    assert Watch(_path(shelf)).live() is None


def test_a_holder_that_is_provably_gone_is_not_waited_for(shelf: str) -> None:
    """A process of this host that ended needs no patience."""
    dead = dataclasses.replace(ProcessIdentity.of_this_process(), started="1")
    assert Watch(_write(shelf, Holder("x", dead, "pull", 0))).live() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"owner": 1}'])
def test_a_lease_that_cannot_be_understood_is_being_written(shelf: str, content: str) -> None:
    """Between its making and its first byte a lease is empty: it counts, until it is stale."""
    clock = _Clock()
    path = _write(shelf, _elsewhere())
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    watch = Watch(path, Patience(stale=30), clock=clock)
    holder = watch.live()
    assert holder is not None
    assert str(holder) == "process 0 on an unknown host"
    clock.now += 30
    assert watch.live() is None


def test_a_stale_lease_is_broken(shelf: str) -> None:
    """It is removed, nothing stays beside it, and it can be taken; a missing one is no error."""
    _write(shelf, _elsewhere())
    break_stale(shelf, _KEY)
    assert os.listdir(os.path.join(shelf, "leases")) == []
    break_stale(shelf, _KEY)
    with _take(shelf):
        pass


def test_a_fresh_lease_is_given_back(shelf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another observer was faster and a third took the lease anew, it gets it back."""
    fresh = _elsewhere("fresh")
    _write(shelf, _elsewhere("stale"))
    rename = os.rename

    def faster(source: str, target: str) -> None:
        if source == _path(shelf):
            monkeypatch.setattr(os, "rename", rename)
            _write(shelf, fresh)
        rename(source, target)

    monkeypatch.setattr(os, "rename", faster)
    break_stale(shelf, _KEY)
    assert read_holder(_path(shelf)) == fresh
    assert os.listdir(os.path.join(shelf, "leases")) == [os.path.basename(_path(shelf))]


def _found(shelf: str, prefix: str = "read/org/name/c-f") -> list[str]:
    return sorted(holder.owner for holder in live_holders(shelf, prefix))


def test_readers_are_found_by_the_beginning_of_their_keys(shelf: str) -> None:
    """All who read one snapshot are found, and nobody else."""
    assert _found(shelf) == []
    for owner, key in [
        ("a", "read/org/name/c-f/a"),
        ("b", "read/org/name/c-f/b"),
        ("c", "read/org/name/d-f/c"),
        ("d", "pull/org/name/c-f"),
    ]:
        _write(shelf, _elsewhere(owner), key)
    assert _found(shelf) == ["a", "b"]
    assert _found(shelf, "read/org/name/") == ["a", "b", "c"]
    assert all(name.endswith(".json") for name in os.listdir(os.path.join(shelf, "leases")))


@pytest.mark.parametrize(
    ("change", "live"),
    [
        ({}, True),
        ({"age": 25}, True),
        ({"age": 35}, False),
        ({"age": -3600}, True),
        ({"process": dataclasses.replace(ProcessIdentity.of_this_process(), started="1")}, False),
        ({"process": ProcessIdentity.of_this_process()}, True),
    ],
    ids=["new", "quiet", "stale", "from the future", "gone", "ours"],
)
def test_one_look_tells_who_lives(shelf: str, change: dict[str, Any], *, live: bool) -> None:
    """A reader counts unless its file is old, by the filesystem's clock, or it is gone."""
    process = change.get("process", _elsewhere().process)
    path = _write(shelf, Holder("x", process, "read", 0), "read/org/name/c-f/x")
    then = os.stat(path).st_mtime - change.get("age", 0)
    os.utime(path, (then, then))
    assert _found(shelf) == (["x"] if live else [])


def test_a_reader_s_lease_that_is_being_written_counts(shelf: str) -> None:
    """A model must not be removed while somebody begins to read it."""
    path = _write(shelf, _elsewhere(), "read/org/name/c-f/x")
    with open(path, "w", encoding="utf-8"):
        pass
    assert _found(shelf) == [""]


def test_where_the_clock_cannot_be_read_everybody_lives(
    shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without permission to make a file, no lease can be judged old."""
    path = _write(shelf, _elsewhere("x"), "read/org/name/c-f/x")
    os.utime(path, (1, 1))

    def refuse(_folder: str) -> float:
        raise PermissionError

    monkeypatch.setattr(lease_module, "now_at", refuse)
    assert _found(shelf) == ["x"]
