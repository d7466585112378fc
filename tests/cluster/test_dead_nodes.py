"""A pull whose node is dead: its pod never ends, and the pull continues on another node."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from lab.cluster import Cluster
from support.cluster_project import TINY_MODEL, Project

pytestmark = pytest.mark.timeout(300)

_PLACE = "modelshelf.test/place"
_GHOST = "ghost"


@contextlib.contextmanager
def _node_without_kubelet(cluster: Cluster) -> Iterator[None]:
    """A node that is marked as ready although no kubelet runs it."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": _GHOST, "labels": {_PLACE: "a"}},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(node))
    room = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "8Gi", "pods": "10"}
    _patch_status(
        cluster,
        "node",
        {"capacity": room, "allocatable": room, "conditions": _ready_condition("True")},
    )
    try:
        yield
    finally:
        cluster.kubectl("delete", "node", _GHOST)
        cluster.kubectl("label", "node", cluster.node, f"{_PLACE}-")


def _ready_condition(status: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": status, "reason": "Test", "message": "as a test says"}]


def _patch_status(
    cluster: Cluster, kind: str, status: object, *where: str, name: str = _GHOST
) -> None:
    patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
    cluster.kubectl("patch", kind, name, *where, *patch)


def test_a_pull_continues_when_its_node_is_dead(
    unserved_project: Project, cluster: Cluster
) -> None:
    """`up` deletes the pod that hangs in Terminating by force, and the Job's next pod pulls."""
    unserved_project.file["pull"] = {"nodeSelector": {_PLACE: "a"}}
    with _node_without_kubelet(cluster):
        process = unserved_project.start("up")
        pod = _wait_for_pod(unserved_project)
        here = ["--namespace", unserved_project.namespace]
        _patch_status(cluster, "pod", {"phase": "Running"}, *here, name=pod)
        _patch_status(cluster, "node", {"conditions": _ready_condition("False")})
        unserved_project.kubectl("delete", "pod", pod, "--wait=false", "--grace-period=1")
        cluster.kubectl("label", "node", cluster.node, f"{_PLACE}=a")
        done = unserved_project.finish(process)
        assert [event["pod"] for event in done.of("pod-forced")] == [pod]
        assert done.of("published", how="pulled")


def _wait_for_pod(project: Project) -> str:
    """Wait until the pull's pod is on the node without a kubelet, and return its name."""
    label = f"app.kubernetes.io/name={TINY_MODEL}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pod in project.get("pods", None, "-l", label)["items"]:
            if pod["spec"].get("nodeName") == _GHOST:
                return str(pod["metadata"]["name"])
        time.sleep(0.2)
    raise AssertionError("no pod of the pull was put on the node")
