"""A pull whose node is gone: its pod can end no more, and the pull goes on elsewhere."""

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
def _ghost(cluster: Cluster) -> Iterator[None]:
    """A node that is called ready and that no kubelet stands behind."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": _GHOST, "labels": {_PLACE: "a"}},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(node))
    room = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "8Gi", "pods": "10"}
    _status(cluster, "node", {"capacity": room, "allocatable": room, "conditions": _ready("True")})
    try:
        yield
    finally:
        cluster.kubectl("delete", "node", _GHOST)
        cluster.kubectl("label", "node", cluster.node, f"{_PLACE}-")


def _ready(status: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": status, "reason": "Test", "message": "as a test says"}]


def _status(cluster: Cluster, kind: str, status: object, *where: str, name: str = _GHOST) -> None:
    patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
    cluster.kubectl("patch", kind, name, *where, *patch)


def test_a_pull_goes_on_when_its_node_is_gone(unserved: Project, cluster: Cluster) -> None:
    """The pod that hangs in Terminating is ended by force, and the Job's next one pulls."""
    unserved.file["pull"] = {"nodeSelector": {_PLACE: "a"}}
    with _ghost(cluster):
        process = unserved.start("up")
        pod = _pod(unserved)
        here = ["--namespace", unserved.namespace]
        _status(cluster, "pod", {"phase": "Running"}, *here, name=pod)
        _status(cluster, "node", {"conditions": _ready("False")})
        unserved.kubectl("delete", "pod", pod, "--wait=false", "--grace-period=1")
        cluster.kubectl("label", "node", cluster.node, f"{_PLACE}=a")
        done = unserved.finish(process)
        assert [event["pod"] for event in done.of("pod-forced")] == [pod]
        assert done.of("published", how="pulled")


def _pod(project: Project) -> str:
    """The name of the pull's pod, once it stands on the node without a kubelet."""
    label = f"app.kubernetes.io/name={TINY_MODEL}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pod in project.get("pods", None, "-l", label)["items"]:
            if pod["spec"].get("nodeName") == _GHOST:
                return str(pod["metadata"]["name"])
        time.sleep(0.2)
    raise AssertionError("no pod of the pull was put on the node")
