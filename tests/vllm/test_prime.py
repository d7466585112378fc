"""`prime` with real vLLM: a start that unpacks its compile cache compiles nothing."""

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
    """A shelf with a model, on which verbs run the engine with compiling."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        self.folder = folder
        self._starter = starter
        self._shelf = Shelf.create(folder / "shelf")
        self._snapshot = put(self._shelf, "acme/smol", {"config.json": b"{}"})

    def run(self, verb: Verb, into: str, *, fork: bool = False) -> tuple[list[dict[str, Any]], str]:
        """Run a verb to its end; `start` gets SIGTERM once its engine is ready.

        Returns:
            The verb's events, and the output of the engine.
        """
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
            "timeout": 850,
            "ask": {
                "url": f"{url}/v1/completions",
                "body": {"model": "smol", "prompt": "The capital of France is", "max_tokens": 4},
            },
        }
        path = self.folder / f"{verb}-{port}.json"
        path.write_text(json.dumps(spec))
        # vLLM warms up with as many tokens as a batch may have: few make a start quick.
        engine = self._starter.argv("--max-num-batched-tokens=64", port=port)
        temporary = self.folder / str(port)
        temporary.mkdir()
        said, events = "", []
        with subprocess.Popen(
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
        """The folders of compiled code in an unpacked cache; vLLM names them by its own keys."""
        return [*(self.folder / into).rglob("torch_aot_compile/*")]


@pytest.fixture(scope="module")
def primer(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Primer:
    """A shelf on which nothing is primed yet."""
    return Primer(tmp_path_factory.mktemp("primed"), starter)


@pytest.mark.timeout(900)
def test_a_primed_start_loads_compiled_code(primer: Primer) -> None:
    """The prime compiles; the next start unpacks and loads that, in less than half the time."""
    events, said = primer.run("prime", "into")
    assert events[-1]["event"] == "primed", said[-6000:]
    assert events[-1]["how"] == "made"
    assert "saved AOT compiled function" in said
    compiling = next(event["seconds"] for event in events if event["event"] == "engine-ready")

    assert_loads(primer, fork=False, within=compiling / 2)


@pytest.mark.timeout(900)
def test_a_fast_start_has_the_key_of_a_stock_one(primer: Primer) -> None:
    """Forked processes load what a stock start has compiled, and compile nothing."""
    assert_loads(primer, fork=True, within=60)


def assert_loads(primer: Primer, *, fork: bool, within: float) -> None:
    """Assert that a start unpacks and loads what a stock start compiled, and compiles nothing."""
    events, said = primer.run("start", "into", fork=fork)
    assert [event["event"] for event in events[:2]] == ["cache-unpacked", "engine-starting"], events
    assert events[1]["how"] == ("fast" if fork else "mended")
    assert "Directly load AOT compilation" in said, said[-6000:]
    assert "saved AOT compiled function" not in said
    assert not list(primer.folder.rglob("*.gch")), "torch compiled a header"
    ready = next(event["seconds"] for event in events if event["event"] == "engine-ready")
    assert ready < within
    assert len(primer.keys("into")) == 1


def test_our_variables_are_not_in_vllm_s_key(starter: Starter, tmp_path: Path) -> None:
    """Our variables do not change the key of compiled code; a variable that changes code does."""
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
