"""What a shelf lists, finds and tags."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import small_models

from modelshelf.shelf.errors import (
    NotOnShelfError,
    UsageError,
)
from modelshelf.shelf.files import make_folders
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot

_FILES = {"config.json": b"{}", "sub/deep/model.safetensors": b"weights"}
_A, _B = "a" * 40, "b" * 40


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _unlock(snapshot: Snapshot) -> None:
    """Let a test change a published snapshot."""
    os.chmod(str(snapshot.path), 0o755)
    os.chmod(os.path.join(str(snapshot.path), ".snapshot.json"), 0o644)


def test_snapshots_are_listed_newest_first(shelf: Shelf) -> None:
    """Snapshots of all models, or of one, are listed newest first."""
    old = small_models.put(shelf, "org/name", _FILES, commit=_A, created=100)
    new = small_models.put(shelf, "org/name", _FILES, commit=_B, created=300)
    other = small_models.put(shelf, "org/other", _FILES, commit=_A, created=200)
    assert shelf.snapshots() == [new, other, old]
    assert shelf.snapshots("org/name") == [new, old]
    assert shelf.snapshots("org/none") == []
    assert [s.path for s in shelf.snapshots("org/name")] == [
        f"{shelf.path}/models/org/name/{s.id}" for s in (new, old)
    ]


def test_strange_things_among_the_models_are_ignored(shelf: Shelf) -> None:
    """Files and folders that are no snapshots are not listed, and do no harm."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    _write(os.path.join(shelf.path, "models/file"), b"")
    _write(os.path.join(shelf.path, "models/org/file"), b"")
    _write(os.path.join(shelf.path, "models/org/name/file"), b"")
    make_folders(shelf.path, "models/org/name/empty")
    make_folders(shelf.path, "models/.probe.x")
    assert shelf.snapshots() == [snapshot]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"files": 1}',
        b"\xff",
        b"[" * 100_000,
        None,
        "folder",
        {"commit": _B},
        {"repo_id": "org/other"},
        {"repo_id": "../../x"},
        {"files": []},
        {"files": None},
        {"created": None},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_snapshot_without_a_right_record_is_not_there(
    shelf: Shelf, record: bytes | str | dict[str, object] | None
) -> None:
    """A damaged, missing or foreign record makes the snapshot absent, and breaks no listing."""
    other = small_models.put(shelf, "org/other", _FILES)
    snapshot = small_models.put(shelf, "org/name", _FILES)
    _unlock(snapshot)
    path = os.path.join(str(snapshot.path), ".snapshot.json")
    os.unlink(path)
    if record == "folder":
        os.mkdir(path)
    elif isinstance(record, bytes):
        _write(path, record)
    elif isinstance(record, dict):
        _write(path, json.dumps({**snapshot.to_json(), **record}).encode())
    assert shelf.get("org/name", snapshot.id) is None
    assert shelf.snapshots() == [other]
    with pytest.raises(NotOnShelfError):
        shelf.find("org/name")


def test_a_model_is_found_by_name_tag_or_first_digits(shelf: Shelf) -> None:
    """A reference finds the newest snapshot, a tagged one, or one by its first digits."""
    old = small_models.put(shelf, "org/name", _FILES, commit=_A, created=1)
    new = small_models.put(shelf, "org/name", _FILES, commit=_B, created=2)
    shelf.tag(old, "prod")
    assert shelf.find("org/name") == new
    assert shelf.find("org/name@prod") == old
    assert shelf.find("org/name@a") == old
    assert shelf.find(f"org/name@{new.id}") == new


def test_a_tag_comes_before_digits(shelf: Shelf) -> None:
    """A tag that looks like an id's first digits is still the tag."""
    old = small_models.put(shelf, "org/name", _FILES, commit=_A)
    small_models.put(shelf, "org/name", _FILES, commit=_B)
    shelf.tag(old, "bbb")
    assert shelf.find("org/name@bbb") == old


