"""Making and opening a shelf, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import small_models
from support.file_modes import needs_modes

from modelshelf.shelf.errors import (
    NotAShelfError,
    NotWritableError,
    ShelfError,
)
from modelshelf.shelf.shelf import Shelf

_FILES = {"config.json": b"{}", "sub/deep/model.safetensors": b"weights"}


def _mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
def test_a_shelf_is_made_where_nothing_is(tmp_path: Path, *, there: bool) -> None:
    """A missing or empty folder becomes a shelf with an id; opening it again changes nothing."""
    path = tmp_path / "a/b"
    if there:
        path.mkdir(parents=True)
    shelf = Shelf.create(path)
    assert json.loads((path / "shelf.json").read_text()) == {"layout": 1, "id": shelf.id}
    assert len(shelf.id) == 36
    assert Shelf.create(path).id == Shelf(path).id == shelf.id
    assert os.listdir(path) == ["shelf.json"]
    assert _mode(path / "shelf.json") == 0o644
    assert shelf.snapshots() == []


@pytest.mark.usefixtures("umask")
def test_a_new_shelf_is_open_to_all_and_the_folders_above_are_the_user_s(tmp_path: Path) -> None:
    """The shelf's own folder is made 0755 whatever the umask; those above it follow the umask."""
    Shelf.create(tmp_path / "a/b")
    assert _mode(tmp_path / "a/b") == 0o755
    assert _mode(tmp_path / "a") == 0o700


@pytest.mark.parametrize(
    "name", ["lost+found", ".nfs0001", ".snapshot", "@eaDir", "#recycle", "$RECYCLE.BIN"]
)
def test_what_a_filesystem_puts_there_by_itself_is_no_content(tmp_path: Path, name: str) -> None:
    """A fresh filesystem or export is as good as empty."""
    (tmp_path / name).mkdir()
    Shelf.create(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "shelf.json"])


def test_a_home_directory_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and relative paths are made absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Shelf.create("~/s").path == str(tmp_path / "s")
    assert Shelf("s").path == str(tmp_path / "s")


def test_another_s_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds something else does not become a shelf."""
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(
        NotAShelfError, match=r"is not a shelf: it has no readable shelf\.json"
    ) as e:
        Shelf.create(tmp_path)
    assert "--shelf" in e.value.hint
    assert os.listdir(tmp_path) == ["thesis.doc"]


def test_a_file_does_not_become_a_shelf(tmp_path: Path) -> None:
    """Neither making nor opening takes a file for a folder."""
    (tmp_path / "file").touch()
    for open_ in (Shelf.create, Shelf):
        with pytest.raises(NotAShelfError, match="file is not a shelf"):
            open_(tmp_path / "file")


def test_a_missing_shelf_is_said_to_be_missing(tmp_path: Path) -> None:
    """Opening makes nothing, and tells what would."""
    with pytest.raises(NotAShelfError, match="there is no shelf at") as e:
        Shelf(tmp_path / "no")
    assert "pull" in e.value.hint
    assert e.value.exit_code == 2
    assert not (tmp_path / "no").exists()


def test_of_two_who_make_a_shelf_at_once_the_first_one_s_id_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both hosts end up with the same shelf."""
    link = os.link
    made: list[Shelf] = []

    def slower(source: str, target: str) -> None:
        monkeypatch.setattr(os, "link", link)
        made.append(Shelf.create(tmp_path))
        link(source, target)

    monkeypatch.setattr(os, "link", slower)
    assert Shelf.create(tmp_path).id == made[0].id
    assert os.listdir(tmp_path) == ["shelf.json"]


