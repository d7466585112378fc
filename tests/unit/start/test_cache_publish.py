"""Publishing compiled caches: once, whole or not at all."""

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
from modelshelf.start.cache_key import CacheKey, describe
from modelshelf.start.cache_publish import present, publish

_GONE = ProcessIdentity.of_this_process().to_json() | {"started": "1"}


@pytest.fixture
def made(shelf: Shelf) -> CacheKey:
    """What a model on the shelf is compiled for."""
    snapshot = small_models.put(shelf, "org/name", {"config.json": b"{}"})
    return describe(f"org/name@{snapshot.id}", ["vllm"], {}, {"vllm": "0.32.0"})


@pytest.fixture
def into(tmp_path: Path) -> str:
    """What an engine wrote."""
    (tmp_path / "into/vllm").mkdir(parents=True)
    (tmp_path / "into/vllm/model").write_bytes(b"compiled")
    return str(tmp_path / "into")


def _found(shelf: Shelf, made: CacheKey) -> cache_store.CacheRecord | None:
    return cache_store.find(os.path.join(shelf.path, "compile-cache"), made)


def test_what_is_published_is_found_and_read_only(shelf: Shelf, made: CacheKey, into: str) -> None:
    """The archive and its record lie under the key, and nothing is left in staging."""
    assert present(shelf, made) is None
    size, how = publish(shelf, made, into)
    assert how == "made"
    assert present(shelf, made) == size
    folder = Path(shelf.path, "compile-cache", made.key)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        ".compile-cache.json": 0o444,
        "caches.tar": 0o444,
    }
    assert folder.stat().st_mode & 0o777 == 0o555
    assert not list(Path(shelf.path).glob("staging/org/name/*"))


def test_the_first_one_published_stays(shelf: Shelf, made: CacheKey, into: str) -> None:
    """A prime that comes second throws its own away, and says that another's is there."""
    publish(shelf, made, into)
    record = _found(shelf, made)
    Path(into, "vllm/model").write_bytes(b"compiled otherwise")
    assert publish(shelf, made, into)[1] == "present"
    assert _found(shelf, made) == record
    assert not list(Path(shelf.path).glob("staging/org/name/*"))


@pytest.mark.parametrize("name", ["caches.tar", ".compile-cache.json"])
def test_what_is_damaged_is_replaced(shelf: Shelf, made: CacheKey, into: str, name: str) -> None:
    """A changed byte in either makes it as good as not there for whoever primes."""
    publish(shelf, made, into)
    path = Path(shelf.path, "compile-cache", made.key, name)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"compiled", b"c0mpiled").replace(b":", b";", 1))
    assert present(shelf, made) is None
    assert publish(shelf, made, into)[1] == "made"
    assert present(shelf, made) is not None


def _leftover(shelf: Shelf, made: CacheKey, writer: dict[str, object], suffix: str) -> Path:
    name = f"compile-cache-{os.path.basename(made.key)}.{suffix}"
    folder = Path(shelf.path, "staging/org/name", name)
    folder.mkdir(parents=True)
    (folder / ".writer.json").write_text(json.dumps(writer))
    return folder


def test_what_dead_primes_left_is_swept(
    shelf: Shelf, made: CacheKey, into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of gone processes go, forgotten ones too; one that is being written stays."""
    gone = _leftover(shelf, made, _GONE, "gone")
    alive = _leftover(shelf, made, ProcessIdentity.of_this_process().to_json(), "alive")
    publish(shelf, made, into)
    assert not gone.exists()
    assert alive.exists()
    monkeypatch.setattr(cache_publish, "now_at", lambda _: alive.stat().st_mtime + 3601)
    publish(shelf, made, into)
    assert not alive.exists()


def test_a_failure_leaves_nothing(
    shelf: Shelf, made: CacheKey, into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full while it is packed shows in no folder of the shelf."""

    def full(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_publish, "pack", full)
    with pytest.raises(KeyboardInterrupt):
        publish(shelf, made, into)
    assert not list(Path(shelf.path).glob("staging/org/name/*"))
    assert _found(shelf, made) is None


@needs_modes
def test_a_shelf_that_may_not_be_written_is_told(shelf: Shelf, made: CacheKey, into: str) -> None:
    """The error names the folder."""
    Path(shelf.path, "staging/org/name").chmod(0o555)
    with pytest.raises(NotWritableError, match="staging"):
        publish(shelf, made, into)
