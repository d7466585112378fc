"""Our packages as a kubelet mounts them: what a pod mounts is enough for what it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.pod_packages import command_line, mount
from support.small_models import put

from modelshelf.render.code import PACKAGES, Package, Verb, packages_for
from modelshelf.shelf.shelf import Shelf

_ENGINE = (sys.executable, "-c", "raise SystemExit(3)")


@pytest.fixture
def specs(shelf: Shelf) -> dict[Verb, object]:
    """The spec of each verb, about a model that is on the shelf."""
    snapshot = put(shelf, "acme/tiny", {"config.json": b"{}"})
    both = {"shelf": shelf.path, "snapshot": snapshot.to_json()}
    return {
        "gate": both | {"timeout": 0},
        "pull": both | {"endpoint": "http://127.0.0.1:9"},
        "purge": {"shelf": shelf.path, "repo_ids": [snapshot.repo_id]},
        "start": {},
        "drain": {"port": 9, "settle": 0},
    }


def _run(argv: list[str]) -> tuple[int, list[str]]:
    """Run a command with an empty environment; its exit code and its lines."""
    run = subprocess.run(argv, cwd="/", env={}, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.returncode, run.stdout.splitlines()


@pytest.mark.parametrize(
    ("verb", "engine", "event"),
    [
        ("gate", (), (0, "gate-open")),
        ("pull", (), (0, "published")),
        ("purge", (), (0, "purged")),
        ("start", _ENGINE, (3, "engine-ended")),
        ("drain", (), (0, "drained")),
    ],
)
def test_a_verb_runs_from_the_packages_that_its_pod_mounts(
    tmp_path: Path,
    specs: dict[Verb, object],
    verb: Verb,
    engine: tuple[str, ...],
    event: tuple[int, str],
) -> None:
    """With nothing of ours beside these packages, it does what it is there for."""
    packages = mount(tmp_path, packages_for([verb]))
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(specs[verb]))

    returned, lines = _run(command_line(verb, spec, *engine, packages=packages))

    assert (returned, json.loads(lines[-1])["event"]) == event


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_can_be_imported_first(tmp_path: Path, package: Package) -> None:
    """There is no circle in a package, and none needs a package that its pods do not mount."""
    needed: dict[Package, tuple[Package, ...]] = {
        "shelf": ("shelf",),
        "transfer": ("shelf", "transfer"),
        "start": ("shelf", "start"),
    }
    packages = mount(tmp_path, needed[package])
    modules = sorted(path.stem for path in (packages / package).glob("[a-z]*.py"))
    assert modules
    for module in modules:
        program = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            f"import modelshelf.{package}.{module}"
        )
        assert _run([sys.executable, "-I", "-S", "-B", "-c", program]) == (0, [])
