"""How a snapshot comes to the shelf, and how it goes."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import small_models
from support.file_modes import needs_modes

from modelshelf.shelf import layout
from modelshelf.shelf.errors import (
    BusyError,
    NoSpaceError,
    NotOnShelfError,
    NotWritableError,
    ShelfError,
)
from modelshelf.shelf.files import make_folders
from modelshelf.shelf.leases import Lease, LeaseTiming
from modelshelf.shelf.shelf import Shelf, reader_lease_key
from modelshelf.shelf.trash import TRASH_GRACE_SECONDS
from modelshelf.shelf.values import Snapshot

_FILES = {"config.json": b"{}", "sub/deep/model.safetensors": b"weights"}
_A, _B = "a" * 40, "b" * 40


def _mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


@pytest.mark.usefixtures("umask")
def test_what_is_published_is_read_only_and_open_to_all(shelf: Shelf) -> None:
    """Files are 0444 in 0555 folders, those above 0755, and no symbolic links are among them."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    assert snapshot.path is not None
    for folder, folders, files in os.walk(snapshot.path):
        assert _mode(folder) == 0o555
        assert {_mode(os.path.join(folder, name)) for name in files} <= {0o444}
        assert not any(os.path.islink(os.path.join(folder, name)) for name in folders + files)
    for above in ("models/org/name", "models/org", "models"):
        assert _mode(os.path.join(shelf.path, above)) == 0o755
    record = Path(snapshot.path, ".snapshot.json").read_bytes()
    assert Snapshot.from_json(json.loads(record)) == snapshot
    assert record.endswith(b"}\n")


def _staged(shelf: Shelf, snapshot: Snapshot) -> str:
    relative = layout.staging_folder(snapshot.repo_id, snapshot.id, "writer")
    path = make_folders(shelf.path, relative)
    for file in snapshot.files:
        target = os.path.join(path, file.path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _write(target, _FILES[file.path])
    return path


def test_who_comes_second_takes_the_first_one_s(shelf: Shelf) -> None:
    """If another writer published it first, that snapshot stays, and ours goes to the trash."""
    first = small_models.put(shelf, "org/name", _FILES, created=100)
    staged = _staged(shelf, first)
    second = shelf.publish(staged, dataclasses.replace(first, created=200))
    assert second.created == 100
    assert shelf.snapshots() == [first]
    assert not os.path.exists(staged)


def test_a_rename_that_was_carried_out_and_answered_twice_succeeds(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename that succeeded and was answered with ENOENT, as NFS may do, counts as done."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    shelf.move_to_trash(str(snapshot.path))
    staged = _staged(shelf, snapshot)
    rename = os.rename

    def twice(source: str, target: str) -> None:
        rename(source, target)
        if source == staged:
            rename(source, target)

    monkeypatch.setattr(os, "rename", twice)
    assert shelf.publish(staged, snapshot) == snapshot
    assert shelf.snapshots() == [snapshot]


def _empty(path: str) -> None:
    os.mkdir(path)


def _junk(path: str) -> None:
    os.makedirs(os.path.join(path, "sub"))
    _write(os.path.join(path, "sub/config.json"), b"junk")


def _locked_junk(path: str) -> None:
    _junk(path)
    os.chmod(os.path.join(path, "sub"), 0o555)
    os.chmod(path, 0o555)


def _file(path: str) -> None:
    _write(path, b"junk")


@pytest.mark.parametrize("lie_there", [_empty, _junk, _locked_junk, _file])
def test_what_is_no_snapshot_does_not_stand_in_the_way(
    shelf: Shelf, lie_there: Callable[[str], None]
) -> None:
    """A kubelet's empty folder is replaced, and junk goes to the trash."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    staged = _staged(shelf, snapshot)
    path = str(snapshot.path)
    shelf.move_to_trash(path)
    shelf.empty_trash(0)
    lie_there(path)
    assert shelf.publish(staged, snapshot) == snapshot
    assert Path(path, "config.json").read_bytes() == b"{}"
    assert len(os.listdir(os.path.join(shelf.path, "trash"))) == (lie_there is not _empty)


def test_a_folder_that_was_taken_away_is_an_error(shelf: Shelf) -> None:
    """Publishing a folder that another writer claimed fails, and nothing appears."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    staged = _staged(shelf, snapshot)
    shelf.move_to_trash(str(snapshot.path))
    shelf.move_to_trash(staged)
    with pytest.raises(ShelfError, match="No such file"):
        shelf.publish(staged, snapshot)
    assert shelf.snapshots() == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EROFS, NotWritableError)],
)
def test_what_the_filesystem_refuses_is_explained(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[ShelfError]
) -> None:
    """A refused rename leaves the staged folder for the next try, and the shelf without it."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    staged = _staged(shelf, snapshot)
    shelf.move_to_trash(str(snapshot.path))
    rename = os.rename

    def refuse(source: str, target: str) -> None:
        if source == staged:
            raise OSError(number, os.strerror(number), source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(kind):
        shelf.publish(staged, snapshot)
    assert os.path.exists(os.path.join(staged, "config.json"))
    assert shelf.snapshots() == []


def _graves(shelf: Shelf) -> list[str]:
    return sorted(os.listdir(os.path.join(shelf.path, "trash")))


def test_what_is_removed_waits_in_the_trash(shelf: Shelf) -> None:
    """A removed snapshot leaves the shelf at once, and the disk after the grace period."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    shelf.remove(snapshot)
    assert shelf.snapshots() == []
    (grave,) = _graves(shelf)
    kept = Path(shelf.path, "trash", grave, snapshot.id, "sub/deep/model.safetensors")
    assert kept.read_bytes() == b"weights"
    shelf.empty_trash()
    assert kept.exists()
    then = os.stat(kept.parents[3]).st_mtime - TRASH_GRACE_SECONDS - 1
    os.utime(kept.parents[3], (then, then))
    shelf.empty_trash()
    assert _graves(shelf) == []
    with pytest.raises(NotOnShelfError):
        shelf.remove(snapshot)