def test_the_newest_that_fits_is_found(shelf: Shelf) -> None:
    """An engine asks for the newest that it can serve."""
    gguf = small_models.put(shelf, "org/name", {"m.gguf": b"g"}, created=1)
    small_models.put(shelf, "org/name", {"m.safetensors": b"s"}, created=2)

    def has_gguf(snapshot: Snapshot) -> bool:
        return any(file.path.endswith(".gguf") for file in snapshot.files)

    assert shelf.find("org/name", accept=has_gguf) == gguf
    with pytest.raises(NotOnShelfError, match="has the files this needs") as e:
        shelf.find("org/name", accept=lambda _: False)
    assert "--for" in e.value.hint


def test_digits_that_begin_several_ids_are_an_error_that_lists_them(shelf: Shelf) -> None:
    """Two choices of files from one commit begin alike."""
    one = small_models.put(shelf, "org/name", {"a": b"1"}, commit=_A)
    two = small_models.put(shelf, "org/name", {"b": b"2"}, commit=_A)
    with pytest.raises(UsageError, match="fits several snapshots") as e:
        shelf.find("org/name@aaaa")
    assert one.id in str(e.value)
    assert two.id in str(e.value)
    assert shelf.find(f"org/name@{one.id}") == one


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("org/none", "org/none is not on the shelf"),
        ("org/name@c", "has neither a tag nor a snapshot 'c'"),
        ("org/name@gone", "has neither a tag nor a snapshot 'gone'"),
    ],
)
def test_what_is_not_there_is_said_not_to_be(shelf: Shelf, ref: str, words: str) -> None:
    """A model, tag or id that the shelf has not is named, with exit code 11."""
    small_models.put(shelf, "org/name", _FILES, commit=_A)
    gone = small_models.put(shelf, "org/name", _FILES, commit=_B)
    shelf.tag(gone, "gone")
    shelf.move_to_trash(str(gone.path))
    with pytest.raises(NotOnShelfError, match=words) as e:
        shelf.find(ref)
    assert e.value.exit_code == 11
    assert "modelshelf" in e.value.hint


def test_a_tag_moves_and_remembers(shelf: Shelf) -> None:
    """A tag's file keeps its older snapshots, the last one first."""
    snapshots = [small_models.put(shelf, "org/name", _FILES, commit=c * 40) for c in "abc"]
    assert shelf.tags("org/name") == {}
    for snapshot in [*snapshots, snapshots[2]]:
        shelf.tag(snapshot, "prod")
    shelf.tag(snapshots[0], "dev")
    assert shelf.tags("org/name") == {"prod": snapshots[2].id, "dev": snapshots[0].id}
    record = json.loads(Path(shelf.path, "tags/org/name/prod.json").read_text())
    assert record == {
        "snapshot": snapshots[2].id,
        "previous": [snapshots[1].id, snapshots[0].id],
    }


def test_tags_of_models_with_the_same_name_are_apart(shelf: Shelf) -> None:
    """Each model has its own tags."""
    shelf.tag(small_models.put(shelf, "one/name", _FILES), "prod")
    assert shelf.tags("two/name") == {}


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b'{"previous": 7}', b'{"snapshot": 7, "previous": null}']
)
def test_a_damaged_tag_is_none_and_can_be_set_anew(shelf: Shelf, damage: bytes) -> None:
    """A tag whose file is damaged points nowhere and can be set again."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    shelf.tag(snapshot, "prod")
    _write(os.path.join(shelf.path, "tags/org/name/prod.json"), damage)
    assert shelf.tags("org/name") == {}
    shelf.tag(snapshot, "prod")
    assert shelf.tags("org/name") == {"prod": snapshot.id}


def test_only_what_is_there_can_be_tagged(shelf: Shelf) -> None:
    """Only a snapshot on the shelf can be tagged, and a tag is a plain word."""
    snapshot = small_models.put(shelf, "org/name", _FILES)
    with pytest.raises(UsageError, match="cannot be a tag"):
        shelf.tag(snapshot, "../prod")
    shelf.move_to_trash(str(snapshot.path))
    with pytest.raises(NotOnShelfError):
        shelf.tag(snapshot, "prod")
