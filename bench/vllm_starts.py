"""The starts of vLLM that are compared; none finds the model in the page cache."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub import FileContent, Hub
from lab.parts import REPOSITORY

from bench import engine_load
from bench.engine_process import Engine, drop_from_page_cache, free_port, run, started
from bench.timing import clean_environment, measure, python
from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_reader import read_timeline
from modelshelf.render import code
from modelshelf.render.code import Verb
from modelshelf.shelf.layout import snapshot_folder
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot

RATE = 100e6  # bytes per second of the hub
_REPO_ID, _NAME = "HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2"
_BATCHES = 3
# Every start computes one batch of the maximal size, and processors without AVX-512 multiply
# bfloat16 one by one. With vLLM's own batch size and type, that batch would take most of a start
# there.
ARGUMENTS = (
    "--max-model-len=1024",
    "--max-num-seqs=16",
    "--max-num-batched-tokens=1024",
    "--dtype=float32",
)
_PACKAGES = REPOSITORY / "src" / "modelshelf"
_SNAPSHOT = (
    "import sys; from huggingface_hub import snapshot_download;"
    " snapshot_download(sys.argv[1], local_dir=sys.argv[2])"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One start, from its first step to the first answer.

    Attributes:
        seconds: How long it took.
        how: How `start` started it: `stock`, `mended` or `fast`; empty without `start`.
        reason: Why the start was not faster, or had no compile cache; empty if there is no reason.
        ours: Seconds before the engine began, in which our gate and `start` ran.
        parts: Names and seconds of what ran before or beside the engine.
        timeline: The phases of the start.
        tokens: The tokens of its answers.
        speeds: Tokens per second under load, batch by batch; empty without load.
    """

    seconds: float
    how: str
    reason: str
    ours: float
    parts: tuple[tuple[str, float], ...]
    timeline: Timeline | None
    tokens: list[list[int]]
    speeds: list[float]


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The files and servers that starts use.

    Attributes:
        engine: The Python of an environment with vLLM and its bytecode.
        folder: A folder on a disk for everything that starts write.
        hub: The hub that has the model and sends `RATE` bytes a second.
        snapshot: The model on the shelf.
        pulled: Seconds that `modelshelf pull` took for it.
    """

    engine: str
    folder: Path
    hub: Hub
    snapshot: Snapshot
    pulled: float

    @property
    def shelf(self) -> Path:
        """The shelf, which the first replica's pull has filled."""
        return self.folder / "shelf"

    @property
    def model(self) -> Path:
        """The model's folder on the shelf."""
        return self.shelf / snapshot_folder(self.snapshot.repo_id, self.snapshot.id)

    def fresh(self, name: str) -> Path:
        """Make an empty folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def env(self, home: Path, **extra: str) -> dict[str, str]:
        """The environment of an engine; what it writes by default goes below `home`."""
        fixed = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        env = clean_environment(str(home), HF_ENDPOINT=self.hub.url, **fixed, **extra)
        env.pop("PYTHONPATH", None)  # it names packages of our environment
        return env

    def argv(self, model: Path, port: int, *arguments: str) -> list[str]:
        """The engine's stock command line."""
        module = [self.engine, "-m", "vllm.entrypoints.openai.api_server"]
        named = ["--model", str(model), f"--served-model-name={_NAME}", f"--port={port}"]
        return [*module, *named, "--host=127.0.0.1", *ARGUMENTS, *arguments]

    def command(self, verb: Verb, spec: dict[str, Any], *argv: str) -> list[str]:
        """The command line of a verb, as pods run it."""
        path = self.folder / f"{verb}.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        rest = ["--", *argv] if argv else []
        main = code.command(verb)[3].replace(code.CODE_FOLDER, str(_PACKAGES), 1)
        return [self.engine, "-I", "-S", main, verb, str(path), *rest]


@contextlib.contextmanager
def place(engine: str, model: Path, folder: Path) -> Iterator[Place]:
    """Prepare a hub that has the model, and a shelf with the pulled model."""
    names = sorted(path.name for path in model.iterdir())
    weights = [name for name in names if name.endswith(".safetensors")]
    with Hub() as hub:
        hub.add(_REPO_ID, {name: FileContent(model / name) for name in names}, weights)
        hub.misbehave("slow", path="*.safetensors", rate=RATE)
        shelf = folder / "shelf"
        argv = python("-m", "modelshelf", "pull", f"hf://{_REPO_ID}", "--shelf", str(shelf), "-q")
        pulled = measure([argv], clean_environment(str(folder), HF_ENDPOINT=hub.url)).seconds
        (snapshot,) = Shelf(shelf).snapshots()
        yield Place(engine, folder, hub, snapshot, pulled)


