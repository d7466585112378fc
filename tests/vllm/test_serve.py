"""`serve --engine vllm`: real replicas on this machine, and that nothing of them stays."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from support.serve_process import (
    child_pids,
    has_ended,
    launch_server,
    openai_client,
    ready_server,
    wait_until,
)
from support.vllm_processes import Starter

from modelshelf.api import pull

MODEL = "tests/smol"
_SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def options(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The options of `serve`: vLLM in another Python, and a model on a shelf."""
    shelf = tmp_path_factory.mktemp("serve") / "shelf"
    pull(str(starter.model), shelf=shelf, name=MODEL, engine="vllm")
    return {
        "shelf": str(shelf),
        "ref": MODEL,
        "engine": "vllm",
        "engine_python": str(starter.python),
        "port": 0,
        "context_length": 512,
        "extra": ["--enforce-eager", "--dtype=float32"],
        "drain": 60.0,
    }


@pytest.fixture(autouse=True)
def surroundings(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let engines share their caches and take little memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(starter.home))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")


def test_two_replicas_answer_and_end_their_streams(options: dict[str, Any], tmp_path: Path) -> None:
    """Each answers the same, SIGTERM lets a stream of 200 tokens end, and then nothing is left."""
    before = set(os.listdir(_SHM))
    with ready_server(**options, replicas=2, log_dir=str(tmp_path)) as server:
        ready = [event for event in server.events if event["event"] == "replica-ready"]
        assert [event["how"] for event in ready] == ["fast", "fast"]
        assert all({"prefetch", "import", "weights"} <= set(dict(it["phases"])) for it in ready)
        urls = [server.url, *(f"http://127.0.0.1:{event['port']}/v1" for event in ready)]
        answers = {_ask(url, "1, 2, 3, 4, 5, 6,") for url in urls}
        assert len(answers) == 1
        assert next(iter(answers)).startswith(" 7, 8, 9")
        pids = _descendants(server.process.pid)
        assert len(pids) > 6
        with openai_client(server.url) as api:
            stream = api.completions.create(
                model=MODEL,
                prompt="Once upon a time",
                max_tokens=220,
                temperature=0,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            pieces = [next(stream)]
            server.process.send_signal(signal.SIGTERM)
            pieces += stream
        assert pieces[-1].choices[0].finish_reason == "length"
        assert sum(bool(piece.choices[0].text) for piece in pieces) > 200
        assert server.process.wait(60) == 0
        assert all(has_ended(pid) for pid in pids)
    assert set(os.listdir(_SHM)) <= before


def test_nothing_outlives_a_killed_server(options: dict[str, Any], tmp_path: Path) -> None:
    """SIGKILL to `serve` ends all processes of an engine in the middle of its start."""
    log = tmp_path / "replica-0.log"
    with launch_server(**options, log_dir=str(tmp_path)) as process:
        # These names in the log say that the engine has started processes of its own.
        wait_until(
            lambda: log.exists() and re.search(r"EngineCore|Worker", log.read_text()), within=120
        )
        pids = _descendants(process.pid)
        assert len(pids) > 2
        process.kill()
        wait_until(lambda: all(has_ended(pid) for pid in pids), within=20)


def _ask(url: str, prompt: str) -> str:
    with openai_client(url) as api:
        answer = api.completions.create(model=MODEL, prompt=prompt, max_tokens=12, temperature=0)
    return answer.choices[0].text


def _descendants(pid: int) -> list[int]:
    return [found for child in child_pids(pid) for found in (child, *_descendants(child))]