def test_a_filesystem_without_hard_links_can_hold_a_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker is renamed into place where it cannot be linked."""

    def refuse(*_: str) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links")

    monkeypatch.setattr(os, "link", refuse)
    shelf = Shelf.create(tmp_path)
    assert Shelf(tmp_path).id == shelf.id
    assert os.listdir(tmp_path) == ["shelf.json"]


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (b'{"layout": 2, "id": "x"}', "has layout 2, made by a newer modelshelf.* layout 1"),
        (b"", "is not a shelf"),
        (b"{", "is not a shelf"),
        (b"[]", "is not a shelf"),
        (b'{"id": "x"}', "is not a shelf"),
        (b'{"layout": "1"}', "is not a shelf"),
    ],
)
def test_what_this_version_cannot_read_is_not_opened(
    tmp_path: Path, marker: bytes, words: str
) -> None:
    """A newer layout, or a damaged marker, is refused and left as it is."""
    (tmp_path / "shelf.json").write_bytes(marker)
    for open_ in (Shelf, Shelf.create):
        with pytest.raises(NotAShelfError, match=words):
            open_(tmp_path)
    assert (tmp_path / "shelf.json").read_bytes() == marker


@needs_modes
def test_a_shelf_that_may_not_be_read_says_so(shelf: Shelf) -> None:
    """Neither the marker nor the models of another user's closed folders are taken for missing."""
    small_models.put(shelf, "org/name", _FILES)
    os.chmod(os.path.join(shelf.path, "models/org"), 0o000)
    with pytest.raises(NotWritableError, match="may not read the shelf"):
        shelf.snapshots()
    os.chmod(os.path.join(shelf.path, "models/org"), 0o755)
    os.chmod(os.path.join(shelf.path, "shelf.json"), 0o000)
    with pytest.raises(NotWritableError, match="may not read the shelf") as e:
        Shelf(shelf.path)
    assert e.value.exit_code == 13


@needs_modes
def test_a_shelf_cannot_be_made_where_one_may_not_write(tmp_path: Path) -> None:
    """The error names user and folder."""
    tmp_path.chmod(0o555)
    with pytest.raises(NotWritableError, match=f"user {os.geteuid()} may not write {tmp_path}"):
        Shelf.create(tmp_path / "s")
    with pytest.raises(NotWritableError, match=f"user {os.geteuid()} may not write {tmp_path}"):
        Shelf.create(tmp_path)
    tmp_path.chmod(0o755)


@needs_modes
def test_that_one_may_not_write_is_found_out_before_the_first_byte(shelf: Shelf) -> None:
    """The probe leaves nothing behind where it succeeds, and says so where it fails."""
    shelf.require_writable()
    assert os.listdir(os.path.join(shelf.path, "models")) == []
    os.chmod(os.path.join(shelf.path, "models"), 0o555)
    with pytest.raises(NotWritableError, match=r"may not write .*/models"):
        shelf.require_writable()


@needs_modes
def test_a_shelf_that_one_may_only_read_can_be_read(shelf: Shelf) -> None:
    """A server with a read-only share can list and find models; writing is refused."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    for folder, _, _ in os.walk(shelf.path, topdown=False):
        os.chmod(folder, 0o555)
    reader = Shelf(shelf.path)
    assert reader.find("org/name") == snapshot
    writes: list[Callable[[], None]] = [
        lambda: reader.tag(snapshot, "prod"),
        lambda: reader.remove(snapshot),
        reader.require_writable,
    ]
    for write in writes:
        with pytest.raises(NotWritableError):
            write()
    reader.empty_trash()
    assert reader.find("org/name") == snapshot


def test_a_path_that_no_filesystem_takes_is_an_error_of_ours(tmp_path: Path) -> None:
    """What the operating system says is told, and its exception does not escape."""
    with pytest.raises(ShelfError, match="File name too long"):
        Shelf(tmp_path / ("x" * 300))


def test_a_shared_folder_becomes_a_shelf_beside_what_lies_there(tmp_path: Path) -> None:
    """What others put on a share stays as it is; without `shared` it is refused."""
    (tmp_path / "mistral").mkdir()
    with pytest.raises(NotAShelfError):
        Shelf.create(tmp_path)
    shelf = Shelf.create(tmp_path, shared=True)
    assert Shelf.create(tmp_path).id == shelf.id
    assert sorted(os.listdir(tmp_path)) == ["compile-cache", "mistral", "shelf.json"]


def test_a_shared_folder_with_a_name_of_ours_is_refused(tmp_path: Path) -> None:
    """A foreign `models` folder is never filled."""
    (tmp_path / "models").mkdir()
    with pytest.raises(NotAShelfError):
        Shelf.create(tmp_path, shared=True)
    assert os.listdir(tmp_path) == ["models"]