def naive(where: Place, *, bytecode: bool) -> Run:
    """Start as a plain pod does: download, then a stock start with empty caches."""
    home, model = where.fresh("naive"), where.fresh("downloaded")
    env = where.env(home, HF_HUB_DISABLE_XET="1")
    if not bytecode:
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(where.fresh("nothing"))}
    port = free_port()
    download = [where.engine, "-c", _SNAPSHOT, _REPO_ID, str(model)]
    with started([download, where.argv(model, port)], env, port) as engine:
        return _run(engine, download=engine.step_ends[0])


def prime(where: Place) -> float:
    """Run `prime`, as its Job does once for all later replicas, and return its seconds."""
    port = free_port()
    spec = {
        "shelf": str(where.shelf),
        "compile_cache": _compile_cache(where),
        "health": _health(port),
        "timeout": 480,
        "ask": {
            "url": f"http://127.0.0.1:{port}/v1/completions",
            "body": {"model": _NAME, "prompt": "Hello", "max_tokens": 4},
        },
    }
    argv = where.command("prime", spec, *where.argv(where.model, port))
    return run(argv, where.env(where.fresh("priming"))).seconds


def second(where: Place, *, fork: bool) -> Run:
    """Start the second replica of a primed server as its pod does: gate, then `start`."""
    fast = {"fork": fork}
    return _ours(
        where, where.fresh("second"), {"compile_cache": _compile_cache(where), "fast": fast}
    )


def eager(where: Place, home: Path, how: str) -> Run:
    """Start without compiling.

    Args:
        where: The place.
        home: The home of an earlier start, which has looked up the model's class.
        how: `bare` for the engine alone, `stock` below `start`, `fast` with `fastStart`.
    """
    only = "--enforce-eager"
    if how != "bare":
        return _ours(where, home, {"fast": {"fork": True}} if how == "fast" else {}, only)
    drop_from_page_cache(str(where.model))
    port = free_port()
    with started([where.argv(where.model, port, only)], where.env(home), port) as engine:
        return _run(engine, loaded=True)


def _ours(where: Place, home: Path, spec: dict[str, Any], *arguments: str) -> Run:
    drop_from_page_cache(str(where.shelf))
    port = free_port()
    argv = where.argv(where.model, port, *arguments)
    prefetch_spec = {"paths": [str(where.model)], "memory": None}
    gate = {"shelf": str(where.shelf), "snapshot": where.snapshot.to_json(), "timeout": 10}
    start = where.command(
        "start", {"health": _health(port), "prefetch": prefetch_spec, **spec}, *argv
    )
    with started([where.command("gate", gate), start], where.env(home), port) as engine:
        return _run(engine, loaded="compile_cache" not in spec, gate=engine.step_ends[0])


def _run(engine: Engine, *, loaded: bool = False, **steps: float) -> Run:
    """Collect the figures of an engine that has just become ready."""
    tokens = engine_load.greedy(engine, _NAME)
    speeds = engine_load.speeds(engine, _NAME, _BATCHES) if loaded else []
    starting, unpacked, prefetched = (
        engine.event(name) for name in ("engine-starting", "cache-unpacked", "prefetched")
    )
    parts = list(steps.items())
    parts += [
        (n, float(e["seconds"])) for n, e in (("unpack", unpacked), ("prefetch", prefetched)) if e
    ]
    before = [Phase(name, engine.began, seconds) for name, seconds in steps.items()]
    lines = read_timeline(
        # The gate's own event leaves out the start of its Python.
        [(at, line) for at, line in engine.lines if '"gate-open"' not in line],
        began=engine.began + sum(steps.values()),
        ready=engine.began + engine.seconds,
        earlier_phases=before,
    )
    return Run(
        engine.seconds,
        str(starting.get("how", "")),
        "; ".join(
            str(event["reason"])
            for event in (starting, engine.event("cache-missing"))
            if event.get("reason")
        ),
        max(0.0, float(starting["time"]) - engine.began) if starting else 0.0,
        tuple(parts),
        lines,
        tokens,
        speeds,
    )


def _compile_cache(where: Place) -> dict[str, str]:
    return {
        "folder": os.fspath(where.shelf / "compile-cache"),
        "snapshot": f"{where.snapshot.repo_id}@{where.snapshot.id}",
        # The compiled code contains this path, so all starts have the same.
        "into": os.fspath(where.folder / "caches"),
    }


def _health(port: int) -> str:
    return f"http://127.0.0.1:{port}/health"
