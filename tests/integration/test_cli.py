"""The command line: its output on stdout and stderr, and its exit codes."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
from hub import Content, Hub, safetensors
from hub.content import content_of, read
from huggingface_hub import constants
from support.small_models import put

from modelshelf.cli.main import main
from modelshelf.shelf.shelf import Shelf

FILES: dict[str, bytes | Content] = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": safetensors(300_000),
    "pytorch_model.bin": b"pickle",
}
LFS = {"model.safetensors", "pytorch_model.bin"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with `org/name`, which this process uses as the Hub."""
    with Hub() as hub:
        hub.add("org/name", FILES, lfs=LFS)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def shelf(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder that MODELSHELF_DIR names, which does not exist yet."""
    monkeypatch.setenv("MODELSHELF_DIR", str(tmp_path / "shelf"))
    return str(tmp_path / "shelf")


def json_lines(text: str) -> list[dict[str, Any]]:
    """Parse the lines of a text, each as JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_pull_prints_the_plan_for_people_on_stderr(
    hub: Hub, shelf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan and other text for people go to stderr, and stdout stays empty."""
    assert main(["pull", "hf://org/name", "--tag", "prod"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "3 files, 300 kB" in printed.err.splitlines()[0]
    assert "left out: 1 file" in printed.err
    assert Shelf(shelf).find("org/name@prod").size == 300_004


def test_pull_prints_json_lines(hub: Hub, shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each event is a line on stdout, and stderr is empty."""
    assert main(["pull", "hf://org/name", "--json"]) == 0
    printed = capsys.readouterr()
    events = [line["event"] for line in json_lines(printed.out)]
    assert (events[0], events[-1], printed.err) == ("planned", "published", "")


def test_quiet_prints_nothing(hub: Hub, shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With -q a successful pull prints nothing."""
    assert main(["pull", "hf://org/name", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["path", "name"], 2, "'name' does not name a model"),
        (["path", "org/none"], 11, "org/none is not on the shelf"),
        (["path", "org/name@none"], 11, "neither a tag nor a snapshot 'none'"),
        (["ls", "--shelf", "/nowhere"], 2, "there is no shelf at /nowhere"),
        (["pull", "hf://org/none"], 11, "org/none"),
        (["pull", "hf://org/name@none"], 11, "none"),
        (["pull", "hf://org/name", "--include", "*.bin"], 14, "--allow-unsafe"),
        (["pull", "hf://org/name", "--for", "vlm"], 2, "vlm"),
        (["pull", "ftp://host/x"], 2, "ftp"),
        (["pull", "./nothing"], 11, "nothing"),
        (["serve", "org/name", "--engine", "none"], 2, "no engine 'none'"),
        (["serve", "org/name"], 11, "org/name"),
        (["mirror", "--port", "70000"], 2, "70000 is not a port"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors(  # noqa: PLR0917 - two fixtures beside the table
    arguments: list[str],
    code: int,
    says: str,
    hub: Hub,
    shelf: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong input ends with its exit code and a message, without a traceback."""
    put(Shelf.create(shelf), "org/name", {"model.safetensors": b"x", "config.json": b"{}"})
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_errors_are_json_with_json(shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json an error is an object on stdout with its exit code."""
    assert main(["ls", "--json"]) == 2
    [error] = json_lines(capsys.readouterr().out)
    assert error["event"] == "error"
    assert error["exit_code"] == 2
    assert shelf in error["message"]


def test_an_unexpected_error_is_reported_without_a_traceback(
    shelf: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug exits with 1 and points to --debug, which prints the traceback."""

    def fail(self: Shelf) -> None:
        raise ZeroDivisionError("a fault")

    Shelf.create(shelf)
    monkeypatch.setattr(Shelf, "snapshots", fail)
    assert main(["ls"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main(["ls", "--debug"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_verbs_print_json_documents(shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """ls, show, path, tag and rm print one JSON document each."""
    snapshot = put(Shelf.create(shelf), "org/name", {"a.gguf": b"GGUF"})
    printed = {}
    for verb in (["tag", "org/name", "prod"], ["ls"], ["show", "org/name"], ["path", "org/name"]):
        assert main([*verb, "--json"]) == 0
        printed[verb[0]] = json.loads(capsys.readouterr().out)
    assert printed["ls"][0]["id"] == snapshot.id
    assert printed["ls"][0]["tags"] == ["prod"]
    assert printed["show"]["files"][0]["path"] == "a.gguf"
    assert printed["path"] == {"id": snapshot.id, "path": snapshot.path}
    assert main(["rm", "org/name", "--force", "--now", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == snapshot.id
    assert Shelf(shelf).snapshots() == []
    assert os.listdir(os.path.join(shelf, "trash")) == []


def test_verify_names_the_damaged_file(shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped byte is exit 14, and only its file is named."""
    snapshot = put(Shelf.create(shelf), "org/name", {"a.txt": b"abc", "b.txt": b"def"})
    path = pathlib.Path(snapshot.path or "", "b.txt")
    path.chmod(0o644)
    path.write_bytes(b"dEf")
    assert main(["verify"]) == 14
    assert "b.txt of org/name is damaged" in capsys.readouterr().err
    assert main(["verify", "--json"]) == 14
    printed = json_lines(capsys.readouterr().out)
    assert [e["path"] for e in printed if e["event"] == "damaged"] == ["b.txt"]


def test_lost_files_are_noticed_by_every_verb(
    hub: Hub, shelf: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deleted file is named by `path`, `ls`, `show` and offline `pull`, and `pull` adds it."""
    assert main(["pull", "hf://org/name", "-q"]) == 0
    snapshot = Shelf(shelf).find("org/name")
    os.chmod(snapshot.path or "", 0o755)
    pathlib.Path(snapshot.path or "", "model.safetensors").unlink()
    assert main(["path", "org/name"]) == 14
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "model.safetensors cannot be found" in printed.err
    assert main(["ls"]) == 0
    assert "2 of 3" in capsys.readouterr().out
    assert main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["missing"] == ["model.safetensors"]
    assert main(["show", "org/name"]) == 0
    assert "missing" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert main(["pull", "hf://org/name"]) == 14
    capsys.readouterr()
    assert main(["pull", "hf://org/name"]) == 0
    assert "on the shelf already" not in capsys.readouterr().err
    assert main(["path", "org/name"]) == 0
    assert capsys.readouterr().out == f"{snapshot.path}\n"


def test_rm_lists_several_snapshots(shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rm org/name with several snapshots removes none of them and lists them."""
    one = put(Shelf.create(shelf), "org/name", {"a.txt": b"1"}, commit="1" * 40)
    two = put(Shelf(shelf), "org/name", {"a.txt": b"2"}, commit="2" * 40)
    assert main(["rm", "org/name"]) == 2
    printed = capsys.readouterr().err
    assert one.id in printed
    assert two.id in printed
    assert len(Shelf(shelf).snapshots()) == 2


def test_offline_uses_the_shelf(
    hub: Hub, shelf: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HF_HUB_OFFLINE a pulled revision is found on the shelf; another one is an error."""
    assert main(["pull", "hf://org/name", "-q"]) == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert main(["pull", "hf://org/name"]) == 0
    assert "is on the shelf already" in capsys.readouterr().err
    assert main(["pull", "hf://org/name@other"]) == 15
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err
    assert len(hub.requests) == asked


@pytest.mark.parametrize(
    "choice",
    [
        ["--include", "*.onnx"],
        ["--exclude", "tokenizer*"],
        ["--all-files"],
        ["--for", "llamacpp"],
        ["--include", "*.safetensors", "--include", "vocab.json"],
    ],
)
def test_offline_no_other_choice_of_files_is_taken(
    hub: Hub,
    shelf: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    choice: list[str],
) -> None:
    """Offline, a snapshot with other files than were asked for is an error, and gets no tag."""
    assert main(["pull", "hf://org/name", "-q"]) == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["pull", "hf://org/name", "--tag", "prod", *choice]) == 11
    assert "with other files than were asked for" in capsys.readouterr().err
    assert Shelf(shelf).tags("org/name") == {}
    assert main(["pull", "hf://org/name", "--tag", "prod", "--include", "*.safetensors"]) == 0
    assert set(Shelf(shelf).tags("org/name")) == {"prod"}


@pytest.mark.parametrize("folder", ["missing", "empty", "cache"])
def test_a_folder_without_the_files_is_not_passed_over(
    hub: Hub,
    shelf: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    folder: str,
) -> None:
    """--from with a folder that has none of the files is an error, and nothing is fetched."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "cache" / "models--org--other" / "snapshots").mkdir(parents=True)
    exit_code = 2 if folder == "cache" else 11
    assert main(["pull", "hf://org/name", "--from", str(tmp_path / folder)]) == exit_code
    printed = capsys.readouterr().err
    assert str(tmp_path / folder) in printed
    assert hub.bytes_sent("model.safetensors") == 0


def test_the_cache_of_the_hub_is_found_by_the_commit(
    hub: Hub, shelf: str, tmp_path: pathlib.Path
) -> None:
    """--from takes the whole cache of huggingface_hub, and uses the snapshot of the commit."""
    cache = tmp_path / "hub" / "models--org--name"
    commit = huggingface_hub.HfApi(hub.url).model_info("org/name").sha or ""
    (cache / "blobs").mkdir(parents=True)
    folder = cache / "snapshots" / commit
    folder.mkdir(parents=True)
    for number, (name, value) in enumerate(FILES.items()):
        (cache / "blobs" / str(number)).write_bytes(read(content_of(value)))
        (folder / name).symlink_to(f"../../blobs/{number}")
    assert main(["pull", "hf://org/name", "-q", "--from", str(tmp_path / "hub")]) == 0
    assert hub.bytes_sent("model.safetensors") == 0
    assert main(["pull", str(cache), "-q", "--name", "local/copy"]) == 0
    assert Shelf(shelf).find("local/copy").size == 300_004


def test_another_choice_of_files_fetches_only_what_is_new(hub: Hub, shelf: str) -> None:
    """--all-files after a usual pull links the files that are there and downloads the others."""
    assert main(["pull", "hf://org/name", "-q"]) == 0
    sent = hub.bytes_sent("model.safetensors")
    assert main(["pull", "hf://org/name", "-q", "--all-files", "--allow-unsafe"]) == 0
    assert hub.bytes_sent("model.safetensors") == sent
    assert [len(s.files) for s in Shelf(shelf).snapshots()] == [4, 3]


def test_no_color_on_a_terminal(shelf: str) -> None:
    """Errors on a terminal are red, and NO_COLOR and --no-color turn that off."""
    red = "\x1b[31m"
    assert red in run_on_terminal(["ls"], {})
    assert red not in run_on_terminal(["ls", "--no-color"], {})
    assert red not in run_on_terminal(["ls"], {"NO_COLOR": "1"})


def test_a_bar_on_a_terminal(hub: Hub, shelf: str) -> None:
    """A pull on a terminal draws a bar with rate and remaining time."""
    hub.misbehave("slow", path="model.safetensors", rate=400_000)
    drawn = run_on_terminal(["pull", "hf://org/name"], {"HF_ENDPOINT": hub.url})
    assert "pulling" in drawn
    assert "kB/s" in drawn
    assert "0:00" in drawn


def run_on_terminal(arguments: list[str], env: dict[str, str]) -> str:
    """Run a command on a pseudo-terminal, and return what it draws."""
    child = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    command = [sys.executable, "-m", "modelshelf", *arguments]
    done = subprocess.run(
        [sys.executable, "-c", child, *command],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout
