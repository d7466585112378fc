"""Where each file of a pull comes from, plan before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.values import File
from modelshelf.transfer.leftovers import Leftover, copy_space_bytes
from modelshelf.transfer.pull_plan import PullPlan, plan_pull

A = File("a.safetensors", 100, lfs_sha256="a" * 64)
B = File("b.safetensors", 50, lfs_sha256="b" * 64)
C = File("c.json", 7, git_sha1="c" * 40)


def test_a_fresh_pull_fetches_everything() -> None:
    """If nothing is on this host, all bytes are fetched and need space."""
    assert plan_pull([A, B, C], {}, {}, [], link=False) == PullPlan({}, {}, (), 157, 0, 157)


def test_the_shelf_comes_first() -> None:
    """A file on the shelf is taken from there, even if other places have it, and needs no room."""
    shelf_paths = {"a" * 64: "/shelf/a"}
    plan = plan_pull([A, B], shelf_paths, {A.path: 100}, [A.path], link=False)
    assert plan == PullPlan({A.path: "/shelf/a"}, {}, (), 50, 100, 50)


def test_what_was_begun_is_fetched_to_its_end() -> None:
    """Of a file that a dead writer began, only the missing bytes are fetched."""
    plan = plan_pull([A, B], {}, {A.path: 60, B.path: 0}, [], link=False)
    assert plan == PullPlan({}, {A.path: 60}, (), 90, 60, 90)


@pytest.mark.parametrize(("link", "space_bytes"), [(True, 7), (False, 107)])
def test_a_folder_may_have_files(link: bool, space_bytes: int) -> None:  # noqa: FBT001 - from the table
    """What a folder has in the right size is not fetched; copies need room, links do not."""
    plan = plan_pull([A, C], {}, {}, [A.path], link=link)
    assert plan == PullPlan({}, {}, (A.path,), 7, 100, space_bytes)


def test_a_finished_leftover_goes_before_a_folder() -> None:
    """A file that a dead writer finished is moved, and the folder's copy is not read."""
    plan = plan_pull([A], {}, {A.path: 100}, [A.path], link=False)
    assert plan == PullPlan({}, {A.path: 100}, (), 0, 100, 0)


def _leftover(folder: Path, writer: ProcessIdentity | None) -> Leftover:
    folder.mkdir()
    (folder / "a.safetensors.part").write_bytes(bytes(60))
    (folder / "b.safetensors.part").write_bytes(bytes(20))
    (folder / "c.json").write_bytes(bytes(7))
    return Leftover(str(folder), writer)


def test_room_for_a_copy_of_what_a_writer_may_still_hold(tmp_path: Path) -> None:
    """The largest unfinished file of a writer that may live needs its space twice for a while."""
    alive = _leftover(tmp_path / "alive", ProcessIdentity.of_this_process())
    assert copy_space_bytes([alive], [A, B, C]) == 60


def test_no_room_for_what_can_be_moved(tmp_path: Path) -> None:
    """The files of a writer that is provably gone are moved, and need no space."""
    gone = dataclasses.replace(ProcessIdentity.of_this_process(), started="1")
    assert copy_space_bytes([_leftover(tmp_path / "gone", gone)], [A, B, C]) == 0
