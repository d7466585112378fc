"""Servers that ask for GPUs, on a node whose GPUs are counted and tainted for real."""

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
def tainted(cluster: Cluster) -> Iterator[None]:
    """The node takes no pod but such as put up with its having GPUs, as a cloud's do."""
    cluster.kubectl("taint", "node", cluster.node, f"{GPU}=present:NoSchedule")
    yield
    cluster.kubectl("taint", "node", cluster.node, f"{GPU}-")


@pytest.fixture
def all_taken(project: Project, gpus: int, tainted: None) -> Project:
    """A server that has all the GPUs there are, and a second commit in its lock."""
    # The image for GPUs of NVIDIA is not here; the processor does what they would.
    asks = {"gpus": 1, "replicas": gpus, "image": images.LLAMA, "drain": 1}
    project.file["servers"][SERVER] |= asks
    project.file["pull"] = {"tolerations": [{"key": GPU, "operator": "Exists"}]}
    assert "Paris" in project.run("up").answer
    project.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    project.run("lock", "--upgrade", MODEL)
    return project


def _snapshots(project: Project, pods: list[str]) -> set[str]:
    """What pods of these names serve."""
    return {
        pod["metadata"]["annotations"]["modelshelf.dev/snapshot"]
        for pod in project.pods()
        if pod["metadata"]["name"] in pods
    }


def _ready(project: Project) -> list[str]:
    """The names of the server's pods that are ready."""
    return [
        pod["metadata"]["name"]
        for pod in project.pods()
        for each in pod["status"]["conditions"]
        if each["type"] == "Ready" and each["status"] == "True"
    ]


def test_a_rollout_without_a_free_gpu(all_taken: Project, gpus: int) -> None:
    """With `spare` it ends at its deadline and names what lacks; without, old pods give way.

    Meanwhile the old pods go on serving. Pods are on the node only because they put up with its
    taint.
    """
    old = _ready(all_taken)
    assert len(old) == gpus
    (before,) = _snapshots(all_taken, old)

    all_taken.file["servers"][SERVER]["spare"] = True
    (error,) = all_taken.run("up", "--timeout=6", code=20).of("error")
    assert _SHORT in error["message"]
    assert f"ask for less {GPU}, free some, or add a node" in error["message"]
    assert sorted(_ready(all_taken)) == sorted(old)

    del all_taken.file["servers"][SERVER]["spare"]
    done = all_taken.run("up")
    assert "Paris" in done.answer
    assert done.of("server-ready", server=SERVER, replicas=gpus)
    assert len(_ready(all_taken)) == gpus
    (now,) = _snapshots(all_taken, _ready(all_taken))
    assert now != before


def _place(done: Done, kind: str, **fields: object) -> int:
    """Where in a command's output the one event of a kind is."""
    (event,) = done.of(kind, **fields)
    return done.events.index(event)


def test_gpus_that_no_node_has_are_named_before_the_pull(unserved: Project) -> None:
    """The resource is named first of all; when no node came for it, so it is in the error."""
    unserved.file["servers"][SERVER] = {
        "model": TINY_MODEL,
        "engine": "custom",
        "image": images.PYTHON,
        "command": ["python3", "-m", "http.server", "{port}", "--directory", "{model}"],
        "gpus": 1,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    done = unserved.run("up", "--timeout=8", code=20)
    nobody = f"no node of this cluster offers {GPU}: its pods cannot start before one does"
    said = _place(done, "awaiting", what=f"server {SERVER}", why=nobody)
    assert said < _place(done, "pull-started")
    (error,) = done.of("error")
    assert f"no node takes pod {unserved.namespace}/{SERVER}-" in error["message"]
    assert _SHORT in error["message"]
