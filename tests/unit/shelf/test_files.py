"""Small durable writes, and what the operating system's refusals mean."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.file_modes import needs_modes

from modelshelf.shelf import files
from modelshelf.shelf.errors import Error, NoSpaceError, NotWritableError, ShelfError


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test with each of three umasks."""
    old = os.umask(request.param)
    yield
    os.umask(old)


def _mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(
    ("number", "kind", "exit_code", "words"),
    [
        (errno.ENOSPC, NoSpaceError, 12, "no space left on the filesystem of /shelf"),
        (errno.EDQUOT, NoSpaceError, 12, "no space left on the filesystem of /shelf"),
        (errno.EACCES, NotWritableError, 13, "may not write /shelf/x"),
        (errno.EPERM, NotWritableError, 13, "may not write /shelf/x"),
        (errno.EROFS, NotWritableError, 13, "may not write /shelf/x"),
        (errno.EIO, ShelfError, 1, "/shelf/x: Input/output error"),
        (errno.ESTALE, ShelfError, 1, "/shelf/x: "),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else None,
)
def test_refusals_become_errors_that_say_what_to_do(
    number: int, kind: type[Error], exit_code: int, words: str
) -> None:
    """Each OSError becomes an error of the right kind, with the path that it names."""
    with pytest.raises(kind, match=words) as e, files.explain_os_errors("/shelf"):
        raise OSError(number, os.strerror(number), "/shelf/x")
    assert type(e.value) is kind
    assert e.value.exit_code == exit_code
    assert isinstance(e.value.__cause__, OSError)
    assert e.value.hint or kind is ShelfError


def test_an_error_without_a_number_or_a_name_is_told_too() -> None:
    """An OSError that names no file is reported for the path that was passed."""
    assert str(files.to_shelf_error(OSError("odd"), "/shelf")) == "/shelf: odd"
    assert "may not write /shelf" in str(
        files.to_shelf_error(OSError(errno.EACCES, "no"), "/shelf")
    )


def test_what_is_no_os_error_passes() -> None:
    """Errors other than OSError pass unchanged."""
    with pytest.raises(ValueError, match="mine"), files.explain_os_errors("/shelf"):
        raise ValueError("mine")


@pytest.mark.usefixtures("umask")
def test_folders_are_made_for_all_whatever_the_umask(tmp_path: Path) -> None:
    """Each new folder gets mode 0755; a folder that exists keeps its mode."""
    (tmp_path / "a").mkdir(0o700)
    (tmp_path / "a").chmod(0o700)
    assert files.make_folders(str(tmp_path), "a/b/c") == str(tmp_path / "a/b/c")
    assert files.make_folders(str(tmp_path), "a/b/c") == str(tmp_path / "a/b/c")
    assert [_mode(tmp_path / p) for p in ("a", "a/b", "a/b/c")] == [0o700, 0o755, 0o755]


@pytest.mark.usefixtures("umask")
def test_json_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    """The file has the mode that was asked for, whatever the umask, and nothing lies beside it."""
    path = tmp_path / "x.json"
    files.write_json(str(path), {"b": 1, "a": "ü"})
    assert path.read_text(encoding="utf-8") == '{"a":"ü","b":1}\n'
    assert _mode(path) == 0o644
    files.write_json(str(path), {}, mode=0o444)
    assert path.read_text(encoding="utf-8") == "{}\n"
    assert _mode(path) == 0o444
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("failing", ["rename", "fsync"])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """After a failed write the old content is there, and no temporary file."""
    path = tmp_path / "x.json"
    files.write_json(str(path), {"old": True})

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            files.write_json(str(path), {"new": True})
    assert files.read_json(str(path)) == {"old": True}
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_file_with_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """The temporary file's name is not longer than the file's own."""
    path = tmp_path / ("n" * 255)
    files.write_json(str(path), {})
    assert files.read_json(str(path)) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'"text"', b"\xff", b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "cut", "list", "null", "text", "not utf-8", "deep list", "deep object"],
)
def test_what_holds_no_object_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    """A damaged file, or one that holds something else, counts as none."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert files.read_json(str(path)) is None


def test_what_is_missing_reads_as_nothing(tmp_path: Path) -> None:
    """A missing file or folder, or one below a file, reads as empty."""
    (tmp_path / "file").touch()
    assert files.read_json(str(tmp_path / "x.json")) is None
    assert files.read_json(str(tmp_path / "file/x.json")) is None
    assert files.list_names(str(tmp_path / "no")) == []
    assert files.list_names(str(tmp_path / "file")) == []
    assert files.list_names(str(tmp_path)) == ["file"]


@needs_modes
def test_what_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    """A file or folder that is there and cannot be read is not taken for missing."""
    path = tmp_path / "x.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(PermissionError):
        files.read_json(str(path))
    folder = tmp_path / "folder"
    folder.mkdir(0o000)
    with pytest.raises(PermissionError):
        files.list_names(str(folder))


def test_syncing_takes_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders are synced; only a real failure of fsync is an error."""
    files.sync_to_disk(str(tmp_path))

    def fail(number: int) -> None:
        def fsync(_fd: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)
    files.sync_to_disk(str(tmp_path))
    fail(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        files.sync_to_disk(str(tmp_path))


def test_a_read_only_tree_is_deleted(tmp_path: Path) -> None:
    """A snapshot's folders are read-only, and are deleted all the same."""
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/f").write_text("x")
    (tree / "a/b/f").chmod(0o444)
    for folder in ("a/b", "a", "."):
        (tree / folder).chmod(0o555)
    files.delete_tree(str(tree))
    assert not tree.exists()
    files.delete_tree(str(tree))


def test_the_filesystem_s_clock_is_read_without_a_trace(tmp_path: Path) -> None:
    """The filesystem's time is between those of files made before and after, and leaves no file."""
    path = tmp_path / "x"
    before = files.filesystem_time(str(tmp_path))
    path.touch()
    assert before <= path.stat().st_mtime <= files.filesystem_time(str(tmp_path))
    assert os.listdir(tmp_path) == ["x"]


def test_free_bytes_are_those_of_the_filesystem(tmp_path: Path) -> None:
    """Free bytes are those that an ordinary user may write."""
    status = os.statvfs(tmp_path)
    free = files.free_bytes(str(tmp_path))
    assert free is not None
    assert 0 < free <= status.f_blocks * status.f_frsize


def test_a_filesystem_without_a_size_has_no_number_of_free_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where statvfs(2) states zeros, nothing is known, and no pull is refused for it."""
    nothing = os.statvfs_result([4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255])
    monkeypatch.setattr(os, "statvfs", lambda _path: nothing)
    assert files.free_bytes(str(tmp_path)) is None


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS])
def test_a_filesystem_without_modes_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where chmod(2) is refused, files and folders are made with the modes that there are."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    folder = files.make_folders(str(tmp_path), "a/b")
    files.write_bytes(os.path.join(folder, "x"), b"content", mode=0o444)
    assert Path(folder, "x").read_bytes() == b"content"


def test_a_mode_that_cannot_be_set_for_another_reason_is_an_error(tmp_path: Path) -> None:
    """A missing file is no lack of the filesystem."""
    with pytest.raises(FileNotFoundError):
        files.set_mode(str(tmp_path / "missing"), 0o644)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    ("above", "below"),
    [(0o2775, 0o2775), (0o2755, 0o2755), (0o775, 0o755), (0o777, 0o755), (0o2777, 0o2775)],
    ids=oct,
)
def test_folders_are_shared_as_the_one_above_is(tmp_path: Path, above: int, below: int) -> None:
    """Below a folder with the setgid bit, all folders have it, and the group's rights."""
    share = tmp_path / "share"
    share.mkdir()
    share.chmod(above)
    files.make_folders(str(share), "models/org")
    assert [_mode(share / name) for name in ("models", "models/org")] == [below, below]
