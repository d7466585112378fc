"""Servers that need GPUs, on a node whose GPUs are really counted and tainted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import images
from lab.cluster import GPU, Cluster
from support.cluster_project import MODEL, SERVER, TINY_MODEL, Done, Project, smollm2_files
from support.real_model import FILE, REPO_ID

pytestmark = pytest.mark.timeout(300)

_SHORT = f"Insufficient {GPU}"


@pytest.fixture
def tainted_node(cluster: Cluster) -> Iterator[None]:
    """A node that takes only pods that tolerate its GPUs' taint, as a cloud's nodes do."""
    cluster.kubectl("taint", "node", cluster.node, f"{GPU}=present:NoSchedule")
    yield
    cluster.kubectl("taint", "node", cluster.node, f"{GPU}-")


@pytest.fixture
def all_gpus_taken(project: Project, gpus: int, tainted_node: None) -> Project:
    """A server that uses all GPUs of the node, and a second commit in its lock."""
    # The image for GPUs of NVIDIA is not here; the processor does what they would.
    asks = {"gpus": 1, "replicas": gpus, "image": images.LLAMA, "drain": 1}
    project.file["servers"][SERVER] |= asks
    project.file["pull"] = {"tolerations": [{"key": GPU, "operator": "Exists"}]}
    assert "Paris" in project.run("up").answer
    project.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    project.run("lock", "--upgrade", MODEL)
    return project


def _served_snapshots(project: Project, pods: list[str]) -> set[str]:
    """The snapshots that the pods of these names serve."""
    return {
        pod["metadata"]["annotations"]["modelshelf.dev/snapshot"]
        for pod in project.pods()
        if pod["metadata"]["name"] in pods
    }


def _ready_pods(project: Project) -> list[str]:
    """The names of the server's ready pods."""
    return [
        pod["metadata"]["name"]
        for pod in project.pods()
        for each in pod["status"]["conditions"]
        if each["type"] == "Ready" and each["status"] == "True"
    ]


def test_a_rollout_without_a_free_gpu(all_gpus_taken: Project, gpus: int) -> None:
    """With `spare` the rollout ends at its deadline; without it, old pods stop first.

    Meanwhile the old pods go on serving. Pods are on the node only because they put up with its
    taint.
    """
    old = _ready_pods(all_gpus_taken)
    assert len(old) == gpus
    (before,) = _served_snapshots(all_gpus_taken, old)

    all_gpus_taken.file["servers"][SERVER]["spare"] = True
    (error,) = all_gpus_taken.run("up", "--timeout=6", code=20).of("error")
    assert _SHORT in error["message"]
    assert f"ask for less {GPU}, free some, or add a node" in error["message"]
    assert sorted(_ready_pods(all_gpus_taken)) == sorted(old)

    del all_gpus_taken.file["servers"][SERVER]["spare"]
    done = all_gpus_taken.run("up")
    assert "Paris" in done.answer
    assert done.of("server-ready", server=SERVER, replicas=gpus)
    assert len(_ready_pods(all_gpus_taken)) == gpus
    (now,) = _served_snapshots(all_gpus_taken, _ready_pods(all_gpus_taken))
    assert now != before


def _index_of(done: Done, kind: str, **fields: object) -> int:
    """The index of the only event of a kind in a command's output."""
    (event,) = done.of(kind, **fields)
    return done.events.index(event)


def test_gpus_that_no_node_has_are_named_before_the_pull(unserved_project: Project) -> None:
    """`up` names a GPU resource that no node has before the pull, and again in its error."""
    unserved_project.file["servers"][SERVER] = {
        "model": TINY_MODEL,
        "engine": "custom",
        "image": images.PYTHON,
        "command": ["python3", "-m", "http.server", "{port}", "--directory", "{model}"],
        "gpus": 1,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    done = unserved_project.run("up", "--timeout=8", code=20)
    nobody = f"no node of this cluster offers {GPU}: its pods cannot start before one does"
    index = _index_of(done, "awaiting", what=f"server {SERVER}", why=nobody)
    assert index < _index_of(done, "pull-started")
    (error,) = done.of("error")
    assert f"no node takes pod {unserved_project.namespace}/{SERVER}-" in error["message"]
    assert _SHORT in error["message"]
