"""Rendered files in git: kubectl applies what `up` applies, and the two work together."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.cluster import Cluster
from support.cluster_project import SERVER, Project
from support.real_model import FILE, smollm2

pytestmark = pytest.mark.timeout(300)

_ARGO = "argocd.argoproj.io/"
_PRUNE = "kustomize.toolkit.fluxcd.io/prune"


@pytest.fixture
def deploy(project: Project) -> Path:
    """A folder with the project's rendered files."""
    folder = project.path.parent / "deploy"
    project.run("render", "-o", str(folder))
    return folder


def _objects(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _apply(cluster: Cluster, folder: Path, *flags: str) -> list[str]:
    """Apply both folders at once, like a tool that knows no order of folders."""
    both = ["-f", str(folder / "pull"), "-f", str(folder / "serve")]
    return cluster.kubectl("apply", "--warnings-as-errors", *flags, *both).splitlines()


def _wait_until_available(project: Project) -> None:
    project.kubectl("wait", "--for=condition=Available", "--timeout=120s", f"deployment/{SERVER}")


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["plain", "server-side"])
def test_pull_and_serve_may_be_applied_at_once(
    cluster: Cluster, project: Project, share: Path, deploy: Path, flags: tuple[str, ...]
) -> None:
    """The gate holds the engine until the model is pulled; the model is downloaded once."""
    _apply(cluster, deploy, *flags)
    _wait_until_available(project)

    path = f"/api/v1/namespaces/{project.namespace}/services/{SERVER}:http/proxy/v1/models"
    models = json.loads(cluster.kubectl("get", "--raw", path))
    assert [model["id"] for model in models["data"]] == [SERVER]
    (pod,) = project.pods()
    (gate,) = pod["status"]["initContainerStatuses"]
    assert gate["restartCount"] == 0
    # Not the Job's completion: the controller notices that a moment after the model is there.
    (record,) = share.glob("models/*/*/*/.snapshot.json")
    opened = dt.datetime.fromisoformat(gate["state"]["terminated"]["finishedAt"])
    assert opened.timestamp() >= int(json.loads(record.read_text())["created"])
    project.kubectl("wait", "--for=condition=Complete", "--timeout=60s", "jobs", "--all")
    assert project.hub.bytes_sent(FILE) == smollm2().stat().st_size


def test_up_takes_over_what_kubectl_applied(
    cluster: Cluster, project: Project, deploy: Path
) -> None:
    """`up` restarts nothing that kubectl applied, and names whose field it takes back."""
    _apply(cluster, deploy)
    _wait_until_available(project)
    before = _running_state(project)

    done = project.run("up")
    assert done.changed == []
    assert done.of("taken-back") == []
    assert "Paris" in done.answer
    assert _running_state(project) == before
    changes: list[Any] = project.run("diff").events
    assert changes == [[]]

    deployment = next(obj for obj in _objects(deploy) if obj["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["args"].append("--verbose")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    (taken,) = project.run("up", "--no-ask").of("taken-back")
    assert (taken["kind"], taken["name"]) == ("Deployment", SERVER)
    assert taken["managers"] == ["kubectl-client-side-apply"]
    assert [field.rpartition(".")[2] for field in taken["fields"]] == ["args"]


def _running_state(project: Project) -> tuple[int, list[str]]:
    generation: int = project.get("deployment", SERVER)["metadata"]["generation"]
    return generation, [pod["metadata"]["uid"] for pod in project.pods()]


def test_files_rendered_after_up_restart_nothing(
    cluster: Cluster, project: Project, deploy: Path
) -> None:
    """Applying rendered files after `up` changes annotations alone and restarts no pod."""
    project.run("up", "--no-ask")
    before = _running_state(project)

    _apply(cluster, deploy, "--server-side", "--force-conflicts")

    assert _running_state(project)[1] == before[1]
    assert len(project.get("replicasets")["items"]) == 1
    assert project.run("up", "--no-ask").changed == []


def test_rendering_twice_gives_the_same_bytes(project: Project, deploy: Path) -> None:
    """Rendering into the same folder and into a new one gives the same bytes."""
    before = _texts(deploy)
    (again,) = project.run("render", "-o", str(deploy)).events
    assert set(again["files"].values()) == {"unchanged"}
    assert _texts(deploy) == before

    other = deploy.with_name("other")
    project.run("render", "-o", str(other))
    assert [*_texts(other).values()] == [*before.values()]


def test_argo_and_flux_find_what_they_need(deploy: Path, project: Project) -> None:
    """Objects have the annotations of Argo CD and Flux, and no Secret is among them."""
    project.run("render", "-o", str(deploy), env={"HF_TOKEN": "hf_aTokenThatNobodyShallSee"})
    pulled, served = list(_objects(deploy / "pull")), list(_objects(deploy / "serve"))

    assert {_annotation(obj, f"{_ARGO}sync-wave") for obj in pulled} == {"0"}
    assert {_annotation(obj, f"{_ARGO}sync-wave") for obj in served} == {"1"}
    for obj in (*pulled, *served):
        assert obj["kind"] != "Secret"
        if obj["kind"] == "ConfigMap":
            assert "ServerSideApply=true" in _annotation(obj, f"{_ARGO}sync-options")
    # A ReplicaSet that is kept for a rollback names these, so git may not take them away.
    (deployment,) = (obj for obj in served if obj["kind"] == "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    names = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
    named = [obj for obj in (*pulled, *served) if obj["metadata"]["name"] in names]
    assert len(named) == 2
    assert {_annotation(obj, _PRUNE) for obj in named} == {"disabled"}
    assert all("Prune=false" in _annotation(obj, f"{_ARGO}sync-options") for obj in named)
    assert all(b"hf_aToken" not in text for text in _texts(deploy).values())


def _annotation(obj: dict[str, Any], name: str) -> str:
    return str(obj["metadata"]["annotations"][name])
