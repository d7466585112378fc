"""Our packages as pods run them: alone, by every Python from 3.11 on, by an ordinary user."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, Repo
from support.file_modes import where_modes_bind
from support.pod_packages import SOURCE, command_line, mount
from support.pull_runs import add_model, assert_right, snapshot_of
from support.pythons import Python, pythons

from modelshelf.render import code
from modelshelf.render.code import PACKAGES, Package, Verb
from modelshelf.shelf.shelf import Shelf

_MAX_BYTES = 190_000  # of the 1 MiB that a ConfigMap may have, and applying it may keep it twice

every_python = pytest.mark.parametrize("python", pythons(), ids=str)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub on loopback whose large files come from a file host."""
    with Hub(redirect=True) as hub:
        yield hub


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model on it."""
    return add_model(hub)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of our packages, as a kubelet mounts them, and nothing else beside."""
    return mount(tmp_path_factory.mktemp("pod"), PACKAGES)


def _run(
    python: Python, packages: Path, verb: Verb, spec: object, folder: Path
) -> tuple[int, list[dict[str, Any]]]:
    """Run a verb; its exit code and the lines that it said."""
    path = folder / f"spec-{time.monotonic_ns()}.json"
    path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    run = subprocess.run(
        where_modes_bind(command_line(verb, path, python=python.path, packages=packages)),
        cwd="/",
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines()]


def _spec(hub: Hub, repo: Repo, shelf: Path, **more: object) -> dict[str, Any]:
    snapshot = snapshot_of(repo).to_json()
    return {"shelf": str(shelf), "snapshot": snapshot, "endpoint": hub.url, **more}


def test_the_python_of_this_run_is_among_them() -> None:
    """The list of interpreters is not empty, and says which were run by the tests' names."""
    assert sys.version_info[:3] in {python.version for python in pythons()}


