"""`modelshelf init` writes the first modelshelf.yaml from options or from answers."""

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


def init_file(*argv: str) -> Config:
    """Run `init` and return the file that it wrote."""
    assert main(["init", *argv]) == 0
    return load("modelshelf.yaml")


def refused_init(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run an `init` that must exit with 2 and write nothing; return its message."""
    assert main(["init", *argv]) == 2
    assert os.listdir() == []
    return capsys.readouterr().err


def test_a_mount_source_and_a_model_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """`init` with both asks nothing, names things after the model, and prints to stderr."""
    config = init_file(*NFS, *MODEL)
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
    """Each option sets its key in the file."""
    config = init_file(
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
    """The file can begin with each kind of shelf."""
    config = init_file(*options, *MODEL)
    assert (config.shelf.kind, config.shelf.size) == (kind, size)


def test_hf_endpoint_goes_into_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HF_ENDPOINT goes into the file, since pods do not have this environment."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.internal:8080")
    assert init_file(*NFS, *MODEL).hub.endpoint == "http://hub.internal:8080"


def test_json_has_the_chosen_names(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the output has the names that `init` chose."""
    init_file(*NFS, *MODEL, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "file": "modelshelf.yaml",
        "model": "mistral-7b-instruct-v0-3",
        "server": "mistral",
    }


def test_nothing_is_overwritten(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing file is not changed, and neither is a link that leads nowhere."""
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
def test_wrong_options_are_refused(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the missing or wrong option, nothing is written and nothing is asked."""
    assert words in refused_init(capsys, *argv)


def test_a_missing_folder_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be written is exit 13."""
    assert main(["init", *NFS, *MODEL, "--file", "no/where.yaml"]) == 13
    assert "no/where.yaml cannot be written: No such file" in capsys.readouterr().err


def _run_on_terminal(answers: bytes, *argv: str) -> tuple[int, str]:
    """Run a process whose stdin and stderr are a terminal; return exit code and output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelshelf", "init", *argv],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answers)
    output, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            output += os.read(ours, 4096)
        except OSError:  # EIO: the other end is closed
            break
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert out.strip() == b""  # a prompt leaves blanks there
    return process.returncode, output.decode()


def test_init_asks_on_a_terminal() -> None:
    """On a terminal `init` asks for each missing option and for nothing else."""
    code, output = _run_on_terminal(b"nas:/models\norg/Name\n")
    assert code == 0, output
    assert "Mount Source" in output
    assert "The model, such as" in output
    config = load("modelshelf.yaml")
    assert config.shelf.nfs is not None
    assert (config.shelf.nfs.server, config.models["name"].source) == ("nas", "hf://org/Name")


def test_end_of_input_at_a_question_writes_nothing() -> None:
    """Ctrl-D at a question writes nothing."""
    code, output = _run_on_terminal(b"\x04", *NFS)
    assert code == 1
    assert "The model, such as" in output
    assert "Aborted" in output
    assert "unexpected" not in output
    assert os.listdir() == []
