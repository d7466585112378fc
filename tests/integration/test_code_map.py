"""A code map as a kubelet mounts it: what it holds runs by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rendering import config
from shelves import put

from modelshelf.core.shelf import Shelf
from modelshelf.targets.render import code

_PYTHON = [sys.executable, "-I", "-S", "-B"]


def _mounted(folder: Path, which: code.Which) -> Path:
    """The files of a map, behind links to links as a kubelet has them."""
    core = folder / which / "modelshelf" / "core"
    data = core / "..2026_01_01_00_00_00.0123456789"
    data.mkdir(parents=True)
    (core / "..data").symlink_to(data.name)
    for name, text in code.code_map(config(), which)["data"].items():
        (data / name).write_text(text)
        (core / name).symlink_to(f"..data/{name}")
    return core / "__main__.py"


def _run(
    argv: list[str], main: Path, spec: object, verb: str = "", engine: tuple[str, ...] = ()
) -> tuple[int, list[str]]:
    """Run a verb of a map, its own if not otherwise; its exit code and its lines."""
    path = main.parents[2] / "spec.json"
    path.write_text(json.dumps(spec))
    run = subprocess.run(
        [*argv, str(main), verb or main.parents[2].name, str(path), *engine],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    return run.returncode, run.stdout.splitlines()


@pytest.fixture
def specs(shelf: Shelf) -> dict[str, object]:
    """What each verb is told, about a model that is on the shelf."""
    snapshot = put(shelf, "acme/tiny", {"config.json": b"{}"})
    told = {"shelf": shelf.path, "snapshot": snapshot.to_json()}
    return {
        "gate": told | {"timeout": 0},
        "pull": told | {"endpoint": "http://127.0.0.1:9"},
        "purge": {"shelf": shelf.path, "repo_ids": [snapshot.repo_id]},
    }


@pytest.mark.parametrize(
    ("which", "event"), [("gate", "gate-open"), ("pull", "published"), ("purge", "purged")]
)
def test_a_verb_runs_from_its_own_map(
    tmp_path: Path, specs: dict[str, object], which: code.Which, event: str
) -> None:
    """With nothing of ours beside the map, it does what it is there for."""
    returned, lines = _run(_PYTHON, _mounted(tmp_path, which), specs[which])

    assert returned == 0
    assert json.loads(lines[-1])["event"] == event


def test_a_servers_map_has_all_that_runs_in_its_pods(
    tmp_path: Path, specs: dict[str, object]
) -> None:
    """A gate opens, an engine is started and a pod drained with nothing of ours beside the map."""
    main = _mounted(tmp_path, "start")
    engine = ("--", sys.executable, "-c", "raise SystemExit(3)")
    runs = [
        _run(_PYTHON, main, specs["gate"], "gate"),
        _run(_PYTHON, main, {}, "start", engine),
        _run(_PYTHON, main, {"port": 9, "settle": 0}, "drain"),
    ]

    said = [(returned, json.loads(lines[-1])["event"]) for returned, lines in runs]
    assert said == [(0, "gate-open"), (3, "engine-ended"), (0, "drained")]


@pytest.mark.parametrize("which", ["gate", "pull", "purge"])
def test_a_map_holds_what_its_verb_imports_alone(
    tmp_path: Path, specs: dict[str, object], which: code.Which
) -> None:
    """A file more would restart servers for nothing whenever it changes."""
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('modelshelf.core.')))"
    )
    _, lines = _run([*_PYTHON, "-c", program], _mounted(tmp_path, which), specs[which])

    loaded = {name.removeprefix("modelshelf.core.") for name in lines[-1].split()}
    held = {name.removesuffix(".py") for name in code.code_map(config(), which)["data"]}
    assert held - {"__init__", "__main__"} == loaded
