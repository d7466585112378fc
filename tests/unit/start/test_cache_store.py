"""Compiled caches: found for exactly what they were made for, proven, and unpacked."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.file_modes import needs_modes

from modelshelf.shelf.files import write_json
from modelshelf.shelf.values import File
from modelshelf.start import cache_key, cache_store
from modelshelf.start.cache_archive import pack
from modelshelf.start.cache_key import CacheKey, describe, installed
from modelshelf.start.cache_unpack import fresh, unpack
from modelshelf.start.events import CacheMissing, CacheUnpacked

_SNAPSHOT = f"org/name@{'c' * 40}-0a1b2c3d"
_ARGV = [sys.executable, "-m", "engine", "/models/x"]
_ENV = {"PATH": os.defpath}


def _made() -> CacheKey:
    return describe(_SNAPSHOT, _ARGV, _ENV, installed(_ARGV, _ENV).versions)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """The start's own folder, which is not there yet."""
    return tmp_path / "home/caches"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The folder of one archive below `compile-cache`."""
    source = tmp_path / "source"
    (source / "vllm").mkdir(parents=True)
    (source / "vllm/model").write_bytes(b"compiled")
    made = _made()
    folder = tmp_path / "compile-cache" / made.key
    folder.mkdir(parents=True)
    file = io.BytesIO()
    pack(str(source), file)
    _publish(folder, made, file.getvalue())
    return folder


def _publish(folder: Path, made: CacheKey, tar: bytes) -> None:
    (folder / "caches.tar").write_bytes(tar)
    archive = File("caches.tar", len(tar), sha256=hashlib.sha256(tar).hexdigest())
    record = cache_store.CacheRecord(made.to_json(), archive, 1.0, "test")
    write_json(str(folder / ".compile-cache.json"), record.to_json())


def _unpack(
    published: Path,
    into: Path,
    argv: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> CacheUnpacked | CacheMissing:
    root = published.parents[3]
    return unpack(str(root), _SNAPSHOT, str(into), argv or _ARGV, env or _ENV)


def test_what_fits_is_unpacked(published: Path, into: Path) -> None:
    """The caches are in their place, and the event names the key and the bytes."""
    event = _unpack(published, into)
    assert isinstance(event, CacheUnpacked), event
    assert (event.key, event.bytes) == (_made().key, 8)
    assert (into / "vllm/model").read_bytes() == b"compiled"
    assert os.listdir(into.parent) == [into.name]


def test_a_second_start_in_one_place_gets_them_anew(published: Path, into: Path) -> None:
    """What a crashed engine left of them is thrown away."""
    _unpack(published, into)
    (into / "vllm/model").write_bytes(b"half")
    (into / "vllm/more").touch()
    assert isinstance(_unpack(published, into), CacheUnpacked)
    assert (into / "vllm/model").read_bytes() == b"compiled"
    assert not (into / "vllm/more").exists()


def test_leftovers_of_a_killed_unpacking_are_in_nobody_s_way(published: Path, into: Path) -> None:
    """They are deleted, and the caches arrive."""
    for name in (".new", ".old"):
        (into.parent / f"{into.name}{name}/vllm").mkdir(parents=True)
    assert isinstance(_unpack(published, into), CacheUnpacked)
    assert os.listdir(into.parent) == [into.name]


def _flip(folder: Path) -> None:
    tar = bytearray((folder / "caches.tar").read_bytes())
    tar[len(tar) // 2] ^= 1
    (folder / "caches.tar").write_bytes(tar)


def _cut(folder: Path) -> None:
    os.truncate(folder / "caches.tar", 700)


def _grow(folder: Path) -> None:
    with open(folder / "caches.tar", "ab") as file:
        file.write(b"more")


def _cut_record(folder: Path) -> None:
    os.truncate(folder / ".compile-cache.json", 60)


def _empty_record(folder: Path) -> None:
    (folder / ".compile-cache.json").write_text("{}")


def _other_record(folder: Path) -> None:
    record = (folder / ".compile-cache.json").read_text()
    (folder / ".compile-cache.json").write_text(record.replace('"engine"', '"other"'))


def _other_file(folder: Path) -> None:
    record = (folder / ".compile-cache.json").read_text()
    (folder / ".compile-cache.json").write_text(record.replace("caches.tar", "../caches.tar"))


def _no_tar(folder: Path) -> None:
    (folder / "caches.tar").unlink()


def _no_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    "harm",
    [
        _flip,
        _cut,
        _grow,
        _cut_record,
        _empty_record,
        _other_record,
        _other_file,
        _no_tar,
        _no_folder,
    ],
)
def test_what_is_damaged_is_not_used(
    published: Path, into: Path, harm: Callable[[Path], None]
) -> None:
    """The start goes on without, with an empty folder for the engine, and the reason is told."""
    harm(published)
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing), event
    assert event.reason
    assert os.listdir(into) == ["CACHEDIR.TAG"]
    assert os.listdir(into.parent) == [into.name]


def test_a_hostile_archive_with_a_right_checksum_is_not_used(published: Path, into: Path) -> None:
    """Who writes a record, too, still cannot write outside of the folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"))
    _publish(published, _made(), file.getvalue())
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert "escapes its folder" in event.reason
    assert not list(into.parents[1].rglob("escaped"))


