"""`modelshelf render` on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from hub import Hub
from huggingface_hub import constants

from modelshelf.cli.main import main

_EXAMPLE = Path(__file__).parents[2] / "examples" / "llamacpp-hostpath"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A modelshelf.yaml with its lock in the current folder, and no Hub."""
    for name in ("modelshelf.yaml", "modelshelf.lock"):
        shutil.copyfile(_EXAMPLE / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "modelshelf.yaml"


def test_objects_are_written_to_stdout(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without -o, stdout is one stream for `kubectl apply -f -` and nothing else."""
    assert main(["render"]) == 0

    kinds = [obj["kind"] for obj in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds[0] == "Namespace"
    assert kinds.index("Job") < kinds.index("Deployment")


def test_objects_are_json_on_request(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, stdout is one JSON document."""
    assert main(["render", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)[0]["kind"] == "Namespace"


def test_a_folder_is_brought_up_to_date(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`render -o` reports each file that it writes, and a second run reports none."""
    assert main(["render", "-o", "deploy"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "created: deploy/serve/30-smollm2.yaml" in printed.err

    assert main(["render", "-o", "deploy"]) == 0
    assert capsys.readouterr().err == "deploy is up to date: 7 files\n"


def test_a_folder_is_reported_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each file is reported with what happened to it."""
    assert main(["render", "-o", "deploy", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["folder"] == "deploy"
    assert document["files"]["pull/00-namespace.yaml"] == "created"


def test_a_new_model_is_locked(
    file: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`render` resolves a model that the lock does not have and writes it to the lock."""
    repo = hub.add("acme/tiny", {"config.json": b"{}", "tiny.gguf": b"GGUF"}, lfs=["tiny.gguf"])
    # huggingface_hub reads the variable once, when it is imported: other tests may have done so.
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    file.write_text(
        f"namespace: llm\nshelf: {{claim: models}}\nhub: {{endpoint: '{hub.url}'}}\n"
        "models: {tiny: {source: hf://acme/tiny, engine: llamacpp}}\n"
    )

    assert main(["render", "--locked"]) == 2
    assert "modelshelf lock" in capsys.readouterr().err

    assert main(["render", "-o", "deploy"]) == 0
    assert repo.commit in (file.parent / "modelshelf.lock").read_text()
    assert "tiny: hf://acme/tiny@main" in capsys.readouterr().err


def test_refreshing_code_needs_a_folder(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--refresh-code without -o is refused, since stdout has no older map."""
    assert main(["render", "--refresh-code"]) == 2
    assert "-o DIR" in capsys.readouterr().err
