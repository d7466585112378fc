"""Compile once, with real vLLM: a start that unpacks what was primed compiles nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.pod_packages import command_line
from support.small_models import put
from support.vllm_processes import Starter, free_port

from modelshelf.render.code import Verb
from modelshelf.shelf.shelf import Shelf
from modelshelf.start import cache_store


class Primer:
    """A shelf, and the verbs that run the engine, compiled, for a model on it."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        self.folder = folder
        self._starter = starter
        self._shelf = Shelf.create(folder / "shelf")
        self._snapshot = put(self._shelf, "acme/smol", {"config.json": b"{}"})

    def run(self, verb: Verb, into: str, *, fork: bool = False) -> tuple[list[dict[str, Any]], str]:
        """Run a verb, and end it once its engine is ready; its lines, and the engine's."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        spec = {
            "shelf": self._shelf.path,
            "compile_cache": {
                "folder": os.path.join(self._shelf.path, "compile-cache"),
                "snapshot": f"acme/smol@{self._snapshot.id}",
                "into": str(self.folder / into),
            },
            "health": f"{url}/health",
            "fast": {"fork": fork},
            "timeout": 500,
            "ask": {
                "url": f"{url}/v1/completions",
                "body": {"model": "smol", "prompt": "The capital of France is", "max_tokens": 4},
            },
        }
        path = self.folder / f"{verb}-{port}.json"
        path.write_text(json.dumps(spec))
        engine = self._starter.argv("--max-num-batched-tokens=64", port=port)
        temporary = self.folder / str(port)
        temporary.mkdir()
        said, events = "", []
        with subprocess.Popen(
            # A start warms up with as many tokens as a batch may have.
            command_line(verb, path, *engine),
            env=self._starter.env(TMPDIR=str(temporary)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                if not line.startswith('{"event"'):
                    said += line
                    continue
                events.append(json.loads(line))
                if verb == "start" and events[-1]["event"] == "engine-ready":
                    running.send_signal(signal.SIGTERM)
        return events, said

    def keys(self, into: str) -> list[Path]:
        """The keys of vLLM's compiled code that lies where caches were unpacked."""
        return [*(self.folder / into).rglob("torch_aot_compile/*")]


@pytest.fixture(scope="module")
def primer(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Primer:
    """Nothing is primed yet."""
    return Primer(tmp_path_factory.mktemp("primed"), starter)


@pytest.mark.timeout(900)
def test_a_primed_start_loads_compiled_code(primer: Primer) -> None:
    """The prime compiles; the next start unpacks that, loads it, and is ready in half the time."""
    events, said = primer.run("prime", "into")
    assert events[-1]["event"] == "primed", said[-6000:]
    assert events[-1]["how"] == "made"
    assert "saved AOT compiled function" in said
    compiling = next(event["seconds"] for event in events if event["event"] == "engine-ready")

    started(primer, fork=False, within=compiling / 2)


@pytest.mark.timeout(300)
def test_a_fast_start_has_the_key_of_a_stock_one(primer: Primer) -> None:
    """Copies of one process load what a stock start has compiled, and compile nothing."""
    started(primer, fork=True, within=60)


def started(primer: Primer, *, fork: bool, within: float) -> None:
    """Assert that a start unpacks what a stock one compiled, loads it, and makes no other."""
    events, said = primer.run("start", "into", fork=fork)
    assert [event["event"] for event in events[:2]] == ["cache-unpacked", "engine-starting"], events
    assert events[1]["how"] == ("fast" if fork else "mended")
    assert "Directly load AOT compilation" in said, said[-6000:]
    assert "saved AOT compiled function" not in said
    assert not list(primer.folder.rglob("*.gch")), "torch compiled a header"
    ready = next(event["seconds"] for event in events if event["event"] == "engine-ready")
    assert ready < within
    assert len(primer.keys("into")) == 1


def test_where_caches_lie_is_no_part_of_vllm_s_key(starter: Starter, tmp_path: Path) -> None:
    """Our variables are not among what compiled code is keyed by; one that changes code is."""
    cache_store.prepare_folder(str(tmp_path), with_bytecode=True)
    ours = cache_store.build_environment(str(tmp_path))
    changed = {"VLLM_USE_AOT_COMPILE": "0"}
    program = (
        "import json, os, sys, vllm.envs as e\n"
        "for more in ({}, *map(json.loads, sys.argv[1:])):\n"
        "    os.environ.update(more)\n"
        "    print(sorted(map(str, e.compile_factors().items())))"
    )
    run = subprocess.run(
        [str(starter.python), "-c", program, json.dumps(ours), json.dumps(changed)],
        env=starter.env(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    stock, with_ours, another = run.stdout.splitlines()[-3:]
    assert with_ours == stock
    assert another != stock
