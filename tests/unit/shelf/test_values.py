"""References, files and snapshots as values."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import File, ModelRef, Snapshot, canonical_json, files_digest

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SHA256 = "a" * 64
_SHA1 = "b" * 40
_FILES = (
    File("config.json", 2, git_sha1=_SHA1),
    File("model.safetensors", 10, lfs_sha256=_SHA256),
)


def _snapshot(**fields: Any) -> Snapshot:
    plain = Snapshot(
        source="hf://org/name@main",
        repo_id="org/name",
        revision="main",
        commit=_COMMIT,
        files=_FILES,
    )
    return dataclasses.replace(plain, **fields)


@pytest.mark.parametrize(
    ("text", "org", "name", "at"),
    [
        ("org/name", "org", "name", None),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai", "Mistral-7B-Instruct-v0.3", None),
        ("org/name@prod", "org", "name", "prod"),
        ("org/name@0123abcd-89", "org", "name", "0123abcd-89"),
        ("0rg/n_a-m.e", "0rg", "n_a-m.e", None),
    ],
)
def test_a_reference_is_read_and_written_alike(
    text: str, org: str, name: str, at: str | None
) -> None:
    """The three forms are read into their parts and print as they were written."""
    ref = ModelRef.parse(text)
    assert ref == ModelRef(org, name, at)
    assert str(ref) == text
    assert ref.repo_id == f"{org}/{name}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "/name",
        "org/",
        "a/b/c",
        "org/name@",
        "org/name@a@b",
        "org/name@a/b",
        "../name",
        "org/..",
        "org/a..b",
        "org/.hidden",
        "-org/name",
        "org/name ",
        "org/name\n",
        "org/na\0me",
        "örg/name",
        "hf://org/name",
        f"org/{'n' * 97}",
        f"{'o' * 70}/{'n' * 70}",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Anything else is a usage error that quotes the text and shows the forms."""
    with pytest.raises(UsageError, match="does not name a model") as e:
        ModelRef.parse(text)
    assert "org/name@tag" in e.value.hint


def test_an_id_can_be_computed_by_hand() -> None:
    """The id is the commit and 8 digits of sha256 over `path NUL checksum LF`, sorted by path."""
    by_hand = hashlib.sha256(
        b"config.json\0" + b"b" * 40 + b"\n" + b"model.safetensors\0" + b"a" * 64 + b"\n"
    ).hexdigest()
    assert by_hand == "444875dc26c4a5fa2203650fb3d848871d7722bd98833a8d69ba40f80869d0d5"
    assert files_digest(_FILES) == by_hand
    assert files_digest(reversed(_FILES)) == by_hand
    assert _snapshot().id == f"{_COMMIT}-444875dc"


def test_an_id_does_not_change_when_the_bytes_were_hashed() -> None:
    """What a pull learns (the sha256, the time, the tool) leaves the id alone."""
    hashed = tuple(dataclasses.replace(file, sha256="c" * 64) for file in _FILES)
    assert _snapshot(files=hashed, created=1.5, tool="x").id == _snapshot().id


@pytest.mark.parametrize(
    "files",
    [
        _FILES[:1],
        (_FILES[0], dataclasses.replace(_FILES[1], path="model-2.safetensors")),
        (_FILES[0], dataclasses.replace(_FILES[1], lfs_sha256="d" * 64)),
    ],
    ids=["fewer", "another name", "another content"],
)
def test_another_choice_of_files_is_another_id(files: tuple[File, ...]) -> None:
    """Fewer files, another name or another content give another id of the same commit."""
    other = _snapshot(files=files)
    assert other.id != _snapshot().id
    assert other.id.startswith(f"{_COMMIT}-")


@pytest.mark.parametrize(
    ("file", "checksum", "content"),
    [
        (File("f", 1, lfs_sha256=_SHA256, git_sha1=_SHA1), _SHA256, _SHA256),
        (File("f", 1, git_sha1=_SHA1), _SHA1, None),
        (File("f", 1, git_sha1=_SHA1, sha256=_SHA256), _SHA1, _SHA256),
        (File("f", 1, sha256=_SHA256), _SHA256, _SHA256),
        (File("f", 1), "", None),
    ],
)
def test_the_source_s_checksum_comes_first(file: File, checksum: str, content: str | None) -> None:
    """A file is identified by what its source states, and else by what was measured."""
    assert file.checksum == checksum
    assert file.content_sha256 == content


