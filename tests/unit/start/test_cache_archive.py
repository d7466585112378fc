"""A folder as a tar, and back: equal folders make equal bytes, and nothing hostile is written."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from modelshelf.shelf.errors import RefusedError
from modelshelf.start.cache_archive import extract, pack


def _tree(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            os.utime(path, (1_000_000_000, 1_000_000_000))


def _packed(folder: Path) -> bytes:
    file = io.BytesIO()
    pack(str(folder), file)
    return file.getvalue()


def test_the_same_tree_makes_the_same_bytes(tmp_path: Path) -> None:
    """The order in which files were made, and their owner, are not in the tar."""
    names = ["vllm/b/x", "vllm/a", "triton/long" + "g" * 200, "a.so"]
    for folder, order in (("one", names), ("two", names[::-1])):
        _tree(tmp_path / folder, order)
    assert _packed(tmp_path / "one") == _packed(tmp_path / "two")


def test_a_packed_folder_can_be_extracted(tmp_path: Path) -> None:
    """Contents, times in whole seconds, the right to execute and empty folders come back."""
    source, target = tmp_path / "source", tmp_path / "target"
    _tree(source, ["vllm/sub/aux.pyc", "kernel.so"])
    (source / "kernel.so").chmod(0o755)
    (source / "empty").mkdir()
    target.mkdir()
    size = extract(io.BytesIO(_packed(source)), str(target))
    assert size == sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
    found = {str(p.relative_to(target)) for p in target.rglob("*")}
    assert found == {str(p.relative_to(source)) for p in source.rglob("*")}
    assert (target / "vllm/sub/aux.pyc").read_bytes() == b"vllm/sub/aux.pyc" * 100
    assert (target / "vllm/sub/aux.pyc").stat().st_mtime == 1_000_000_000
    assert os.access(target / "kernel.so", os.X_OK)


def test_files_of_one_machine_or_one_moment_are_not_packed(tmp_path: Path) -> None:
    """Locks, unfinished files, links and facts about one machine's GPUs are left out."""
    _tree(tmp_path, ["vllm/model", "vllm/x.lock", "triton/y.tmp.12", "pycache/z.pyc.1234"])
    _tree(tmp_path, ["vllm/dummy_cache/a", "vllm/gpu_p2p_access_cache_for_0,1.json"])
    (tmp_path / "vllm/link").symlink_to("model")
    os.mkfifo(tmp_path / "vllm/fifo")
    with tarfile.open(fileobj=io.BytesIO(_packed(tmp_path))) as tar:
        assert tar.getnames() == ["pycache", "triton", "vllm", "vllm/model"]


def _member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in more.items():
        setattr(member, key, value)
    return member


_HOSTILE = {
    "absolute": _member("/etc/x"),
    "above": _member("a/../../x"),
    "above-alone": _member(".."),
    "dot": _member("./x"),
    "symbolic-link": _member("x", tarfile.SYMTYPE, linkname="/etc"),
    "hard-link": _member("x", tarfile.LNKTYPE, linkname="good"),
    "device": _member("x", tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block-device": _member("x", tarfile.BLKTYPE),
    "fifo": _member("x", tarfile.FIFOTYPE),
    "sparse": _member("x", tarfile.GNUTYPE_SPARSE),
    "setuid": _member("x", mode=0o4755),
    "setgid": _member("x", mode=0o2755),
    "long": _member("x/" * 2_100 + "x"),
}


@pytest.mark.parametrize("member", _HOSTILE.values(), ids=_HOSTILE)
def test_a_hostile_member_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """Nothing is written outside of the folder, and no link, device or setuid file into it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(_member("good"))
        tar.addfile(member)
    file.seek(0)
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(RefusedError, match="the archive holds"):
        extract(file, str(inside))
    assert os.listdir(tmp_path) == ["inside"]
    assert os.listdir(inside) == ["good"]


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    """A second file of the same name does not overwrite the first."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(_member("x"))
        tar.addfile(_member("x"))
    file.seek(0)
    with pytest.raises(FileExistsError):
        extract(file, str(tmp_path))


def test_a_tar_that_ends_early_is_an_error(tmp_path: Path) -> None:
    """A part of a file does not count as the file."""
    source = tmp_path / "source"
    _tree(source, ["a"])
    (source / "a").write_bytes(b"x" * 100_000)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(tarfile.TarError):
        extract(io.BytesIO(_packed(source)[:50_000]), str(target))


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    """A compressed tar could grow without limit while it is read."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(_member("x"))
    file.seek(0)
    with pytest.raises(tarfile.TarError):
        extract(file, str(tmp_path))
