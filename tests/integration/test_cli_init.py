"""`modelshelf init`: the first file, written or asked for."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import subprocess
import sys
import time

import pytest

from modelshelf.cli.main import main
from modelshelf.config.file import Config, load

NFS = ["--nfs", "10.100.32.2:/2633050/7d1686e4-9212-420f-a593-ab544993d99b"]
MODEL = ["--model", "hf://mistralai/Mistral-7B-Instruct-v0.3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return tmp_path


def written(*argv: str) -> Config:
    """What the file says that a command line wrote."""
    assert main(["init", *argv]) == 0
    return load("modelshelf.yaml")


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What is said when nothing is written and the exit code is 2."""
    assert main(["init", *argv]) == 2
    assert os.listdir() == []
    return capsys.readouterr().err


def test_a_mount_source_and_a_model_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked; names come from the model; the words go to stderr."""
    config = written(*NFS, *MODEL)
    assert config.shelf.nfs is not None
    assert config.shelf.nfs.server == "10.100.32.2"
    assert config.shelf.nfs.path == "/2633050/7d1686e4-9212-420f-a593-ab544993d99b"
    assert config.namespace == "llm"
    model = config.models["mistral-7b-instruct-v0-3"]
    assert model.source == "hf://mistralai/Mistral-7B-Instruct-v0.3"
    server = config.servers["mistral"]
    assert (server.model, server.engine) == ("mistral-7b-instruct-v0-3", "vllm")
    assert (server.replicas, server.gpus) == (1, 1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "wrote modelshelf.yaml" in printed.err


def test_every_option_counts() -> None:
    """What is given is what the file says."""
    config = written(
        *("--storage-class", "shared", "--size", "50Gi", "--model", "org/Tiny-GGUF@v1"),
        *("--namespace", "prod", "--name", "chat", "--gpus", "2", "--include", "*q4*"),
    )
    assert config.shelf.storage_class is not None
    assert (config.shelf.storage_class.name, config.shelf.size) == ("shared", "50Gi")
    assert config.models["tiny-gguf"].source == "hf://org/Tiny-GGUF@v1"
    assert config.models["tiny-gguf"].include == ("*q4*",)
    server = config.servers["chat"]
    assert (config.namespace, server.engine, server.gpus) == ("prod", "llamacpp", 2)


@pytest.mark.parametrize(
    ("options", "kind", "size"),
    [
        (["--nfs", "[fd00::7]:/m", "--size", "1Ti"], "nfs", "1Ti"),
        (["--claim", "models"], "claim", None),
        (["--host-path", "/srv/models"], "hostPath", None),
    ],
)
def test_other_storage(options: list[str], kind: str, size: str | None) -> None:
    """A file can begin with each kind of shelf."""
    config = written(*options, *MODEL)
    assert (config.shelf.kind, config.shelf.size) == (kind, size)


def test_the_hub_that_is_set_here_is_the_hub_of_the_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HF_ENDPOINT goes into the file, for pods know nothing of this environment."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.internal:8080")
    assert written(*NFS, *MODEL).hub.endpoint == "http://hub.internal:8080"


def test_json_says_what_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs learn the names that were chosen."""
    written(*NFS, *MODEL, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "file": "modelshelf.yaml",
        "model": "mistral-7b-instruct-v0-3",
        "server": "mistral",
    }


def test_nothing_is_overwritten(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays as it is, a link that leads nowhere too."""
    path = folder / "modelshelf.yaml"
    path.write_text("mine")
    assert main(["init", *NFS, *MODEL]) == 2
    assert "there is a modelshelf.yaml already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to("elsewhere")
    assert main(["init", *NFS, *MODEL]) == 2
    assert os.listdir(folder) == ["modelshelf.yaml"]
    assert main(["init", *NFS, *MODEL, "--file", "other.yaml"]) == 0
    assert load("other.yaml").namespace == "llm"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([*NFS], "give --model hf://org/name"),
        ([*MODEL], "give one of --nfs, --claim, --storage-class or --host-path"),
        ([*NFS, "--claim", "c", *MODEL], "files lie in one place: give one of --nfs,"),
        (["--storage-class", "c", *MODEL], "give --size 100Gi"),
        (["--claim", "c", "--size", "1Gi", *MODEL], "leave out --size"),
        (["--nfs", "10.0.0.1/models", *MODEL], "write HOST:/PATH"),
        ([*NFS, "--model", "/srv/models/mistral"], "does not name a repository on the Hub"),
        ([*NFS, "--model", "s3://bucket/x"], "pods reach no other sources"),
        ([*NFS, *MODEL, "--name", "vllm"], "a server cannot be called 'vllm'"),
        ([*NFS, *MODEL, "--namespace", "My LLM"], "'my-llm' would do"),
        ([*NFS, *MODEL, "--size", "100 GB"], "'100 GB' is not a size"),
        ([*NFS, *MODEL, "--engine", "sglang"], "becomes engine: custom"),
    ],
)
def test_what_makes_no_sense(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing or wrong is named, nothing is written, nobody is asked."""
    assert words in refused(capsys, *argv)


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be written is exit code 13."""
    assert main(["init", *NFS, *MODEL, "--file", "no/where.yaml"]) == 13
    assert "no/where.yaml cannot be written: No such file" in capsys.readouterr().err


def _on_a_terminal(answers: bytes, *argv: str) -> tuple[int, str]:
    """Exit code and words of a process whose stdin and stderr are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelshelf", "init", *argv],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answers)
    said, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            said += os.read(ours, 4096)
        except OSError:  # EIO: the other end is closed
            break
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert out.strip() == b""  # a prompt leaves blanks there
    return process.returncode, said.decode()


def test_on_a_terminal_it_asks() -> None:
    """What is missing is asked for, and only that."""
    code, said = _on_a_terminal(b"nas:/models\norg/Name\n")
    assert code == 0, said
    assert "Mount Source" in said
    assert "The model, such as" in said
    config = load("modelshelf.yaml")
    assert config.shelf.nfs is not None
    assert (config.shelf.nfs.server, config.models["name"].source) == ("nas", "hf://org/Name")


def test_whoever_is_asked_may_leave() -> None:
    """Ctrl-D at a question writes nothing."""
    code, said = _on_a_terminal(b"\x04", *NFS)
    assert code == 1
    assert "The model, such as" in said
    assert "Aborted" in said
    assert "unexpected" not in said
    assert os.listdir() == []
