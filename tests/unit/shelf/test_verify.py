"""Reading snapshots again and naming what is damaged."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from support import small_models
from support.file_modes import needs_modes

from modelshelf.shelf import verify as verify_module
from modelshelf.shelf.digests import Digest, hash_range
from modelshelf.shelf.events import Damaged, Event, Hashed, Verified
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot
from modelshelf.shelf.verify import verify

_FILES = {
    "config.json": b"{}",
    "empty": b"",
    "sub/model.safetensors": bytes(range(256)) * 64,
    "tokenizer.json": b"tokens",
}
_BYTES = sum(len(content) for content in _FILES.values())


@pytest.fixture(params=["hub", "local"])
def snapshot(shelf: Shelf, request: pytest.FixtureRequest) -> Snapshot:
    """A snapshot of which the source stated checksums, or of which only ours are known."""
    return small_models.put(shelf, "org/name", _FILES, origin=request.param)


def _at(snapshot: Snapshot, path: str) -> str:
    where = os.path.join(str(snapshot.path), path)
    os.chmod(os.path.dirname(where), 0o755)
    os.chmod(where, 0o644)
    return where


def _flip(snapshot: Snapshot) -> None:
    with open(_at(snapshot, "sub/model.safetensors"), "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))


def _truncate(snapshot: Snapshot) -> None:
    os.truncate(_at(snapshot, "sub/model.safetensors"), 16383)


def _lengthen(snapshot: Snapshot) -> None:
    with open(_at(snapshot, "sub/model.safetensors"), "ab") as file:
        file.write(b"x")


def _remove(snapshot: Snapshot) -> None:
    os.unlink(_at(snapshot, "sub/model.safetensors"))


def _replace_by_folder(snapshot: Snapshot) -> None:
    path = _at(snapshot, "sub/model.safetensors")
    os.unlink(path)
    os.mkdir(path)


def _forbid(snapshot: Snapshot) -> None:
    os.chmod(_at(snapshot, "sub/model.safetensors"), 0o000)


def test_a_whole_snapshot_has_no_fault(snapshot: Snapshot) -> None:
    """All bytes of a whole snapshot are read and reported, and the last event sums up."""
    told: list[Event] = []
    assert verify([snapshot], listener=told.append) == []
    hashed = [event for event in told if isinstance(event, Hashed)]
    assert [event.done for event in hashed] == sorted(event.done for event in hashed)
    assert hashed[-1] == Hashed(_BYTES, _BYTES)
    assert told[-1] == Verified("org/name", snapshot.id, 4, _BYTES, damaged=0)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_flip, "sha256: expected "),
        (_truncate, "it has 16,383 bytes instead of 16,384"),
        (_lengthen, "it has 16,385 bytes instead of 16,384"),
        (_remove, "it is missing"),
        (_replace_by_folder, "it cannot be read: Is a directory"),
        pytest.param(_forbid, "it cannot be read: Permission denied", marks=needs_modes),
    ],
)
def test_the_damaged_file_is_named(
    snapshot: Snapshot, damage: Callable[[Snapshot], None], problem: str
) -> None:
    """A damaged file is found among good ones, with its name and what is wrong."""
    damage(snapshot)
    told: list[Event] = []
    (fault,) = verify([snapshot], listener=told.append)
    assert (fault.snapshot, fault.file.path) == (snapshot, "sub/model.safetensors")
    assert fault.problem.startswith(problem)
    damaged = [event for event in told if isinstance(event, Damaged)]
    assert damaged == [Damaged("org/name", snapshot.id, fault.file.path, fault.problem)]
    assert told[-1] == Verified("org/name", snapshot.id, 4, _BYTES, damaged=1)


def test_a_flipped_byte_of_a_small_file_is_found_by_git_s_id_too(shelf: Shelf) -> None:
    """Where the source stated a git blob id, that is compared."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    with open(_at(snapshot, "config.json"), "r+b") as file:
        file.write(b"[]")
    (fault,) = verify([snapshot])
    assert fault.file.path == "config.json"
    assert fault.problem.startswith("git sha1: expected ")


def test_several_snapshots_are_told_apart(shelf: Shelf) -> None:
    """Each snapshot has its own count, and its own faults."""
    good = small_models.put(shelf, "org/good", _FILES)
    bad = small_models.put(shelf, "org/bad", _FILES)
    _flip(bad)
    os.unlink(_at(bad, "config.json"))
    told: list[Event] = []
    faults = verify([good, bad], listener=told.append, threads=3)
    assert {fault.snapshot.repo_id for fault in faults} == {"org/bad"}
    assert told[-2:] == [
        Verified("org/good", good.id, 4, _BYTES, damaged=0),
        Verified("org/bad", bad.id, 4, _BYTES, damaged=2),
    ]


def test_nothing_is_verified_of_nothing() -> None:
    """An empty list is no error."""
    assert verify([]) == []


def test_files_are_read_at_the_same_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two threads, two files are read at the same time."""
    snapshot = small_models.put(shelf, "org/name", {"a": b"1", "b": b"2"})
    both = threading.Barrier(2, timeout=20)

    def meeting(fd: int, digest: Digest, length: int, start: int) -> None:
        both.wait()
        hash_range(fd, digest, length, start)

    monkeypatch.setattr(verify_module, "hash_range", meeting)
    assert verify([snapshot], threads=2) == []


def test_a_large_file_is_told_step_by_step(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress comes while a file is read, not only after it."""
    monkeypatch.setattr(verify_module, "_STEP_BYTES", 1000)
    told: list[Event] = []
    assert verify([snapshot], listener=told.append, threads=1) == []
    assert [e.done for e in told if isinstance(e, Hashed)][:17] == [
        *range(1000, 17000, 1000),
        16384,
    ]


def test_an_interrupted_verify_goes_no_further(snapshot: Snapshot) -> None:
    """An exception of the listener stops the verification and reaches the caller."""
    told: list[Event] = []

    def give_up(event: Event) -> None:
        told.append(event)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify([snapshot], listener=give_up, threads=1)
    assert not any(isinstance(event, Verified) for event in told)


def test_where_the_system_does_not_tell_our_cores_all_count(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside Linux all cores of the machine count."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert verify([snapshot]) == []
