"""The gate before an engine: it opens when the model is whole here."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import small_models
from support.file_modes import needs_modes

from modelshelf.shelf import gate as gate_module
from modelshelf.shelf.errors import BusyError
from modelshelf.shelf.events import Event, GateOpen, GateWaiting
from modelshelf.shelf.gate import find_problem, wait_for_snapshot
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot

_FILES = {"config.json": b"{}", "sub/model.safetensors": b"weights"}


class _Time:
    """A clock that only sleeping moves; each sleep may change the world."""

    def __init__(self, *changes: Callable[[], object]) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._changes = list(changes)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self._changes:
            self._changes.pop(0)()


@pytest.fixture
def snapshot(shelf: Shelf) -> Snapshot:
    """A snapshot on it."""
    return small_models.put(shelf, "org/name", _FILES)


def _wait(
    where: str,
    snapshot: Snapshot,
    time: _Time,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float = 60.0,
) -> list[Event]:
    told: list[Event] = []
    monkeypatch.setattr(gate_module, "time", time)
    wait_for_snapshot(where, snapshot, timeout=timeout, listener=told.append, sleep=time.sleep)
    return told


def test_it_opens_at_once_where_the_model_is(
    shelf: Shelf, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a whole model the gate opens at once and says where it lies."""
    time = _Time()
    told = _wait(shelf.path, snapshot, time, monkeypatch, timeout=0)
    assert told == [GateOpen(snapshot.id, str(snapshot.path), 0.0)]
    assert time.slept == []


def test_it_opens_for_a_spec_that_knows_no_hashes(
    shelf: Shelf, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec from a lock file, without sha256, time and tool, names the same snapshot."""
    files = tuple(dataclasses.replace(file, sha256=None) for file in snapshot.files)
    spec = dataclasses.replace(snapshot, files=files, created=0.0, tool="", path=None)
    assert isinstance(_wait(shelf.path, spec, _Time(), monkeypatch)[0], GateOpen)


def test_it_tells_each_reason_once_while_it_waits(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an unmounted share to a whole model, each new reason is reported once."""
    elsewhere = Shelf.create(tmp_path / "elsewhere")
    snapshot = small_models.put(elsewhere, "org/name", _FILES)
    share = tmp_path / "share"
    time = _Time(
        lambda: None,
        lambda: Shelf.create(share),
        lambda: None,
        lambda: small_models.put(Shelf(share), "org/name", _FILES),
    )
    told = _wait(str(share), snapshot, time, monkeypatch)
    assert told == [
        GateWaiting(snapshot.id, f"{share} is not a shelf, or not mounted"),
        GateWaiting(snapshot.id, f"org/name@{snapshot.id} is not on the shelf {share}"),
        GateOpen(snapshot.id, f"{share}/models/org/name/{snapshot.id}", 8.0),
    ]
    assert time.slept == [2.0] * 4


def test_it_gives_up_at_its_deadline(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline the error says what is missing and how long the gate waited."""
    absent = Snapshot("hf://org/name@main", "org/name", "main", "0" * 40, ())
    time = _Time()
    with pytest.raises(BusyError, match=r"is not on the shelf .*, after 5 s") as e:
        _wait(shelf.path, absent, time, monkeypatch, timeout=5)
    assert e.value.exit_code == 16
    assert "pull" in e.value.hint
    assert sum(time.slept) == 6.0


def test_without_a_timeout_it_looks_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of 0 checks once and does not wait."""
    absent = Snapshot("hf://org/name@main", "org/name", "main", "0" * 40, ())
    time = _Time()
    with pytest.raises(BusyError):
        _wait(shelf.path, absent, time, monkeypatch, timeout=0)
    assert time.slept == []


def _at(snapshot: Snapshot, path: str) -> str:
    where = os.path.join(str(snapshot.path), path)
    os.chmod(os.path.dirname(where), 0o755)
    os.chmod(where, 0o644)
    return where


def _cut(snapshot: Snapshot) -> None:
    os.truncate(_at(snapshot, "sub/model.safetensors"), 3)


def _lose(snapshot: Snapshot) -> None:
    os.unlink(_at(snapshot, "sub/model.safetensors"))


def _lose_record(snapshot: Snapshot) -> None:
    os.unlink(_at(snapshot, ".snapshot.json"))


def _spoil_record(snapshot: Snapshot) -> None:
    with open(_at(snapshot, ".snapshot.json"), "wb") as file:
        file.write(b"{")


def _empty_folder(snapshot: Snapshot) -> None:
    """Replace a snapshot by the empty folder that a kubelet makes for a missing subPath."""
    os.chmod(str(snapshot.path), 0o755)
    os.chmod(os.path.join(str(snapshot.path), "sub"), 0o755)
    shutil.rmtree(str(snapshot.path))
    os.mkdir(str(snapshot.path))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut, "sub/model.safetensors of org/name@.* has 3 bytes instead of 7"),
        (_lose, "sub/model.safetensors of org/name@.* cannot be found: No such file"),
        (_lose_record, "has no readable record of a snapshot"),
        (_spoil_record, "has no readable record of a snapshot"),
        (_empty_folder, "has no readable record of a snapshot"),
    ],
)
def test_it_stays_shut_before_a_model_that_is_not_whole(
    shelf: Shelf,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Snapshot], None],
    reason: str,
) -> None:
    """The gate says which file is missing or has another size, or that the record is missing."""
    assert find_problem(shelf.path, snapshot) == ""
    damage(snapshot)
    with pytest.raises(BusyError, match=reason):
        _wait(shelf.path, snapshot, _Time(), monkeypatch, timeout=0)


def test_it_stays_shut_before_another_choice_of_files(
    shelf: Shelf, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose record names other files than its own name says is no whole snapshot."""
    other = dataclasses.replace(snapshot, files=snapshot.files[:1])
    shutil.copytree(str(snapshot.path), os.path.join(shelf.path, "models/org/name", other.id))
    with pytest.raises(BusyError, match="has no readable record"):
        _wait(shelf.path, other, _Time(), monkeypatch, timeout=0)


@needs_modes
def test_it_waits_where_it_may_not_look(
    shelf: Shelf, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that this user may not list is a reason to wait."""
    folder = os.path.join(shelf.path, "models/org")
    os.chmod(folder, 0o000)
    time = _Time(lambda: os.chmod(folder, 0o755))
    told = _wait(shelf.path, snapshot, time, monkeypatch)
    assert isinstance(told[0], GateWaiting)
    assert told[0].reason.endswith("cannot be listed: Permission denied")
    assert isinstance(told[1], GateOpen)
