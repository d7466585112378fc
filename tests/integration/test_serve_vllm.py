"""Serving by an engine that `start` starts: one that stands in for vLLM, and is quick."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import threading
import urllib.request
from typing import Any

import pytest
from support import fake_vllm
from support.serve_process import gone, launched, serving, until
from support.small_models import put

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.shelf import Shelf
from modelshelf.targets.local import prime, serve

MODEL = "org/tensors"


@pytest.fixture
def shelf(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A shelf with a model, in an environment that has the engine."""
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("PYTHONPATH", fake_vllm.install(tmp_path / "packages"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, MODEL, {"model.safetensors": b"x" * 5000, "config.json": b"{}"})
    return shelf


def options(shelf: Shelf, logs: pathlib.Path, **more: Any) -> dict[str, Any]:
    """What `serve` is told."""
    return {
        "shelf": shelf.path,
        "ref": MODEL,
        "engine": "vllm",
        "port": 0,
        "log_dir": str(logs),
    } | more


def said(log: pathlib.Path) -> tuple[list[int], str, str]:
    """What the engine said: its processes, where its caches are, and whether they were there."""
    pattern = r"^engine (\d+) child (\d+) caches (.*) (True|False)$"
    found = re.search(pattern, log.read_text(), re.MULTILINE) if log.exists() else None
    return ([int(found[1]), int(found[2])], found[3], found[4]) if found else ([], "", "")


@pytest.mark.parametrize("to_all", [False, True], ids=["to us", "to every process"])
def test_sigterm_lets_answers_end_and_nothing_is_left(
    shelf: Shelf,
    tmp_path: pathlib.Path,
    to_all: bool,  # noqa: FBT001
) -> None:
    """What is under way is answered, then every process ends, the engine's own child included."""
    with serving(**options(shelf, tmp_path)) as server:
        log = tmp_path / "replica-0.log"
        pids, _, _ = said(log)
        until(lambda: '"event": "engine-ready"' in log.read_text())
        url = server.url.removesuffix("/v1")
        answers: list[bytes] = []

        def ask() -> None:
            with urllib.request.urlopen(f"{url}/slow") as answer:
                answers.append(answer.read())

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: _connected(url))
        for pid in [server.process.pid, *(server.pids() + pids if to_all else [])]:
            os.kill(pid, signal.SIGTERM)
        thread.join()
        assert answers == [b"whole"]
        assert server.process.wait(20) == 0
        assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_start_whose_parent_ends(
    shelf: Shelf, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    """However it ends: neither the engine nor what that started, although it heeds no SIGTERM."""
    log = tmp_path / "replica-0.log"
    with launched(**options(shelf, tmp_path, extra=["--never-ready"])) as process:
        until(lambda: said(log)[0])
        process.send_signal(number)
        process.wait(20)
        until(lambda: all(gone(pid) for pid in said(log)[0]))


def test_a_killed_server_leaves_nothing(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """SIGKILL of what serves ends two engines and their children."""
    with serving(**options(shelf, tmp_path, replicas=2)) as server:
        pids = [pid for k in (0, 1) for pid in said(tmp_path / f"replica-{k}.log")[0]]
        assert len(pids) == 4
        server.process.kill()
        until(lambda: all(gone(pid) for pid in pids))


def test_the_start_is_told_what_to_read_ahead(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """Beside the log lies what `start` was told, and the log says what it did."""
    with serve(**options(shelf, tmp_path)) as server:
        told = json.loads((tmp_path / "replica-0.start.json").read_text())
        assert told == {
            "health": server.url.removesuffix("/v1") + "/health",
            "prefetch": {"paths": [server.snapshot.path]},
            "fast": {"fork": True},
        }
        log = tmp_path / "replica-0.log"
        until(lambda: '"event": "prefetched"' in log.read_text())
        until(lambda: '"event": "engine-ready"' in log.read_text())


def test_what_was_primed_is_there_at_the_next_start(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """Replicas find what was compiled at the path where it was, which goes when they end."""
    made = prime(MODEL, shelf=shelf, replicas=2)
    again = prime(MODEL, shelf=shelf, replicas=2)
    assert (made.how, again.how, made.key) == ("made", "present", again.key)
    with serve(**options(shelf, tmp_path, replicas=2)):
        replicas = [said(tmp_path / f"replica-{k}.log") for k in (0, 1)]
        assert [filled for _, _, filled in replicas] == ["True", "True"]
        folder = str(tmp_path / "cache" / "modelshelf" / "starts" / "0")
        assert {folder for _, folder, _ in replicas} == {f"{folder}/vllm/compiled"}
    assert not os.path.exists(folder)


def test_a_prime_whose_engine_fails_says_why(shelf: Shelf) -> None:
    """The error has the engine's last lines, and nothing is published."""
    with pytest.raises(TargetError, match="unrecognized arguments: --wrong"):
        prime(MODEL, shelf=shelf, extra=["--wrong"])
    assert not list(pathlib.Path(shelf.path, "compile-cache").rglob("*.tar"))


def test_an_engine_that_compiles_nothing_is_not_primed(shelf: Shelf) -> None:
    """llama.cpp has nothing to make beforehand."""
    put(shelf, "org/gguf", {"x.Q4_0.gguf": b"GGUF"})
    with pytest.raises(UsageError, match="compiles nothing"):
        prime("org/gguf", shelf=shelf, engine="llamacpp")


def _connected(url: str) -> bool:
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port}") and row.split()[3] == "01" for row in rows)
