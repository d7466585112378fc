"""Where each file of a pull comes from, decided before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.values import File
from modelshelf.transfer import leftovers
from modelshelf.transfer.leftovers import Leftover
from modelshelf.transfer.pull import Plan, plan

A = File("a.safetensors", 100, lfs_sha256="a" * 64)
B = File("b.safetensors", 50, lfs_sha256="b" * 64)
C = File("c.json", 7, git_sha1="c" * 40)


def test_a_fresh_pull_fetches_everything() -> None:
    """Where nothing is here, all bytes are fetched and need room."""
    assert plan([A, B, C], {}, {}, [], link=False) == Plan({}, {}, (), 157, 0, 157)


def test_the_shelf_comes_first() -> None:
    """What the shelf has is linked from there, whatever else has it, and needs no room."""
    shelved = {"a" * 64: "/shelf/a"}
    decided = plan([A, B], shelved, {A.path: 100}, [A.path], link=False)
    assert decided == Plan({A.path: "/shelf/a"}, {}, (), 50, 100, 50)


def test_what_was_begun_is_fetched_to_its_end() -> None:
    """Of a file that a dead writer began, only the rest is fetched."""
    decided = plan([A, B], {}, {A.path: 60, B.path: 0}, [], link=False)
    assert decided == Plan({}, {A.path: 60}, (), 90, 60, 90)


@pytest.mark.parametrize(("link", "write"), [(True, 7), (False, 107)])
def test_a_folder_may_have_files(link: bool, write: int) -> None:  # noqa: FBT001 - from the table
    """What a folder has in the right size is not fetched; copies need room, links do not."""
    decided = plan([A, C], {}, {}, [A.path], link=link)
    assert decided == Plan({}, {}, (A.path,), 7, 100, write)


def test_a_finished_leftover_goes_before_a_folder() -> None:
    """What a dead writer finished is moved, so a folder that has it too is not read."""
    decided = plan([A], {}, {A.path: 100}, [A.path], link=False)
    assert decided == Plan({}, {A.path: 100}, (), 0, 100, 0)


def _leftover(folder: Path, writer: ProcessIdentity | None) -> Leftover:
    folder.mkdir()
    (folder / "a.safetensors.part").write_bytes(bytes(60))
    (folder / "b.safetensors.part").write_bytes(bytes(20))
    (folder / "c.json").write_bytes(bytes(7))
    return Leftover(str(folder), writer)


def test_room_for_a_copy_of_what_a_writer_may_still_hold(tmp_path: Path) -> None:
    """The largest begun file of a writer that may live needs room twice for a while."""
    alive = _leftover(tmp_path / "alive", ProcessIdentity.of_this_process())
    assert leftovers.copied([alive], [A, B, C]) == 60


def test_no_room_for_what_can_be_moved(tmp_path: Path) -> None:
    """What a writer left that is provably gone is moved, and needs no room."""
    gone = dataclasses.replace(ProcessIdentity.of_this_process(), started="1")
    assert leftovers.copied([_leftover(tmp_path / "gone", gone)], [A, B, C]) == 0
