"""Published files that are not there any more."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from support import small_models

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.missing_files import add_missing_files, find_missing_files, require_whole
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot

_FILES = {"config.json": b"{}", "sub/deep/model.safetensors": b"weights", "sub/x.json": b"[]"}


@pytest.fixture
def snapshot(shelf: Shelf) -> Snapshot:
    """A published snapshot whose folders this test may write to."""
    published = small_models.put(shelf, "org/name", _FILES)
    for folder, _, _ in os.walk(published.path or ""):
        os.chmod(folder, 0o755)
    return published


def _names(snapshot: Snapshot) -> list[str]:
    return [file.path for file in find_missing_files(snapshot)]


def test_a_whole_snapshot_lacks_nothing(snapshot: Snapshot) -> None:
    """A snapshot whose files are all there in their sizes passes."""
    assert _names(snapshot) == []
    require_whole(snapshot)


def test_deleted_and_cut_files_are_missing(snapshot: Snapshot) -> None:
    """A file that is gone is missing, and so is one of another size; an error names them."""
    Path(snapshot.path or "", "config.json").unlink()
    assert _names(snapshot) == ["config.json"]
    cut = Path(snapshot.path or "", "sub/x.json")
    cut.chmod(0o644)
    cut.write_bytes(b"[")
    assert _names(snapshot) == ["config.json", "sub/x.json"]
    with pytest.raises(IntegrityError, match=r"config\.json and 1 other files") as raised:
        require_whole(snapshot)
    assert raised.value.exit_code == 14
    assert raised.value.hint == "modelshelf pull hf://org/name@main adds what is missing"


def test_missing_files_are_moved_to_their_places(snapshot: Snapshot, tmp_path: Path) -> None:
    """Files, and folders that went with them, are added, read-only; the others are not touched."""
    staged = tmp_path / "staged"
    shutil.copytree(snapshot.path or "", staged)
    kept = os.stat(os.path.join(snapshot.path or "", "config.json")).st_ino
    shutil.rmtree(os.path.join(snapshot.path or "", "sub"))
    for folder, _, _ in os.walk(staged, topdown=False):
        os.chmod(folder, 0o555)
    add_missing_files(snapshot, str(staged))
    require_whole(snapshot)
    for path, content in _FILES.items():
        assert Path(snapshot.path or "", path).read_bytes() == content
    assert os.stat(os.path.join(snapshot.path or "", "config.json")).st_ino == kept
    for folder in ("", "sub", "sub/deep"):
        assert stat.S_IMODE(os.stat(os.path.join(snapshot.path or "", folder)).st_mode) == 0o555


def test_a_snapshot_that_lost_files_is_completed_by_publishing_it_again(
    shelf: Shelf, snapshot: Snapshot
) -> None:
    """Publishing a snapshot once more adds what it has lost, in the folder that it has."""
    Path(snapshot.path or "", "sub/x.json").unlink()
    folder = os.stat(snapshot.path or "").st_ino
    again = small_models.put(shelf, "org/name", _FILES)
    assert again == snapshot
    require_whole(again)
    assert os.stat(again.path or "").st_ino == folder
    assert os.listdir(os.path.join(shelf.path, "staging", "org", "name")) == []
