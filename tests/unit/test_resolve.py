"""From modelshelf.yaml to a lock, with sources that are asked nothing over a network."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import pytest

from modelshelf import resolve, sources
from modelshelf.config.file import parse
from modelshelf.config.lock import FileChoice, Lock, read_lock
from modelshelf.shelf import files
from modelshelf.shelf.errors import (
    Error,
    NoSpaceError,
    NotAuthorisedError,
    NotFoundError,
    NotWritableError,
    ShelfError,
    UsageError,
)
from modelshelf.shelf.values import File
from modelshelf.sources import Listing
from modelshelf.sources.listing import shelf_name

CONFIG = """
namespace: llm
shelf: {nfs: {server: nas, path: /models, size: 1Mi}}
hub: {endpoint: "https://hub.example"}
models:
  a: {source: hf://org/a}
  b: {source: hf://org/b@v1}
servers:
  s: {model: a}
  t: {model: b}
"""


class Repositories:
    """A substitute for the Hub: its `main` can move, and it records what it was asked."""

    def __init__(self) -> None:
        self.commit = "1" * 40
        self.files = {"config.json": 2, "model.safetensors": 1000, "model.onnx": 5}
        self.asked: list[str] = []
        self.endpoints: set[str | None] = set()
        self.error: Error | None = None

    def resolve(
        self, uri: str, *, name: str | None = None, endpoint: str | None = None, **_: Any
    ) -> Listing:
        """What `sources.resolve` answers."""
        self.asked.append(uri)
        self.endpoints.add(endpoint)
        if self.error is not None:
            raise self.error
        repo, revision = f"{uri.removeprefix('hf://')}@".split("@")[:2]
        commit = revision if len(revision) == 40 else self.commit
        files = tuple(
            File(path, size, git_sha1=commit) for path, size in sorted(self.files.items())
        )
        revision = revision or "main"
        return Listing(
            f"hf://{repo}@{revision}", name or repo, revision, commit, files, endpoint=endpoint
        )

    def read_texts(
        self, listing: Listing, paths: Iterable[str], *, endpoint: str | None = None, **_: Any
    ) -> dict[str, str]:
        """What `sources.read_texts` answers."""
        self.endpoints.add(endpoint)
        return {listing.file(path).path: "{}" for path in paths}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Repositories:
    """Repositories that `resolve` asks instead of the Hub."""
    repositories = Repositories()
    monkeypatch.setattr(sources, "resolve", repositories.resolve)
    monkeypatch.setattr(sources, "read_texts", repositories.read_texts)
    return repositories


def test_what_is_missing_is_resolved(hub: Repositories) -> None:
    """Each model is resolved once, at the endpoint of the file, and its chosen files are locked."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    assert hub.asked == ["hf://org/a", "hf://org/b@v1"]
    assert hub.endpoints == {"https://hub.example"}
    a = lock.models["a"]
    assert (a.source, a.choice) == ("hf://org/a", FileChoice("vllm"))
    assert [file.path for file in a.snapshot.files] == ["config.json", "model.safetensors"]
    assert (a.snapshot.source, a.snapshot.revision) == ("hf://org/a@main", "main")
    assert (a.snapshot.commit, a.snapshot.created, a.snapshot.tool) == ("1" * 40, 0.0, "")


def test_a_token_that_is_given_goes_to_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the caller gives is sent with every request."""
    repositories, given = Repositories(), []

    def listing_of(uri: str, *, token: str | None = None, **options: Any) -> Listing:
        given.append(token)
        return repositories.resolve(uri, **options)

    def read_texts(listing: Listing, paths: Iterable[str], **options: Any) -> dict[str, str]:
        given.append(options["token"])
        return repositories.read_texts(listing, paths, **options)

    monkeypatch.setattr(sources, "resolve", listing_of)
    monkeypatch.setattr(sources, "read_texts", read_texts)
    resolve.resolve_models(parse(CONFIG), Lock(), token="hf_given")
    assert given == ["hf_given"] * 4


def test_the_lock_records_the_hub_that_was_asked(hub: Repositories) -> None:
    """Pods ask the same Hub as the lock did, so the lock says which one that was."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    assert {locked.endpoint for locked in lock.models.values()} == {"https://hub.example"}


def test_a_floating_revision_does_not_move_by_itself(hub: Repositories) -> None:
    """A lock that fits stays the same, and the Hub is not asked."""
    config = parse(CONFIG)
    lock = resolve.resolve_models(config, Lock())
    hub.commit, hub.asked = "2" * 40, []
    assert resolve.resolve_models(config, lock) == lock
    assert hub.asked == []


def test_an_upgrade_moves_what_is_named(hub: Repositories) -> None:
    """One model, or all models, move to the current commit of their revision."""
    config = parse(CONFIG)
    lock = resolve.resolve_models(config, Lock())
    hub.commit, hub.asked = "2" * 40, []
    one = resolve.resolve_models(config, lock, upgrade=["a"])
    assert hub.asked == ["hf://org/a"]
    assert one.models["a"].snapshot.commit == "2" * 40
    assert one.models["b"] == lock.models["b"]
    every = resolve.resolve_models(config, lock, upgrade=True)
    assert {m.snapshot.commit for m in every.models.values()} == {"2" * 40}
    with pytest.raises(UsageError, match="no model 'aa'") as caught:
        resolve.resolve_models(config, lock, upgrade=["aa"])
    assert "it has a" in caught.value.hint


def test_another_choice_is_made_at_the_locked_commit(hub: Repositories) -> None:
    """If only the choice of files changes, the commit and the revision stay."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    hub.commit, hub.asked = "2" * 40, []
    config = parse(CONFIG.replace("hf://org/a}", "hf://org/a, allFiles: true}"))
    snapshot = resolve.resolve_models(config, lock).models["a"].snapshot
    assert hub.asked == [f"hf://org/a@{'1' * 40}"]
    assert (snapshot.commit, snapshot.revision) == ("1" * 40, "main")
    assert snapshot.source == "hf://org/a@main"
    assert len(snapshot.files) == 3


def test_another_revision_is_resolved_anew(hub: Repositories) -> None:
    """If the source changes, it is resolved again."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    hub.commit, hub.asked = "2" * 40, []
    config = parse(CONFIG.replace("hf://org/a}", "hf://org/a@v2}"))
    moved = resolve.resolve_models(config, lock).models["a"]
    assert hub.asked == ["hf://org/a@v2"]
    assert (moved.source, moved.snapshot.commit) == ("hf://org/a@v2", "2" * 40)


def test_a_model_that_left_the_file_leaves_the_lock(hub: Repositories) -> None:
    """A model that the file does not have is removed from the lock."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    text = CONFIG.replace("  b: {source: hf://org/b@v1}\n", "").replace("  t: {model: b}\n", "")
    assert list(resolve.resolve_models(parse(text), lock).models) == ["a"]


def test_errors_name_the_model(hub: Repositories) -> None:
    """An error of a source keeps its class, and its message begins with the model's key."""
    hub.error = NotAuthorisedError("org/a is gated", hint="accept its licence")
    with pytest.raises(NotAuthorisedError, match=r"^models\.a: org/a is gated$") as caught:
        resolve.resolve_models(parse(CONFIG), Lock())
    assert caught.value.hint == "accept its licence"


@pytest.mark.parametrize(
    ("error", "sentence", "hint"),
    [
        (
            NotFoundError("no file matches --include '*q9*'", hint="widen it"),
            'models.a: no file matches include: ["*q9*"]',
            "widen it",
        ),
        (
            UsageError("several", hint="--for vllm takes the safetensors"),
            "models.a: several",
            "engine: vllm takes the safetensors",
        ),
        (
            UsageError("code", hint="--allow-unsafe takes it anyway"),
            "models.a: code",
            "allowUnsafe: true takes it anyway",
        ),
    ],
)
def test_hints_name_keys_of_the_file(
    hub: Repositories, error: Error, sentence: str, hint: str
) -> None:
    """Options of `pull` in errors are replaced by keys of modelshelf.yaml."""
    hub.error = error
    with pytest.raises(type(error)) as caught:
        resolve.resolve_models(parse(CONFIG), Lock())
    assert (str(caught.value), caught.value.hint) == (sentence, hint)


def test_a_locked_commit_that_is_gone(hub: Repositories) -> None:
    """If the locked commit no longer exists, the hint names lock --upgrade."""
    lock = resolve.resolve_models(parse(CONFIG), Lock())
    hub.error = NotFoundError("org/a has no revision")
    config = parse(CONFIG.replace("hf://org/a}", 'hf://org/a, exclude: ["*.md"]}'))
    with pytest.raises(NotFoundError) as caught:
        resolve.resolve_models(config, lock)
    assert "modelshelf lock --upgrade a" in caught.value.hint


def test_an_argument_that_the_engine_lacks_is_refused_before_anybody_is_asked(
    hub: Repositories,
) -> None:
    """The error names the server; nothing is resolved."""
    config = parse(CONFIG.replace("s: {model: a}", "s: {model: a, args: [--tool-call-parser=x]}"))
    with pytest.raises(UsageError, match=r"^servers\.s: vLLM 0\.32 has no --tool-call-parser 'x'"):
        resolve.resolve_models(config, Lock())
    assert hub.asked == []


def test_a_model_larger_than_the_share(hub: Repositories) -> None:
    """A model that is larger than the share is refused when it is resolved."""
    hub.files["model.safetensors"] = 2**21
    with pytest.raises(NoSpaceError, match=r"models\.a has 2049Ki, more than the 1Mi"):
        resolve.resolve_models(parse(CONFIG), Lock())


def test_a_file_is_opened_with_its_lock(hub: Repositories, tmp_path: pathlib.Path) -> None:
    """A missing lock is written beside the file, and a lock that fits is not written again."""
    file = tmp_path / "modelshelf.yaml"
    file.write_text(CONFIG)
    with pytest.raises(UsageError, match="a, b would change"):
        resolve.load_locked(str(file), locked=True)
    assert hub.asked == []
    opened = resolve.load_locked(str(file))
    assert opened.lock_path == str(tmp_path / "modelshelf.lock")
    assert (opened.previous_lock, opened.config) == (Lock(), parse(CONFIG))
    assert read_lock(opened.lock_path) == opened.lock
    before = os.stat(opened.lock_path)
    again = resolve.load_locked(str(file))
    assert (again.previous_lock, again.lock) == (opened.lock, opened.lock)
    after = os.stat(opened.lock_path)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert resolve.load_locked(str(file), locked=True).lock == opened.lock


def test_a_failed_lock_leaves_the_old_one(hub: Repositories, tmp_path: pathlib.Path) -> None:
    """If one model cannot be resolved, the lock's file stays as it was."""
    file = tmp_path / "modelshelf.yaml"
    file.write_text(CONFIG)
    text = pathlib.Path(resolve.load_locked(str(file)).lock_path).read_text()
    hub.error = NotFoundError("gone")
    with pytest.raises(NotFoundError):
        resolve.load_locked(str(file), upgrade=True)
    assert (tmp_path / "modelshelf.lock").read_text() == text
    assert sorted(os.listdir(tmp_path)) == ["modelshelf.lock", "modelshelf.yaml"]


def test_a_lock_is_written_through_a_link(tmp_path: pathlib.Path) -> None:
    """If the lock is a symbolic link, the file that it points to is replaced."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "modelshelf.lock"
    link.symlink_to("real/prod.lock")
    resolve.write_lock(str(link), Lock())
    assert link.is_symlink()
    assert read_lock(tmp_path / "real" / "prod.lock") == Lock()
    assert os.listdir(tmp_path / "real") == ["prod.lock"]


def test_a_lock_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    """The error names the lock's file, and its hint does not mention the shelf."""
    with pytest.raises(ShelfError, match="nowhere") as caught:
        resolve.write_lock(str(tmp_path / "nowhere" / "modelshelf.lock"), Lock())
    assert "--shelf" not in caught.value.hint


def test_a_folder_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without write permission and a full disk are different errors."""
    for code, kind in ((errno.EACCES, NotWritableError), (errno.ENOSPC, NoSpaceError)):

        def refuse(path: str, data: bytes, code: int = code) -> None:
            raise OSError(code, os.strerror(code), path)

        monkeypatch.setattr(files, "write_bytes", refuse)
        with pytest.raises(kind, match=r"/srv"):
            resolve.write_lock("/srv/modelshelf.lock", Lock())


def test_the_choice_of_the_file_is_what_counts(hub: Repositories) -> None:
    """Patterns, name and engine of the file affect the choice, and are locked with it."""
    text = CONFIG.replace(
        "hf://org/a}", 'hf://org/a, name: me/mine, include: ["*.safetensors"], engine: vllm}'
    )
    locked = resolve.resolve_models(parse(text), Lock()).models["a"]
    assert locked.snapshot.repo_id == shelf_name("me/mine")
    assert [file.path for file in locked.snapshot.files] == ["model.safetensors"]
    assert locked.choice == dataclasses.replace(
        FileChoice("vllm", ("*.safetensors",)), name="me/mine"
    )
