"""`modelshelf lock` against a Hub on loopback."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator

import pytest
from hub import Content, Hub, safetensors
from huggingface_hub import constants

from modelshelf.cli.main import main
from modelshelf.config.lock import Lock, read_lock

FILES: dict[str, bytes | Content] = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": safetensors(300_000),
    "pytorch_model.bin": b"pickle",
}
LFS = {"model.safetensors", "pytorch_model.bin"}
SECRET = "hf_secretsecretsecret"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Hub]:
    """A Hub with two models, which modelshelf.yaml in the current folder names."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with Hub() as hub:
        hub.add("org/one", FILES, lfs=LFS)
        hub.add("org/two", FILES, lfs=LFS)
        write_file(hub)
        yield hub


def write_file(hub: Hub, models: str = "  one: {source: hf://org/one}\n", more: str = "") -> None:
    """Write modelshelf.yaml."""
    pathlib.Path("modelshelf.yaml").write_text(
        f"namespace: llm\nshelf: {{claim: models}}\nhub: {{endpoint: '{hub.url}'}}\n"
        f"models:\n{models}  two: {{source: hf://org/two}}\n{more}"
    )


def lock_file() -> str:
    """The text of the lock."""
    return pathlib.Path("modelshelf.lock").read_text()


def test_models_are_locked_at_the_endpoint_of_the_file(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commits, sizes and checksums are those of the Hub that the file names; no weights move."""
    assert main(["lock"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    one = hub._repos["org/one"]
    assert f"one: hf://org/one@main is {one.commit[:12]}-" in printed.err
    assert "3 files, 300 kB" in printed.err
    snapshot = read_lock().models["one"].snapshot
    assert snapshot.commit == one.commit
    assert [file.path for file in snapshot.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert {file.path: file.lfs_sha256 for file in snapshot.files}["model.safetensors"] == (
        one.files["model.safetensors"].sha256
    )
    assert hub.bytes_sent("*.safetensors") == 0


def test_locking_again_changes_nothing(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run asks nobody and says that all is as it was, though the Hub moved."""
    assert main(["lock"]) == 0
    text = lock_file()
    hub._repos["org/one"].update({**FILES, "config.json": b"{ }"}, LFS)
    capsys.readouterr()
    hub.requests.clear()
    assert main(["lock"]) == 0
    assert "modelshelf.lock is up to date: 2 models" in capsys.readouterr().err
    assert lock_file() == text
    assert hub.requests == []


def test_an_upgrade_moves_one_model(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """The model that is named moves to its newest commit; how many bytes are new is said."""
    assert main(["lock"]) == 0
    before = read_lock()
    for name in ("org/one", "org/two"):
        hub._repos[name].update({**FILES, "tokenizer.json": b"{ }"}, LFS)
    capsys.readouterr()
    assert main(["lock", "--upgrade", "one"]) == 0
    said = capsys.readouterr().err
    after = read_lock()
    new = hub._repos["org/one"].commit
    assert after.models["one"].snapshot.commit == new
    assert after.models["two"] == before.models["two"]
    assert f"one: {before.models['one'].snapshot.commit[:12]}-" in said
    assert f" → {new[:12]}-" in said
    assert "3 B of them new" in said
    assert "two" not in said


def test_an_upgrade_without_names_moves_all(hub: Hub) -> None:
    """Each model moves to its newest commit."""
    assert main(["lock"]) == 0
    for name in ("org/one", "org/two"):
        hub._repos[name].update({**FILES, "tokenizer.json": b"{ }"}, LFS)
    assert main(["lock", "--upgrade"]) == 0
    commits = {locked.snapshot.commit for locked in read_lock().models.values()}
    assert commits == {hub._repos[name].commit for name in ("org/one", "org/two")}


def test_the_names_come_from_programs_too(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON document says what is locked, what it was before, and whether anything changed."""
    assert main(["lock"]) == 0
    first = read_lock().models["one"].snapshot
    write_file(hub, "  one: {source: hf://org/one, allFiles: true}\n")
    capsys.readouterr()
    assert main(["lock", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["lock"], said["changed"], said["removed"]) == ("modelshelf.lock", True, [])
    assert said["models"]["one"]["before"] == first.id
    assert said["models"]["one"]["commit"] == first.commit
    assert said["models"]["two"]["before"] == said["models"]["two"]["id"]


def test_what_left_the_file_leaves_the_lock(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is no longer wanted is removed, and that is said."""
    assert main(["lock"]) == 0
    write_file(hub, "")
    capsys.readouterr()
    assert main(["lock"]) == 0
    assert capsys.readouterr().err == "one: removed\n"
    assert list(read_lock().models) == ["two"]


@pytest.mark.parametrize("option", ["--locked", "--check"])
def test_locked_changes_nothing(option: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """For CI: exit code 2 if the lock would change, 0 if it fits; nobody is asked."""
    assert main(["lock", option]) == 2
    assert "one, two would change" in capsys.readouterr().err
    assert not os.path.exists("modelshelf.lock")
    assert hub.requests == []
    assert main(["lock"]) == 0
    assert main(["lock", option]) == 0
    write_file(hub, "  one: {source: hf://org/one@main}\n")
    assert main(["lock", option]) == 2
    assert "one would change" in capsys.readouterr().err


def test_a_lock_lies_beside_its_file(hub: Hub) -> None:
    """Another file has another lock, in its own folder."""
    os.mkdir("prod")
    os.rename("modelshelf.yaml", "prod/gpu.yaml")
    assert main(["lock", "--file", "prod/gpu.yaml"]) == 0
    assert sorted(os.listdir("prod")) == ["gpu.lock", "gpu.yaml"]
    assert sorted(read_lock("prod/gpu.lock").models) == ["one", "two"]


def test_hf_endpoint_wins(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where HF_ENDPOINT names another Hub, that one is asked."""
    with Hub() as other:
        other.add("org/one", FILES, lfs=LFS)
        other.add("org/two", FILES, lfs=LFS)
        monkeypatch.setattr(constants, "ENDPOINT", other.url)
        assert main(["lock"]) == 0
        assert hub.requests == []
        assert other.requests != []


def test_a_token_is_used_and_not_kept(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A private model is locked with HF_TOKEN, which stands nowhere afterwards."""
    hub.add("org/one", FILES, lfs=LFS, token=SECRET)
    assert main(["lock"]) == 11  # as a Hub answers for what may not be seen
    assert "models.one: " in capsys.readouterr().err
    assert not os.path.exists("modelshelf.lock")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert main(["lock"]) == 0
    printed = capsys.readouterr()
    assert SECRET not in lock_file() + printed.err + printed.out


@pytest.mark.parametrize(
    ("models", "code", "words"),
    [
        ("  one: {source: hf://org/none}\n", 11, "models.one: "),
        ("  one: {source: hf://org/one@v9}\n", 11, "models.one: org/one has no revision 'v9'"),
        ("  one: {source: hf://org/one, include: ['*.gguf']}\n", 11, 'include: ["*.gguf"]'),
        ("  one: {source: hf://org/one, engine: llamacpp}\n", 11, "models.one: "),
        ("  one: {source: ./one}\n", 2, "modelshelf.yaml:5: models.one.source: it does not name"),
    ],
)
def test_what_cannot_be_locked(
    models: str, code: int, words: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's key is named, the exit code says what kind of fault it is, nothing is written."""
    write_file(hub, models)
    assert main(["lock"]) == code
    assert words in capsys.readouterr().err
    assert not os.path.exists("modelshelf.lock")


def test_what_makes_no_sense(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """Names without --upgrade, unknown names, and both options are usage errors."""
    assert main(["lock", "one"]) == 2
    assert "lock --upgrade one" in capsys.readouterr().err
    assert main(["lock", "--upgrade", "ones"]) == 2
    assert "it has one" in capsys.readouterr().err
    assert main(["lock", "--upgrade", "--locked"]) == 2
    assert "forbids" in capsys.readouterr().err
    pathlib.Path("modelshelf.lock").write_text("<<<<<<< HEAD\n")
    assert main(["lock"]) == 2
    assert "modelshelf.lock is damaged" in capsys.readouterr().err
    os.unlink("modelshelf.yaml")
    assert main(["lock"]) == 2
    assert "there is no modelshelf.yaml" in capsys.readouterr().err


def test_an_empty_file_of_models_is_an_empty_lock(hub: Hub) -> None:
    """A file may have no models at all, as before the last `down`."""
    pathlib.Path("modelshelf.yaml").write_text("namespace: llm\nshelf: {claim: c}\nmodels: {}\n")
    assert main(["lock"]) == 0
    assert not os.path.exists("modelshelf.lock")
    assert read_lock() == Lock()
