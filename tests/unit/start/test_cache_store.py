"""Compile caches: found for exactly the start that they fit, verified, and unpacked."""

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
from modelshelf.start import cache_store, hardware, interpreter
from modelshelf.start.cache_archive import pack
from modelshelf.start.cache_key import CacheKey, compute_key
from modelshelf.start.cache_unpack import replace_folder, unpack
from modelshelf.start.events import CacheMissing, CacheUnpacked
from modelshelf.start.interpreter import probe_interpreter

_SNAPSHOT = f"org/name@{'c' * 40}-0a1b2c3d"
_ARGV = [sys.executable, "-m", "engine", "/models/x"]
_ENV = {"PATH": os.defpath}


def _key() -> CacheKey:
    return compute_key(_SNAPSHOT, _ARGV, _ENV, probe_interpreter(_ARGV, _ENV).versions)


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
    key = _key()
    folder = tmp_path / "compile-cache" / key.folder
    folder.mkdir(parents=True)
    file = io.BytesIO()
    pack(str(source), file)
    _publish(folder, key, file.getvalue())
    return folder


def _publish(folder: Path, key: CacheKey, tar: bytes) -> None:
    (folder / "caches.tar").write_bytes(tar)
    archive = File("caches.tar", len(tar), sha256=hashlib.sha256(tar).hexdigest())
    record = cache_store.CacheRecord(key.to_json(), archive, 1.0, "test")
    write_json(str(folder / ".compile-cache.json"), record.to_json())


def _unpack(
    published: Path,
    into: Path,
    argv: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> CacheUnpacked | CacheMissing:
    root = published.parents[3]
    return unpack(str(root), _SNAPSHOT, str(into), argv or _ARGV, env or _ENV)


def test_a_cache_that_fits_is_unpacked(published: Path, into: Path) -> None:
    """The files are in their place, and the event names the key and the bytes."""
    event = _unpack(published, into)
    assert isinstance(event, CacheUnpacked), event
    assert (event.key, event.bytes) == (_key().folder, 8)
    assert (into / "vllm/model").read_bytes() == b"compiled"
    assert os.listdir(into.parent) == [into.name]


def test_a_second_start_in_one_folder_gets_a_new_copy(published: Path, into: Path) -> None:
    """What a crashed engine left in the folder is thrown away."""
    _unpack(published, into)
    (into / "vllm/model").write_bytes(b"half")
    (into / "vllm/more").touch()
    assert isinstance(_unpack(published, into), CacheUnpacked)
    assert (into / "vllm/model").read_bytes() == b"compiled"
    assert not (into / "vllm/more").exists()


def test_leftovers_of_a_killed_start_are_deleted(published: Path, into: Path) -> None:
    """The folders that it used on the way are gone, and the cache is unpacked."""
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
def test_a_damaged_cache_is_not_used(
    published: Path, into: Path, harm: Callable[[Path], None]
) -> None:
    """The start goes on without it, the engine gets an empty folder, and the event says why."""
    harm(published)
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing), event
    assert event.reason
    assert os.listdir(into) == ["CACHEDIR.TAG"]
    assert os.listdir(into.parent) == [into.name]


def test_a_hostile_archive_with_a_right_checksum_is_not_used(published: Path, into: Path) -> None:
    """An attacker who writes the record as well still cannot write outside of the folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"))
    _publish(published, _key(), file.getvalue())
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
def test_a_cache_that_does_not_fit_is_not_used(
    published: Path, into: Path, argv: list[str], env: dict[str, str], reason: str
) -> None:
    """Starts with other arguments or variables compile again, and the reason names these."""
    event = _unpack(published, into, argv, env)
    assert isinstance(event, CacheMissing)
    assert event.reason == reason


@pytest.mark.parametrize(
    ("function", "attribute"),
    [("PROBE_SCRIPT", "versions"), ("describe_cpu", "cpu"), ("list_gpus", "accelerators")],
)
def test_another_machine_s_caches_are_not_used(
    published: Path, into: Path, monkeypatch: pytest.MonkeyPatch, function: str, attribute: str
) -> None:
    """Another vLLM, processor or GPU makes other code, and the reason names which it is."""
    script = 'print(\'{"versions": {"vllm": "0.33.0"}, "bytecode": true}\')'
    if function == "PROBE_SCRIPT":
        monkeypatch.setattr(interpreter, function, script)
    else:
        monkeypatch.setattr(hardware, function, lambda: "another")
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert event.reason == f"primed with other {attribute}"


def test_a_cache_can_be_unpacked_to_another_folder(published: Path, into: Path) -> None:
    """It need not be the folder that the cache was made in."""
    elsewhere = into.parent / "elsewhere"
    assert isinstance(_unpack(published, elsewhere), CacheUnpacked)
    assert (elsewhere / "vllm/model").exists()


def test_a_relative_folder_is_refused(published: Path) -> None:
    """A relative path would mean another folder to the engine than to us."""
    event = _unpack(published, Path("relative"))
    assert isinstance(event, CacheMissing)
    assert "no absolute path" in event.reason
    assert not Path("relative").exists()


def test_a_start_that_finds_nothing_keeps_what_an_earlier_one_compiled(
    published: Path, into: Path
) -> None:
    """The folder stays as it is, so a container that restarts in its pod need not compile."""
    replace_folder(str(into))
    (into / "compiled").touch()
    _no_tar(published)
    assert isinstance(_unpack(published, into), CacheMissing)
    assert (into / "compiled").exists()


def test_a_folder_with_other_things_is_left_alone(published: Path, into: Path) -> None:
    """A wrong folder in a spec loses no file."""
    into.mkdir(parents=True)
    (into / "thesis.tex").touch()
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert "holds other things" in event.reason
    assert os.listdir(into) == ["thesis.tex"]


@needs_modes
@pytest.mark.parametrize("closed", ["caches.tar", ".compile-cache.json", ""])
def test_an_unreadable_cache_is_not_used(published: Path, into: Path, closed: str) -> None:
    """A file or folder that this user may not read counts as missing."""
    (published / closed).chmod(0o000)
    try:
        assert isinstance(_unpack(published, into), CacheMissing)
    finally:
        (published / closed).chmod(0o755)


@needs_modes
def test_a_folder_that_cannot_be_written_is_reported(published: Path, into: Path) -> None:
    """The start goes on without a cache, and the event says why."""
    into.parent.mkdir(mode=0o555)
    event = _unpack(published, into)
    assert isinstance(event, CacheMissing)
    assert "Permission denied" in event.reason


def test_an_engine_keeps_every_cache_below_the_folder(tmp_path: Path) -> None:
    """Each variable names a folder in it; a prepared folder has one for bytecode, too."""
    variables = cache_store.build_environment(str(tmp_path))
    plan = variables.pop("VLLM_ENABLE_STARTUP_PLAN")
    assert plan == "1"
    assert "VLLM_CACHE_ROOT" in variables
    assert {os.path.dirname(path) for path in variables.values()} == {str(tmp_path)}
    assert not any(name.startswith("PYTHON") for name in variables)
    cache_store.prepare_folder(str(tmp_path), with_bytecode=True)
    more = set(cache_store.build_environment(str(tmp_path))) - set(variables)
    headers = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
    assert more == {"VLLM_ENABLE_STARTUP_PLAN", "PYTHONPYCACHEPREFIX", headers}
