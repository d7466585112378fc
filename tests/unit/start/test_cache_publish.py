"""Publishing compile caches: once, and as a whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import small_models
from support.file_modes import needs_modes

from modelshelf.shelf.errors import NotWritableError
from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.shelf import Shelf
from modelshelf.start import cache_publish, cache_store
from modelshelf.start.cache_key import CacheKey, compute_key
from modelshelf.start.cache_publish import publish, verify_published

_GONE = ProcessIdentity.of_this_process().to_json() | {"started": "1"}


@pytest.fixture
def key(shelf: Shelf) -> CacheKey:
    """The key of a cache for a model on the shelf."""
    snapshot = small_models.put(shelf, "org/name", {"config.json": b"{}"})
    return compute_key(f"org/name@{snapshot.id}", ["vllm"], {}, {"vllm": "0.32.0"})


@pytest.fixture
def written(tmp_path: Path) -> str:
    """A folder with what an engine wrote."""
    (tmp_path / "into/vllm").mkdir(parents=True)
    (tmp_path / "into/vllm/model").write_bytes(b"compiled")
    return str(tmp_path / "into")


def _record(shelf: Shelf, key: CacheKey) -> cache_store.CacheRecord | None:
    return cache_store.find_record(os.path.join(shelf.path, "compile-cache"), key)


def test_a_published_cache_is_found_and_read_only(
    shelf: Shelf, key: CacheKey, written: str
) -> None:
    """The archive and its record lie in the key's folder, and nothing is left in staging."""
    assert verify_published(shelf, key) is None
    size, origin = publish(shelf, key, written)
    assert origin == "made"
    assert verify_published(shelf, key) == size
    folder = Path(shelf.path, "compile-cache", key.folder)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        ".compile-cache.json": 0o444,
        "caches.tar": 0o444,
    }
    assert folder.stat().st_mode & 0o777 == 0o555
    assert not list(Path(shelf.path).glob("staging/org/name/*"))


def test_the_first_published_cache_stays(shelf: Shelf, key: CacheKey, written: str) -> None:
    """A prime that comes second throws its own cache away, and says that another is there."""
    publish(shelf, key, written)
    record = _record(shelf, key)
    Path(written, "vllm/model").write_bytes(b"compiled otherwise")
    assert publish(shelf, key, written)[1] == "present"
    assert _record(shelf, key) == record
    assert not list(Path(shelf.path).glob("staging/org/name/*"))


@pytest.mark.parametrize("name", ["caches.tar", ".compile-cache.json"])
def test_a_damaged_cache_is_replaced(shelf: Shelf, key: CacheKey, written: str, name: str) -> None:
    """With a changed byte in either file, the next prime publishes again."""
    publish(shelf, key, written)
    path = Path(shelf.path, "compile-cache", key.folder, name)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"compiled", b"c0mpiled").replace(b":", b";", 1))
    assert verify_published(shelf, key) is None
    assert publish(shelf, key, written)[1] == "made"
    assert verify_published(shelf, key) is not None


def _leftover(shelf: Shelf, key: CacheKey, writer: dict[str, object], suffix: str) -> Path:
    name = f"compile-cache-{os.path.basename(key.folder)}.{suffix}"
    folder = Path(shelf.path, "staging/org/name", name)
    folder.mkdir(parents=True)
    (folder / ".writer.json").write_text(json.dumps(writer))
    return folder


def test_leftovers_of_dead_primes_are_discarded(
    shelf: Shelf, key: CacheKey, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of dead or forgotten writers go; the folder of one that is alive stays."""
    gone = _leftover(shelf, key, _GONE, "gone")
    alive = _leftover(shelf, key, ProcessIdentity.of_this_process().to_json(), "alive")
    publish(shelf, key, written)
    assert not gone.exists()
    assert alive.exists()
    monkeypatch.setattr(cache_publish, "filesystem_time", lambda _: alive.stat().st_mtime + 3601)
    publish(shelf, key, written)
    assert not alive.exists()


def test_a_failure_leaves_nothing(
    shelf: Shelf, key: CacheKey, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If packing fails, no folder of the shelf has anything of it."""

    def full(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_publish, "pack", full)
    with pytest.raises(KeyboardInterrupt):
        publish(shelf, key, written)
    assert not list(Path(shelf.path).glob("staging/org/name/*"))
    assert _record(shelf, key) is None


@needs_modes
def test_a_shelf_that_cannot_be_written_is_an_error(
    shelf: Shelf, key: CacheKey, written: str
) -> None:
    """The error names the folder."""
    Path(shelf.path, "staging/org/name").chmod(0o555)
    with pytest.raises(NotWritableError, match="staging"):
        publish(shelf, key, written)
