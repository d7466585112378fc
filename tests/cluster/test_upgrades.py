"""Another version of modelshelf restarts nothing, and what a rollback needs stays."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.cluster_project import SERVER, Done, Project

pytestmark = pytest.mark.timeout(300)

_SRC = Path(__file__).parents[2] / "src"
_CODE = "app.kubernetes.io/component=code"


@dataclasses.dataclass(frozen=True, slots=True)
class _State:
    """What must not change for a server: its Deployment's generation, ReplicaSets and pods."""

    generation: int
    sets: frozenset[str]
    pods: frozenset[str]
    map: str


def _server_state(project: Project) -> _State:
    deployment = project.get("deployment", SERVER)
    sets = project.get("replicasets")["items"]
    return _State(
        deployment["metadata"]["generation"],
        frozenset(each["metadata"]["uid"] for each in sets),
        frozenset(pod["metadata"]["uid"] for pod in project.pods()),
        _shelf_map(deployment),
    )


def _shelf_map(workload: dict[str, Any]) -> str:
    """The ConfigMap of `shelf`, the only package that a server of llama.cpp mounts."""
    (name,) = (
        volume["configMap"]["name"]
        for volume in workload["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "code-shelf"
    )
    return str(name)


def _shelf_maps(project: Project) -> set[str]:
    maps = project.get("configmaps", None, "-l", f"{_CODE},app.kubernetes.io/name=shelf")
    return {each["metadata"]["name"] for each in maps["items"]}


@pytest.fixture
def newer_version(tmp_path: Path) -> dict[str, str]:
    """The environment of another version, in which a comment of `shelf/gate.py` is new."""
    tree = tmp_path / "newer"
    shutil.copytree(_SRC, tree, ignore=shutil.ignore_patterns("__pycache__"))
    gate = tree / "modelshelf" / "shelf" / "gate.py"
    gate.write_text(gate.read_text(encoding="utf-8") + "# another version\n", encoding="utf-8")
    return {"PYTHONPATH": str(tree)}


def _kept_code(done: Done) -> list[str]:
    return [event["what"] for event in done.of("kept", name=SERVER)]


def test_an_upgrade_restarts_nothing_by_itself(
    project: Project, newer_version: dict[str, str]
) -> None:
    """Both versions keep running code and say so; a changed argument brings the newer code."""
    project.run("up", "--no-ask")
    old = _server_state(project)
    assert _kept_code(project.run("up", "--no-ask")) == []

    upgraded = project.run("up", "--no-ask", env=newer_version)
    assert _server_state(project) == old
    assert _kept_code(upgraded) == [f"its code, {old.map}"]
    assert {event["kind"] for event in upgraded.changed} <= {"ConfigMap", "Job"}
    assert project.run("up", "--no-ask", env=newer_version).changed == []
    assert _kept_code(project.run("up", "--no-ask")) == []
    assert _server_state(project) == old

    project.file["servers"][SERVER]["contextLength"] = 1024
    assert _kept_code(project.run("up", "--no-ask", env=newer_version)) == []
    new = _server_state(project)
    assert new.map != old.map
    assert new.pods.isdisjoint(old.pods)

    older = project.run("up", "--no-ask")
    assert _kept_code(older) == [f"its code, {new.map}"]
    assert _server_state(project) == new


def test_refreshed_code_can_be_undone_by_kubectl(
    project: Project, newer_version: dict[str, str]
) -> None:
    """`--refresh-code` restarts pods; the old map stays as long as a ReplicaSet names it."""
    project.run("up", "--no-ask")
    old = _server_state(project)
    refreshed = project.run("up", "--no-ask", "--refresh-code", env=newer_version)
    new = _server_state(project)
    assert _kept_code(refreshed) == []
    assert new.sets > old.sets
    assert _shelf_maps(project) == {old.map, new.map}

    project.kubectl("rollout", "undo", f"deployment/{SERVER}")
    project.kubectl("rollout", "status", f"deployment/{SERVER}", "--timeout=60s")
    undone = _server_state(project)
    assert undone.map == old.map
    assert undone.sets == new.sets
    assert "Paris" in project.run("up", env=newer_version).answer
    assert _server_state(project) == undone

    idle = [each for each in project.get("replicasets")["items"] if not each["spec"]["replicas"]]
    assert [_shelf_map(each) for each in idle] == [new.map]
    project.kubectl("delete", "replicaset", idle[0]["metadata"]["name"])
    removed = project.run("up", "--no-ask").of("applied", kind="ConfigMap", how="removed")
    assert new.map in {event["name"] for event in removed}
    assert _shelf_maps(project) == {old.map}
