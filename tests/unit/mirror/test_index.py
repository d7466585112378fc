"""What the mirror sees of a shelf that changes under it."""

import os
from pathlib import Path

import pytest
from support.small_models import put

from modelshelf.mirror.index import FRESH_SECONDS, Index
from modelshelf.shelf.shelf import Shelf

NEW = "1" * 40


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A shelf with one model."""
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, "o/n", {"a": b"1"}, created=1.0)
    return shelf


def test_a_new_snapshot_appears_when_the_look_is_stale(shelf: Shelf) -> None:
    """A new snapshot is found after the interval, and not before."""
    clock = Clock()
    index = Index(shelf, clock=clock)
    before = index.model("o/n")
    new = put(shelf, "o/n", {"a": b"2"}, commit=NEW, created=2.0)
    assert index.model("o/n") is before
    clock.now += FRESH_SECONDS
    after = index.model("o/n")
    assert after is not None
    assert [s.commit for s in after.snapshots] == [NEW, "c0ffee" + "0" * 34]
    assert after.snapshots[0] == new


def test_an_unchanged_model_keeps_its_trees(shelf: Shelf) -> None:
    """If a model did not change, reading it again returns the same object."""
    clock = Clock()
    index = Index(shelf, clock=clock)
    before = index.model("o/n")
    clock.now += FRESH_SECONDS
    assert index.model("o/n") is before


def test_a_tag_that_moves_is_seen(shelf: Shelf) -> None:
    """Tags are read with the snapshots."""
    clock = Clock()
    index = Index(shelf, clock=clock)
    before = index.model("o/n")
    assert before is not None
    shelf.tag(before.snapshots[0], "prod")
    clock.now += FRESH_SECONDS
    after = index.model("o/n")
    assert after is not None
    assert after.tags == {"prod": before.snapshots[0].id}


def test_a_removed_model_is_gone(shelf: Shelf) -> None:
    """A model whose last snapshot was removed is no longer found."""
    clock = Clock()
    index = Index(shelf, clock=clock)
    model = index.model("o/n")
    assert model is not None
    shelf.remove(model.snapshots[0])
    clock.now += FRESH_SECONDS
    assert index.model("o/n") is None


def test_a_folder_without_a_record_is_no_snapshot(shelf: Shelf) -> None:
    """An empty folder among the snapshots is ignored."""
    os.mkdir(os.path.join(shelf.path, "models", "o", "n", f"{NEW}-00000000"))
    model = Index(shelf).model("o/n")
    assert model is not None
    assert len(model.snapshots) == 1


@pytest.mark.parametrize("name", ["", "o", "o/", "o/..", "../o/n", "o/n@x", "o/n/x", "o/\0", "o/x"])
def test_other_names_are_not_there(shelf: Shelf, name: str) -> None:
    """Malformed and unknown names are not found."""
    assert Index(shelf).model(name) is None