@pytest.mark.parametrize(
    ("argv", "env", "reason"),
    [
        ([*_ARGV, "--enforce-eager"], _ENV, "primed with other args"),
        (_ARGV, {**_ENV, "VLLM_USE_AOT_COMPILE": "0"}, "primed with other env"),
        (["no-such-engine"], _ENV, "there is no program 'no-such-engine'"),
    ],
)
def test_what_does_not_fit_is_not_used(
    published: Path, into: Path, argv: list[str], env: dict[str, str], reason: str
) -> None:
    """Another command line or other variables compile anew, and the reason names them."""
    event = _unpack(published, into, argv, env)
    assert isinstance(event, CacheMissing)
    assert event.reason == reason


@pytest.mark.parametrize(
    ("what", "name"),
    [("_LOOK", "versions"), ("cpu", "cpu"), ("accelerators", "accelerators")],
)
def test_another_machine_s_caches_are_not_used(
    published: Path, into: Path, monkeypatch: pytest.MonkeyPatch, what: str, name: str
) -> None:
    """Another vLLM, processor or GPU makes other code, and the reason names which it is."""
    look = 'print(\'{"versions": {"vllm": "0.33.0"}, "bytecode": true}\')'
    monkeypatch.setattr(cache_key, what, look if what == "_LOOK" else lambda: "another")
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert event.reason == f"primed with other {name}"


def test_another_place_gets_them_too(published: Path, into: Path) -> None:
    """Replicas on one machine have a folder each."""
    elsewhere = into.parent / "elsewhere"
    assert isinstance(_unpack(published, elsewhere), CacheUnpacked)
    assert (elsewhere / "vllm/model").exists()


def test_a_relative_place_is_refused(published: Path) -> None:
    """The engine may run in another folder than we do."""
    event = _unpack(published, Path("relative"))
    assert isinstance(event, CacheMissing)
    assert "no absolute path" in event.reason
    assert not Path("relative").exists()


def test_a_start_that_finds_nothing_keeps_what_an_earlier_one_compiled(
    published: Path, into: Path
) -> None:
    """A container that is started again in its pod does not compile again."""
    fresh(str(into))
    (into / "mine").touch()
    _no_tar(published)
    assert isinstance(_unpack(published, into), CacheMissing)
    assert (into / "mine").exists()


def test_a_folder_with_other_things_is_left_alone(published: Path, into: Path) -> None:
    """A wrong name in a spec deletes nothing."""
    into.mkdir(parents=True)
    (into / "thesis.tex").touch()
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert "holds other things" in event.reason
    assert os.listdir(into) == ["thesis.tex"]


@needs_modes
@pytest.mark.parametrize("closed", ["caches.tar", ".compile-cache.json", ""])
def test_what_may_not_be_read_is_not_used(published: Path, into: Path, closed: str) -> None:
    """A file or folder that is closed to this user is one that is not there."""
    (published / closed).chmod(0o000)
    try:
        assert isinstance(_unpack(published, into), CacheMissing)
    finally:
        (published / closed).chmod(0o755)


@needs_modes
def test_a_place_that_may_not_be_written_is_told(published: Path, into: Path) -> None:
    """The start goes on without."""
    into.parent.mkdir(mode=0o555)
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert "Permission denied" in event.reason


def test_an_engine_keeps_every_cache_below_the_folder(tmp_path: Path) -> None:
    """Each variable names a folder there; bytecode goes there if whoever primed sent it there."""
    variables = cache_store.env(str(tmp_path))
    plan = variables.pop("VLLM_ENABLE_STARTUP_PLAN")
    assert plan == "1"
    assert "VLLM_CACHE_ROOT" in variables
    assert {os.path.dirname(path) for path in variables.values()} == {str(tmp_path)}
    assert not any(name.startswith("PYTHON") for name in variables)
    cache_store.expect(str(tmp_path), bytecode=True)
    more = set(cache_store.env(str(tmp_path))) - set(variables)
    headers = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
    assert more == {"VLLM_ENABLE_STARTUP_PLAN", "PYTHONPYCACHEPREFIX", headers}