def _hex(digits: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=digits, max_size=digits)


_files = st.builds(
    File,
    path=st.text(min_size=1),
    size=st.integers(min_value=0, max_value=1 << 50),
    sha256=st.none() | _hex(64),
) | st.builds(
    File,
    path=st.text(min_size=1),
    size=st.integers(min_value=0, max_value=1 << 50),
    lfs_sha256=_hex(64),
    sha256=st.none() | _hex(64),
)


@given(
    snapshot=st.builds(
        Snapshot,
        source=st.text(),
        repo_id=st.just("org/name"),
        revision=st.text(),
        commit=_hex(40),
        files=st.lists(_files, max_size=4).map(tuple),
        created=st.floats(min_value=0, max_value=1e11),
        tool=st.text(),
    )
)
def test_a_snapshot_survives_json(snapshot: Snapshot) -> None:
    """What `to_json` writes, `from_json` reads back as the same value."""
    text = json.dumps(snapshot.to_json())
    assert Snapshot.from_json(json.loads(text)) == snapshot


def test_the_form_on_the_disk_is_this() -> None:
    """The keys of `.snapshot.json` are those that the layout documents."""
    assert _snapshot(created=1.5, tool="t").to_json() == {
        "source": "hf://org/name@main",
        "repo_id": "org/name",
        "revision": "main",
        "commit": _COMMIT,
        "created": 1.5,
        "tool": "t",
        "files": [
            {"path": "config.json", "size": 2, "sha256": None, "origin": {"git_sha1": _SHA1}},
            {
                "path": "model.safetensors",
                "size": 10,
                "sha256": None,
                "origin": {"lfs_sha256": _SHA256},
            },
        ],
    }


def test_a_snapshot_knows_its_size_and_where_it_was_read() -> None:
    """Sizes add up, and the folder it was read from is no part of the value."""
    read = Snapshot.from_json(_snapshot().to_json(), "/shelf/x")
    assert read.size == 12
    assert read.path == "/shelf/x"
    assert read == _snapshot()


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "main"},
        {"commit": None},
        {"commit": "A" * 40},
        {"commit": _COMMIT + "0"},
        {"repo_id": "name"},
        {"repo_id": "../../etc"},
        {"repo_id": "org/.."},
        {"repo_id": "org/name@main"},
        {"repo_id": None},
        {"created": "yesterday"},
        {"files": None},
        {"files": ["config.json"]},
        {"files": [{"path": "x"}]},
        {"files": [{"path": "x", "size": -1, "origin": {}}]},
        {"files": [{"path": "x", "size": "big", "origin": {}}]},
        {"files": [{"path": "x", "size": 1, "origin": {"lfs_sha256": "short"}}]},
        {"files": [{"path": "x", "size": 1, "origin": {"git_sha1": 7}}]},
        {"files": [{"path": "x", "size": 1, "origin": {}, "sha256": "z" * 64}]},
        {"files": [{"path": "x", "size": 1, "origin": []}]},
    ],
    ids=str,
)
def test_json_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    """A record that lacks something, or holds nonsense, raises one of the documented errors."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Snapshot.from_json({**_snapshot().to_json(), **change})


@pytest.mark.parametrize("missing", ["source", "repo_id", "revision", "commit", "files", "tool"])
def test_json_that_lacks_a_key_is_refused(missing: str) -> None:
    """Every key is needed."""
    data = _snapshot().to_json()
    del data[missing]
    with pytest.raises(KeyError):
        Snapshot.from_json(data)


def test_one_value_has_one_spelling() -> None:
    """Canonical JSON sorts keys, leaves out spaces, keeps Unicode and ends in a newline."""
    assert canonical_json({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}\n'.encode()
