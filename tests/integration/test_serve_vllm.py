"""Serving with an engine that `modelshelf.start` runs: a quick stand-in for vLLM."""

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
from support.serve_process import has_ended, launch_server, ready_server, wait_until
from support.small_models import put

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.shelf import Shelf
from modelshelf.targets.local import prime, serve

MODEL = "org/tensors"


@pytest.fixture
def shelf(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A shelf with a model, and an environment that has the engine."""
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("PYTHONPATH", fake_vllm.install(tmp_path / "packages"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, MODEL, {"model.safetensors": b"x" * 5000, "config.json": b"{}"})
    return shelf


def serve_options(shelf: Shelf, logs: pathlib.Path, **more: Any) -> dict[str, Any]:
    """The arguments of `serve`."""
    return {
        "shelf": shelf.path,
        "ref": MODEL,
        "engine": "vllm",
        "port": 0,
        "log_dir": str(logs),
    } | more


def read_engine_line(log: pathlib.Path) -> tuple[list[int], str, str]:
    """The line that the engine logs: its processes, its cache folder, whether that existed."""
    pattern = r"^engine (\d+) child (\d+) caches (.*) (True|False)$"
    found = re.search(pattern, log.read_text(), re.MULTILINE) if log.exists() else None
    return ([int(found[1]), int(found[2])], found[3], found[4]) if found else ([], "", "")


@pytest.mark.parametrize("to_all", [False, True], ids=["to the server", "to every process"])
def test_sigterm_lets_requests_finish_and_ends_every_process(
    shelf: Shelf,
    tmp_path: pathlib.Path,
    to_all: bool,  # noqa: FBT001
) -> None:
    """A request in progress is answered, then all processes end, and the engine's child, too."""
    with ready_server(**serve_options(shelf, tmp_path)) as server:
        log = tmp_path / "replica-0.log"
        pids, _, _ = read_engine_line(log)
        wait_until(lambda: '"event": "engine-ready"' in log.read_text())
        url = server.url.removesuffix("/v1")
        answers: list[bytes] = []

        def send_slow_request() -> None:
            with urllib.request.urlopen(f"{url}/slow") as answer:
                answers.append(answer.read())

        thread = threading.Thread(target=send_slow_request)
        thread.start()
        wait_until(lambda: _connected(url))
        for pid in [server.process.pid, *(server.pids() + pids if to_all else [])]:
            os.kill(pid, signal.SIGTERM)
        thread.join()
        assert answers == [b"whole"]
        assert server.process.wait(20) == 0
        assert all(has_ended(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_of_a_start_outlives_its_parent(
    shelf: Shelf, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    """The engine and its child end, although they ignore SIGTERM, however the parent ends."""
    log = tmp_path / "replica-0.log"
    with launch_server(**serve_options(shelf, tmp_path, extra=["--never-ready"])) as process:
        wait_until(lambda: read_engine_line(log)[0])
        process.send_signal(number)
        process.wait(20)
        wait_until(lambda: all(has_ended(pid) for pid in read_engine_line(log)[0]))


def test_a_killed_server_leaves_no_process(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """SIGKILL of the serving process ends two engines and their children."""
    with ready_server(**serve_options(shelf, tmp_path, replicas=2)) as server:
        pids = [pid for k in (0, 1) for pid in read_engine_line(tmp_path / f"replica-{k}.log")[0]]
        assert len(pids) == 4
        server.process.kill()
        wait_until(lambda: all(has_ended(pid) for pid in pids))


def test_the_settings_of_a_start_have_the_folder_to_prefetch(
    shelf: Shelf, tmp_path: pathlib.Path
) -> None:
    """The file beside the log has the settings of `start`, and the log has its events."""
    with serve(**serve_options(shelf, tmp_path)) as server:
        settings = json.loads((tmp_path / "replica-0.start.json").read_text())
        assert settings == {
            "health": server.url.removesuffix("/v1") + "/health",
            "prefetch": {"paths": [server.snapshot.path]},
            "fast": {"fork": True},
        }
        log = tmp_path / "replica-0.log"
        wait_until(lambda: '"event": "prefetched"' in log.read_text())
        wait_until(lambda: '"event": "engine-ready"' in log.read_text())


def test_the_next_start_finds_the_primed_cache(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """Replicas find the compiled code at the path where it was made; it is deleted at the end."""
    first = prime(MODEL, shelf=shelf, replicas=2)
    second = prime(MODEL, shelf=shelf, replicas=2)
    assert (first.how, second.how, first.key) == ("made", "present", second.key)
    with serve(**serve_options(shelf, tmp_path, replicas=2)):
        replicas = [read_engine_line(tmp_path / f"replica-{k}.log") for k in (0, 1)]
        assert [existed for _, _, existed in replicas] == ["True", "True"]
        folder = str(tmp_path / "cache" / "modelshelf" / "starts" / "0")
        assert {folder for _, folder, _ in replicas} == {f"{folder}/vllm/compiled"}
    assert not os.path.exists(folder)


def test_the_error_of_a_prime_has_the_engines_last_lines(shelf: Shelf) -> None:
    """The error quotes the engine, and nothing is published."""
    with pytest.raises(TargetError, match="unrecognized arguments: --wrong"):
        prime(MODEL, shelf=shelf, extra=["--wrong"])
    assert not list(pathlib.Path(shelf.path, "compile-cache").rglob("*.tar"))


def test_an_engine_that_compiles_nothing_is_not_primed(shelf: Shelf) -> None:
    """llama.cpp has no compile cache, so it cannot be primed."""
    put(shelf, "org/gguf", {"x.Q4_0.gguf": b"GGUF"})
    with pytest.raises(UsageError, match="compiles nothing"):
        prime("org/gguf", shelf=shelf, engine="llamacpp")


def _connected(url: str) -> bool:
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port}") and row.split()[3] == "01" for row in rows)
