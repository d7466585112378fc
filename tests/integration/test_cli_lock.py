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
    """A Hub with two models, which the modelshelf.yaml of the current folder names."""
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


def lock_text() -> str:
    """The text of the lock."""
    return pathlib.Path("modelshelf.lock").read_text()


def test_models_are_locked_at_the_endpoint_of_the_file(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock has commits, sizes and checksums of the file's Hub; no weights are downloaded."""
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
    """A second `lock` asks no Hub and keeps the commits, although the Hub has newer ones."""
    assert main(["lock"]) == 0
    text = lock_text()
    hub._repos["org/one"].update({**FILES, "config.json": b"{ }"}, LFS)
    capsys.readouterr()
    hub.requests.clear()
    assert main(["lock"]) == 0
    assert "modelshelf.lock is up to date: 2 models" in capsys.readouterr().err
    assert lock_text() == text
    assert hub.requests == []


def test_an_upgrade_moves_one_model(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """`--upgrade MODEL` moves that model to its newest commit and says how many bytes are new."""
    assert main(["lock"]) == 0
    before = read_lock()
    for name in ("org/one", "org/two"):
        hub._repos[name].update({**FILES, "tokenizer.json": b"{ }"}, LFS)
    capsys.readouterr()
    assert main(["lock", "--upgrade", "one"]) == 0
    output = capsys.readouterr().err
    after = read_lock()
    new = hub._repos["org/one"].commit
    assert after.models["one"].snapshot.commit == new
    assert after.models["two"] == before.models["two"]
    assert f"one: {before.models['one'].snapshot.commit[:12]}-" in output
    assert f" → {new[:12]}-" in output
    assert "3 B of them new" in output
    assert "two" not in output


def test_an_upgrade_without_names_moves_all(hub: Hub) -> None:
    """`--upgrade` without names moves each model to its newest commit."""
    assert main(["lock"]) == 0
    for name in ("org/one", "org/two"):
        hub._repos[name].update({**FILES, "tokenizer.json": b"{ }"}, LFS)
    assert main(["lock", "--upgrade"]) == 0
    commits = {locked.snapshot.commit for locked in read_lock().models.values()}
    assert commits == {hub._repos[name].commit for name in ("org/one", "org/two")}


def test_lock_prints_a_json_document(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json one document says what is locked, what was before, and what changed."""
    assert main(["lock"]) == 0
    first = read_lock().models["one"].snapshot
    write_file(hub, "  one: {source: hf://org/one, allFiles: true}\n")
    capsys.readouterr()
    assert main(["lock", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["lock"], document["changed"], document["removed"]) == (
        "modelshelf.lock",
        True,
        [],
    )
    assert document["models"]["one"]["before"] == first.id
    assert document["models"]["one"]["commit"] == first.commit
    assert document["models"]["two"]["before"] == document["models"]["two"]["id"]


def test_a_removed_model_leaves_the_lock(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that left the file is removed from the lock, and the output says so."""
    assert main(["lock"]) == 0
    write_file(hub, "")
    capsys.readouterr()
    assert main(["lock"]) == 0
    assert capsys.readouterr().err == "one: removed\n"
    assert list(read_lock().models) == ["two"]


@pytest.mark.parametrize("option", ["--locked", "--check"])
def test_locked_changes_nothing(option: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """`--locked` exits with 2 if the lock would change and with 0 if not, and asks no Hub."""
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
    """The lock of another file is in that file's folder."""
    os.mkdir("prod")
    os.rename("modelshelf.yaml", "prod/gpu.yaml")
    assert main(["lock", "--file", "prod/gpu.yaml"]) == 0
    assert sorted(os.listdir("prod")) == ["gpu.lock", "gpu.yaml"]
    assert sorted(read_lock("prod/gpu.lock").models) == ["one", "two"]


def test_hf_endpoint_replaces_the_files_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lock` asks the Hub that HF_ENDPOINT names instead of the file's."""
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
    """HF_TOKEN locks a private model, and neither lock nor output contains it."""
    hub.add("org/one", FILES, lfs=LFS, token=SECRET)
    assert main(["lock"]) == 11  # as a Hub answers for what may not be seen
    assert "models.one: " in capsys.readouterr().err
    assert not os.path.exists("modelshelf.lock")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert main(["lock"]) == 0
    printed = capsys.readouterr()
    assert SECRET not in lock_text() + printed.err + printed.out


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
def test_a_model_that_cannot_be_locked_is_named(
    models: str, code: int, words: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the model's key, has the fault's exit code, and nothing is written."""
    write_file(hub, models)
    assert main(["lock"]) == code
    assert words in capsys.readouterr().err
    assert not os.path.exists("modelshelf.lock")


def test_wrong_options_are_refused(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """Names without --upgrade, unknown names, and both options at once are usage errors."""
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


def test_a_file_without_models_has_an_empty_lock(hub: Hub) -> None:
    """A file without models is valid and gets an empty lock."""
    pathlib.Path("modelshelf.yaml").write_text("namespace: llm\nshelf: {claim: c}\nmodels: {}\n")
    assert main(["lock"]) == 0
    assert not os.path.exists("modelshelf.lock")
    assert read_lock() == Lock()
