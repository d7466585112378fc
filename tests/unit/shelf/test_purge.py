"""Purging: models are deleted for good, others stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import small_models

from modelshelf.shelf.errors import NotAShelfError, UsageError
from modelshelf.shelf.events import Event, Purged
from modelshelf.shelf.purge import purge
from modelshelf.shelf.shelf import Shelf

_FILES = {"config.json": b"{}", "sub/model.safetensors": b"weights"}


def test_all_that_a_model_has_is_deleted_and_nothing_else(shelf: Shelf) -> None:
    """Snapshots, tags and leftovers are deleted at once; another model and older trash stay."""
    events: list[Event] = []
    for commit in "ab":
        shelf.tag(small_models.put(shelf, "org/name", _FILES, commit=commit * 40), commit)
    other = small_models.put(shelf, "org/other", _FILES)
    gone = small_models.put(shelf, "org/third", _FILES)
    shelf.move_to_trash(str(gone.path))
    os.makedirs(os.path.join(shelf.path, "staging/org/name/x.writer"))
    for kept in ("name", "other"):
        os.makedirs(os.path.join(shelf.path, "compile-cache/org", kept, "id/digest"))

    purge(shelf.path, ["org/name", "org/absent"], listener=events.append)

    assert shelf.snapshots() == [other]
    assert shelf.tags("org/name") == {}
    assert not os.path.exists(os.path.join(shelf.path, "staging/org/name"))
    assert os.listdir(os.path.join(shelf.path, "compile-cache/org")) == ["other"]
    trash = Path(shelf.path, "trash")
    assert [path.name for path in trash.glob("*/*")] == [gone.id]
    assert events == [Purged("org/name", 2, 18), Purged("org/absent", 0, 0)]


@pytest.mark.parametrize("name", ["../escape", "org", "org/name/deep", "org/.."])
def test_a_name_that_is_no_model_deletes_nothing(shelf: Shelf, name: str) -> None:
    """All names are checked before the first deletion."""
    kept = small_models.put(shelf, "org/name", _FILES)
    with pytest.raises(UsageError):
        purge(shelf.path, ["org/name", name])
    assert shelf.snapshots() == [kept]


def test_a_folder_that_is_no_shelf_is_left_alone(tmp_path: Path) -> None:
    """Purging a folder that is no shelf is an error and deletes nothing."""
    (tmp_path / "models/org/name").mkdir(parents=True)
    with pytest.raises(NotAShelfError):
        purge(str(tmp_path), ["org/name"])
    assert (tmp_path / "models/org/name").is_dir()
