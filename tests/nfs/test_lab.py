"""The two nodes and their share behave as a cloud's do, which the scenario relies on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab.images import PYTHON
from lab.machines import Machine, TwoNodes

# The first test waits for the nodes.
pytestmark = pytest.mark.timeout(600)
_WRITER = "open('/models/note', 'w').write('hello')"


@pytest.fixture
def share(nodes: TwoNodes, namespace: str) -> Iterator[str]:
    """A claim named `share` for the whole share, as the Mount Source 10.77.0.1:/models gives it."""
    name = f"share-{namespace}"
    size = {"storage": "1Gi"}
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **common,
            "capacity": size,
            "persistentVolumeReclaimPolicy": "Retain",
            "mountOptions": ["nfsvers=4.1", "hard"],
            "nfs": {"server": nodes.address, "path": "/models"},
            "claimRef": {"namespace": namespace, "name": "share"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "share", "namespace": namespace},
        "spec": {**common, "resources": {"requests": size}, "volumeName": name},
    }
    _apply(nodes, volume)
    _apply(nodes, claim)
    yield "share"
    nodes.kubectl("delete", "pv", name, "--wait=false")


def test_both_nodes_are_ready_machines_of_their_own(nodes: TwoNodes) -> None:
    """Both nodes are Ready, have kernels of their own, and the addresses of their machines."""
    listed = json.loads(nodes.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = {
        node["metadata"]["name"]: node["status"]["addresses"][0]["address"]
        for node in listed
        if {"Ready": "True"}.items()
        <= {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}.items()
    }
    boots = {node["status"]["nodeInfo"]["bootID"] for node in listed}
    assert ready == {machine.name: machine.address for machine in nodes.nodes}
    assert len(boots) == 2
    assert os.uname().release not in {
        node["status"]["nodeInfo"]["kernelVersion"] for node in listed
    }


def test_a_nodes_clock_agrees_with_the_hosts(nodes: TwoNodes, namespace: str) -> None:
    """A pod's clock differs from the host's by less than a question to it takes."""
    _create_pod(nodes, namespace, "clock", nodes.nodes[0], "import time; time.sleep(1000)")
    _wait(nodes, namespace, "clock", "condition=Ready")
    before = time.time()
    output = nodes.kubectl("exec", "clock", "-n", namespace, "--", "date", "+%s.%N")
    assert before - 0.5 <= float(output) <= time.time() + 0.5


def test_one_node_reads_what_the_other_wrote(nodes: TwoNodes, namespace: str, share: str) -> None:
    """A pod reads by NFS 4.1 a file that a pod on the other node wrote to the share."""
    first, second = nodes.nodes
    _create_pod(nodes, namespace, "writer", first, _WRITER, claim=share)
    _wait_for_end(nodes, namespace, "writer")
    program = "print(open('/models/note').read()); print(open('/proc/mounts').read())"
    _create_pod(nodes, namespace, "reader", second, program, claim=share)
    output = _wait_for_end(nodes, namespace, "reader").splitlines()
    (mount,) = (line for line in output if " /models " in line)
    assert output[0] == "hello"
    assert mount.startswith("10.77.0.1:/models /models nfs4 ")
    assert {"vers=4.1", "hard"} <= set(mount.split()[3].split(","))
    written = (nodes.share / "note").stat()
    assert (written.st_uid, written.st_gid) == (1000, 1000)


def test_root_is_nobody_on_the_share(nodes: TwoNodes, namespace: str, share: str) -> None:
    """A pod's root cannot write to the share, whose owner is user 1000."""
    program = "open('/models/by-root', 'w')"
    _create_pod(nodes, namespace, "root", nodes.nodes[0], program, claim=share, user=0)
    output = _wait_for_end(nodes, namespace, "root", "Failed")
    assert "PermissionError: [Errno 13] Permission denied: '/models/by-root'" in output
    assert not (nodes.share / "by-root").exists()


def _apply(nodes: TwoNodes, thing: dict[str, Any]) -> None:
    nodes.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(thing))


def _create_pod(
    nodes: TwoNodes,
    namespace: str,
    name: str,
    machine: Machine,
    program: str,
    *,
    claim: str | None = None,
    user: int = 1000,
) -> None:
    """Create a pod that runs a Python program on one node, with the share at /models."""
    container: dict[str, Any] = {
        "name": "main",
        "image": PYTHON,
        "command": ["python3", "-c", program],
        "securityContext": {"runAsUser": user, "runAsGroup": user},
    }
    spec: dict[str, Any] = {
        "nodeName": machine.name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    if claim is not None:
        container["volumeMounts"] = [{"name": "share", "mountPath": "/models"}]
        spec["volumes"] = [{"name": "share", "persistentVolumeClaim": {"claimName": claim}}]
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    _apply(nodes, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def _wait(nodes: TwoNodes, namespace: str, pod: str, what: str) -> None:
    nodes.kubectl("wait", f"pod/{pod}", "-n", namespace, f"--for={what}", "--timeout=400s")


def _wait_for_end(nodes: TwoNodes, namespace: str, pod: str, phase: str = "Succeeded") -> str:
    """Wait until a pod has ended in that phase, and return what it wrote."""
    _wait(nodes, namespace, pod, f"jsonpath={{.status.phase}}={phase}")
    return nodes.kubectl("logs", pod, "-n", namespace)