@every_python
def test_a_pod_pulls_and_its_gate_opens(
    python: Python, packages: Path, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """Pulled once, seen by the gate, and found whole by the next pull without a request."""
    shelf = tmp_path / "shelf"
    spec = _spec(hub, repo, shelf, timeout=0)
    code, events = _run(python, packages, "pull", spec, tmp_path)
    assert code == 0, events
    assert events[0]["event"] == "planned"
    published = events[-1]
    assert published["event"] == "published"
    assert published["how"] == "pulled"
    assert {e["path"] for e in events if e["event"] == "file-done"} == set(repo.files)
    assert_right(Shelf(shelf).find(repo.repo_id), repo)

    code, events = _run(python, packages, "gate", spec, tmp_path)
    assert (code, [event["event"] for event in events]) == (0, ["gate-open"])
    assert events[0]["path"] == published["path"]

    hub.requests.clear()
    code, events = _run(python, packages, "pull", spec, tmp_path)
    assert (code, events[-1]["how"], events[-1]["fetched"]) == (0, "present", 0)
    assert hub.requests == []
    assert not list(packages.rglob("__pycache__"))


@every_python
def test_a_file_that_the_hub_has_not_ends_with_11(
    python: Python, packages: Path, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """The last line is the error with its exit code, and nothing is published."""
    spec = _spec(hub, repo, tmp_path / "shelf")
    del repo.files["config.json"]
    code, events = _run(python, packages, "pull", spec, tmp_path)
    assert code == 11
    assert events[-1]["event"] == "error"
    assert events[-1]["exit_code"] == 11
    assert "config.json" in events[-1]["message"]
    assert Shelf(tmp_path / "shelf").snapshots() == []


@every_python
def test_a_gate_that_waits_in_vain_ends_with_16(
    python: Python, packages: Path, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """It says why it waited, and that the time is over."""
    Shelf.create(tmp_path / "shelf")
    spec = _spec(hub, repo, tmp_path / "shelf", timeout=0)
    code, events = _run(python, packages, "gate", spec, tmp_path)
    assert code == 16
    assert [event["event"] for event in events] == ["gate-waiting", "error"]
    assert "is not on the shelf" in events[1]["message"]


_SNAPSHOT = {
    "source": "hf://org/name@main",
    "repo_id": "org/name",
    "revision": "main",
    "commit": "0" * 40,
    "created": 0.0,
    "tool": "",
    "files": [],
}


_PRIME = {
    "health": "http://127.0.0.1:9/health",
    "compile_cache": {"folder": "/x", "snapshot": "org/name@id", "into": "/y"},
    "shelf": "/x",
}


@pytest.mark.parametrize(
    ("verb", "spec", "words"),
    [
        ("pull", "", "cannot be read"),
        ("pull", "{", "cannot be read"),
        ("pull", "[]", "is not a JSON object"),
        ("pull", {}, "no readable snapshot"),
        ("pull", {"snapshot": 7}, "no readable snapshot"),
        ("pull", {"snapshot": {**_SNAPSHOT, "commit": "main"}}, "no readable snapshot"),
        ("pull", {"snapshot": {**_SNAPSHOT, "repo_id": "../../x"}}, "no readable snapshot"),
        ("pull", {"snapshot": _SNAPSHOT}, "no endpoint"),
        ("pull", {"snapshot": _SNAPSHOT, "endpoint": "http://127.0.0.1:9"}, "no shelf"),
        ("gate", {"snapshot": _SNAPSHOT}, "no shelf"),
        ("gate", {"snapshot": _SNAPSHOT, "shelf": "/x", "timeout": "1"}, "not a number"),
        ("start", {"health": 7}, "spec of the start is not readable"),
        ("drain", {}, "spec of the drain is not readable"),
        ("prime", {}, "has no compile_cache or no health"),
        ("prime", {**_PRIME, "timeout": "soon"}, "spec of the prime is not readable"),
    ],
)
def test_a_spec_that_makes_no_sense_ends_with_2(
    packages: Path, tmp_path: Path, verb: Verb, spec: object, words: str
) -> None:
    """What is wrong with it is said in one line."""
    for python in pythons():
        code, events = _run(python, packages, verb, spec, tmp_path)
        assert code == 2
        assert [event["event"] for event in events] == ["error"]
        assert words in events[0]["message"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_the_standard_library_and_shelf_alone(package: Package) -> None:
    """Every import, at any depth of any file, is of these or of the package itself."""
    ours = ("modelshelf.shelf", f"modelshelf.{package}")
    for name, text in code.files(package).items():
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                names = [str(node.module)]
            for imported in names:
                known = imported in ours or imported.startswith(tuple(f"{one}." for one in ours))
                assert known or imported.split(".")[0] in sys.stdlib_module_names, (name, imported)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_fits_into_a_config_map(package: Package) -> None:
    """It is one flat folder of Python files, since a ConfigMap has no folders."""
    files = code.files(package)
    assert {path.name for path in (SOURCE / package).iterdir()} - {"__pycache__"} == set(files)
    assert 0 < sum(len(text.encode()) for text in files.values()) < _MAX_BYTES


@every_python
def test_a_pod_takes_what_an_earlier_download_left_and_purges(
    python: Python, packages: Path, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """Right files of a folder on the share are not fetched again; a purge leaves that folder."""
    share = tmp_path / "share"
    earlier = share / "earlier"
    earlier.mkdir(parents=True)
    for path, entry in repo.files.items():
        (earlier / path).parent.mkdir(parents=True, exist_ok=True)
        (earlier / path).write_bytes(b"".join(entry.content.blocks(0, entry.content.size)))
    spec = _spec(hub, repo, share, **{"from": str(earlier)})
    code, events = _run(python, packages, "pull", spec, tmp_path)
    assert (code, events[-1]["event"], events[-1]["fetched"]) == (0, "published", 0)
    assert_right(Shelf(share).find(repo.repo_id), repo)

    purge = {"shelf": str(share), "repo_ids": [repo.repo_id]}
    code, events = _run(python, packages, "purge", purge, tmp_path)
    assert (code, events[-1]["event"], events[-1]["snapshots"]) == (0, "purged", 1)
    assert Shelf(share).snapshots() == []
    assert sorted(os.listdir(earlier)) == sorted({path.split("/")[0] for path in repo.files})