def test_what_was_made_from_a_snapshot_goes_with_it(shelf: Shelf) -> None:
    """Removing a snapshot removes its compile caches; another snapshot's stay."""
    gone, kept = (small_models.put(shelf, "org/name", _FILES, commit=commit) for commit in (_A, _B))
    for snapshot in (gone, kept):
        os.makedirs(os.path.join(shelf.path, "compile-cache/org/name", snapshot.id, "digest"))
    shelf.remove(gone)
    assert os.listdir(os.path.join(shelf.path, "compile-cache/org/name")) == [kept.id]


def test_the_grace_is_measured_by_the_filesystem_s_clock(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is wrong by a day deletes nothing early."""
    shelf.remove(small_models.put(shelf, "org/name", _FILES))
    monkeypatch.setattr("time.time", lambda: 4e9)
    shelf.empty_trash()
    assert len(_graves(shelf)) == 1


def test_one_grave_that_cannot_be_deleted_keeps_no_other(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trash entry that cannot be deleted does not stop the deletion of the others."""
    for commit in (_A, _B):
        shelf.remove(small_models.put(shelf, "org/name", _FILES, commit=commit))
    first, second = _graves(shelf)
    stat_ = os.stat

    def vanishing(path: str, *rest: object, **more: object) -> os.stat_result:
        if os.path.basename(str(path)) == first:
            raise FileNotFoundError
        return stat_(path, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", vanishing)
        shelf.empty_trash(0)
    assert second not in _graves(shelf)


def test_a_shelf_without_trash_has_nothing_to_empty(shelf: Shelf) -> None:
    """Emptying nothing makes nothing."""
    shelf.empty_trash(0)
    assert os.listdir(shelf.path) == ["shelf.json"]


def test_what_is_being_read_is_not_removed(shelf: Shelf) -> None:
    """A reader's live lease protects its snapshot, even from `force`, and no other snapshot."""
    snapshot = small_models.put(shelf, "org/name", _FILES, commit=_A)
    other = small_models.put(shelf, "org/name", _FILES, commit=_B)
    key = f"{reader_lease_key(snapshot)}/1"
    lease = Lease.take(shelf.path, key, "read", LeaseTiming(heartbeat_seconds=3600))
    assert lease is not None
    with lease:
        for force in (False, True):
            with pytest.raises(BusyError, match=f"is being served by process {os.getpid()}") as e:
                shelf.remove(snapshot, force=force)
            assert e.value.exit_code == 16
        shelf.remove(other)
    assert shelf.snapshots() == [snapshot]
    shelf.remove(snapshot)
    assert shelf.snapshots() == []


def test_what_is_tagged_is_removed_by_force_alone(shelf: Shelf) -> None:
    """A tagged snapshot is removed only with `force`, and its tags with it."""
    snapshot = small_models.put(shelf, "org/name", _FILES, commit=_A)
    other = small_models.put(shelf, "org/name", _FILES, commit=_B)
    for tag in ("prod", "dev"):
        shelf.tag(snapshot, tag)
    shelf.tag(other, "old")
    with pytest.raises(BusyError, match="is tagged dev, prod") as e:
        shelf.remove(snapshot)
    assert "--force" in e.value.hint
    shelf.remove(snapshot, force=True)
    assert shelf.tags("org/name") == {"old": other.id}
    assert shelf.snapshots() == [other]


@needs_modes
def test_a_snapshot_of_read_only_folders_can_be_removed(shelf: Shelf) -> None:
    """A snapshot can be removed, although read-only folders cannot be renamed elsewhere."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    assert _mode(str(snapshot.path)) == 0o555
    with pytest.raises(PermissionError):
        os.rename(str(snapshot.path), os.path.join(shelf.path, "elsewhere"))
    shelf.remove(snapshot)
    shelf.empty_trash(0)
    assert _graves(shelf) == []


@needs_modes
def test_what_may_not_be_removed_stays(shelf: Shelf) -> None:
    """Without permission on the folder above, the error says so, and the model is still there."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    os.chmod(os.path.join(shelf.path, "models/org/name"), 0o555)
    with pytest.raises(NotWritableError, match="may not write"):
        shelf.remove(snapshot)
    assert shelf.snapshots() == [snapshot]
