"""modelshelf.lock: what it holds, and when it no longer fits."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.config.file import parse
from modelshelf.config.lock import (
    FileChoice,
    Lock,
    LockedModel,
    choice_for,
    lock_path,
    parse_lock,
    read_lock,
    refuse_stale,
    refuse_too_large,
    stale_models,
    surplus_models,
)
from modelshelf.shelf.errors import NoSpaceError, UsageError
from modelshelf.shelf.values import File, Snapshot

CONFIG = """
namespace: llm
shelf: {nfs: {server: nas, path: /models, size: 1Ki}}
models:
  a: {source: hf://org/a}
  b: {source: hf://org/b, include: ["*Q4*"]}
servers:
  s: {model: a}
  t: {model: b, engine: llamacpp}
"""
FILES = (
    File("config.json", 2, git_sha1="1" * 40),
    File("model.safetensors", 1000, lfs_sha256="2" * 64),
)
A = LockedModel(
    "hf://org/a", FileChoice("vllm"), Snapshot("hf://org/a@main", "org/a", "main", "a" * 40, FILES)
)
B = LockedModel(
    "hf://org/b",
    FileChoice("llamacpp", ("*Q4*",)),
    Snapshot("hf://org/b@main", "org/b", "main", "b" * 40, FILES[:1]),
)
LOCK = Lock({"a": A, "b": B})


def test_a_lock_has_a_line_for_each_file() -> None:
    """The text makes readable diffs: sorted models, one line for each file, and no times."""
    text = Lock({"b": B, "a": A}).dump()
    assert text == LOCK.dump()
    assert text.endswith("\n}\n")
    lines = text.splitlines()
    assert sum("model.safetensors" in line for line in lines) == 1
    assert next(line for line in lines if "model.safetensors" in line).startswith(
        '          {"path"'
    )
    data = json.loads(text)
    assert list(data) == ["version", "models"]
    assert list(data["models"]) == ["a", "b"]
    assert data["models"]["a"]["id"] == A.snapshot.id
    assert set(data["models"]["a"]["snapshot"]) == {
        "source",
        "repo_id",
        "revision",
        "commit",
        "files",
    }


_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
_FILES = st.lists(
    st.builds(File, st.text(min_size=1, max_size=20), st.integers(0, 2**50), lfs_sha256=_HEX),
    min_size=1,
    max_size=5,
    unique_by=lambda file: file.path,
)
_CHOICES = st.builds(
    FileChoice,
    st.sampled_from(["vllm", "llamacpp", None]),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
    st.booleans(),
    st.booleans(),
    st.none() | st.just("org/name"),
)


def test_only_another_hub_is_recorded() -> None:
    """The endpoint is a line of the lock where it is not the usual one."""
    assert "endpoint" not in LOCK.dump()
    mirrored = dataclasses.replace(A, endpoint="http://mirror:8090")
    text = Lock({"a": mirrored}).dump()
    assert json.loads(text)["models"]["a"]["endpoint"] == "http://mirror:8090"


@given(_FILES, _CHOICES, st.sampled_from(["https://huggingface.co", "http://mirror"]))
def test_a_lock_round_trips(files: list[File], choice: FileChoice, endpoint: str) -> None:
    """A lock that is dumped and parsed again is equal, and is dumped as the same text."""
    snapshot = Snapshot("hf://org/a@main", "org/a", "main", "c" * 40, tuple(files))
    lock = Lock({"m": LockedModel("hf://org/a", choice, snapshot, endpoint)})
    assert parse_lock(lock.dump()) == lock
    assert parse_lock(lock.dump()).dump() == lock.dump()


def test_a_lock_is_read(tmp_path: pathlib.Path) -> None:
    """A missing file is an empty lock; the path is that of the YAML file with another ending."""
    path = lock_path(tmp_path / "modelshelf.yaml")
    assert path == os.fspath(tmp_path / "modelshelf.lock")
    assert lock_path("prod.yaml") == "prod.lock"
    assert read_lock(path) == Lock()
    pathlib.Path(path).write_text(LOCK.dump())
    assert read_lock(path) == LOCK
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_lock(tmp_path)


def _spoilt(old: str, new: str) -> str:
    text = LOCK.dump()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "models": []}',
        '{"version": 1, "models": {"a": {}}}',
        "[" * 10_000,
        "<<<<<<< HEAD\n" + LOCK.dump(),
        _spoilt("2" * 64, "3" * 64),
        _spoilt("2" * 64, "2" * 63),
        _spoilt('"a' + "a" * 39, '"c' + "a" * 39),
        _spoilt('"size": 1000', '"size": -1'),
        _spoilt('"repo_id": "org/a"', '"repo_id": "../a"'),
        _spoilt('"engine"', '"motor"'),
    ],
)
def test_a_damaged_lock_is_refused(text: str) -> None:
    """A lock that was truncated, merged badly or edited is refused with advice."""
    with pytest.raises(UsageError, match=r"^x\.lock is damaged$") as caught:
        parse_lock(text, "x.lock")
    assert "run modelshelf lock" in caught.value.hint


def test_a_newer_lock_is_refused() -> None:
    """A lock of a newer format is refused without reading its models."""
    with pytest.raises(UsageError, match="newer modelshelf") as caught:
        parse_lock('{"version": 2, "models": []}')
    assert "upgrade modelshelf" in caught.value.hint


def test_what_is_stale() -> None:
    """A model is stale if it is missing, or if its source or choice of files has changed."""
    config = parse(CONFIG)
    assert stale_models(config, Lock()) == ("a", "b")
    assert stale_models(config, LOCK) == ()
    assert stale_models(config, LOCK.only(["b"])) == ("a",)
    for old, new in (
        ("hf://org/a", "hf://org/a@v2"),
        ("hf://org/a}", "hf://org/a, exclude: [x]}"),
        ("hf://org/a}", "hf://org/a, allowUnsafe: true}"),
        ("hf://org/a}", "hf://org/a, allFiles: true}"),
        ("hf://org/a}", "hf://org/a, name: x/y}"),
        ("model: a}", "model: a, engine: llamacpp}"),
    ):
        assert stale_models(parse(CONFIG.replace(old, new)), LOCK) == ("a",), new


def test_what_does_not_count() -> None:
    """A change that does not affect the files does not make a model stale."""
    for old, new in (
        ("model: a}", "model: a, replicas: 5}"),
        ("model: a}", "model: a, engine: custom, image: x, command: ['{model}']}"),
        ("hf://org/a}", "hf://org/a, from: old}"),
        ("hf://org/a}", "hf://org/a, engine: vllm}"),
    ):
        assert stale_models(parse(CONFIG.replace(old, new)), LOCK) == (), new


def test_the_engine_that_files_are_chosen_for() -> None:
    """The engine is the model's own, else that of its servers, else None."""
    config = parse(CONFIG)
    assert choice_for(config, "a") == FileChoice("vllm")
    assert choice_for(config, "b") == FileChoice("llamacpp", ("*Q4*",))
    alone = parse(CONFIG.replace("  s: {model: a}\n", ""))
    assert choice_for(alone, "a") == FileChoice(None)
    both = config.model_copy(
        update={
            "servers": {
                **config.servers,
                "u": config.servers["t"].model_copy(update={"model": "a"}),
            }
        }
    )
    with pytest.raises(UsageError, match=r"models\.a is served by u \(llamacpp\) and s \(vllm\)"):
        choice_for(both, "a")


def test_locked_refuses_what_would_change() -> None:
    """--locked refuses a lock in which a model is missing, changed or superfluous."""
    config = parse(CONFIG)
    refuse_stale(config, LOCK)
    assert surplus_models(config, LOCK.with_model("old", A)) == ("old",)
    for lock, name in (
        (Lock(), "a, b"),
        (LOCK.only(["a"]), "b"),
        (LOCK.with_model("old", A), "old"),
        (LOCK.with_model("a", B), "a"),
    ):
        with pytest.raises(UsageError, match=f"says now: {name} would change"):
            refuse_stale(config, lock)


def test_a_model_larger_than_the_share_is_refused() -> None:
    """If the file states the size of the share, a larger model is refused."""
    config = parse(CONFIG)
    refuse_too_large(config, LOCK)
    large = Snapshot("hf://org/a@main", "org/a", "main", "a" * 40, (File("m", 2048, "2" * 64),))
    lock = LOCK.with_model("a", LockedModel("hf://org/a", FileChoice("vllm"), large))
    with pytest.raises(NoSpaceError, match=r"models\.a has 2Ki, more than the 1Ki of shelf\.nfs"):
        refuse_too_large(config, lock)
    refuse_too_large(parse(CONFIG.replace(", size: 1Ki", "")), lock)
