"""The two nodes and their share behave as a cloud's do: what the scenario rests on."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from lab.images import PYTHON
from lab.machines import Machine, TwoNodes

# The first test waits for the nodes; on a busy machine one comes back in two minutes.
pytestmark = pytest.mark.timeout(600)
_PORT = 8000
_WRITER = "open('/models/note', 'w').write('hello')"
# Reads a file over and over from the server, not from the client's memory, and says each time
# what it read.
_READER = """
import hashlib, os, time
while True:
    with open("/models/blob", "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        print(hashlib.sha256(file.read()).hexdigest(), flush=True)
    time.sleep(0.1)
"""


_WEB = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{says}")
HTTPServer(("", {port}), Answer).serve_forever()
"""


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
    """Two nodes of their own kernels are Ready, at the addresses that their machines have."""
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


def test_a_nodes_clock_is_the_hosts(nodes: TwoNodes, namespace: str) -> None:
    """A pod's clock differs from the host's by less than it takes to ask."""
    _pod(nodes, namespace, "clock", nodes.nodes[0], "import time; time.sleep(1000)")
    _wait(nodes, namespace, "clock", "condition=Ready")
    before = time.time()
    said = nodes.kubectl("exec", "clock", "-n", namespace, "--", "date", "+%s.%N")
    assert before - 0.5 <= float(said) <= time.time() + 0.5


def test_one_node_reads_what_the_other_wrote(nodes: TwoNodes, namespace: str, share: str) -> None:
    """A file that a pod on one node wrote to the share is read on the other, by NFS 4.1."""
    first, second = nodes.nodes
    _pod(nodes, namespace, "writer", first, _WRITER, claim=share)
    _ended(nodes, namespace, "writer")
    program = "print(open('/models/note').read()); print(open('/proc/mounts').read())"
    _pod(nodes, namespace, "reader", second, program, claim=share)
    said = _ended(nodes, namespace, "reader").splitlines()
    (mount,) = (line for line in said if " /models " in line)
    assert said[0] == "hello"
    assert mount.startswith("10.77.0.1:/models /models nfs4 ")
    assert {"vers=4.1", "hard"} <= set(mount.split()[3].split(","))
    written = (nodes.share / "note").stat()
    assert (written.st_uid, written.st_gid) == (1000, 1000)


def test_root_is_nobody_on_the_share(nodes: TwoNodes, namespace: str, share: str) -> None:
    """A pod's root may not write to the share, whose owner is user 1000."""
    program = "open('/models/by-root', 'w')"
    _pod(nodes, namespace, "root", nodes.nodes[0], program, claim=share, user=0)
    said = _ended(nodes, namespace, "root", "Failed")
    assert "PermissionError: [Errno 13] Permission denied: '/models/by-root'" in said
    assert not (nodes.share / "by-root").exists()


def test_reading_goes_on_after_the_server_was_killed(
    nodes: TwoNodes, namespace: str, share: str
) -> None:
    """A pod that reads waits while the NFS server is dead, and then reads on, always the same."""
    blob = nodes.share / "blob"
    blob.write_bytes(os.urandom(4 << 20))
    _pod(nodes, namespace, "reader", nodes.nodes[1], _READER, claim=share)

    def reads() -> list[str]:
        return nodes.kubectl("logs", "reader", "-n", namespace).split()

    _wait(nodes, namespace, "reader", "condition=Ready")
    _until(lambda: len(reads()) > 2, "three reads")
    nodes.nfs.kill()
    time.sleep(1)
    stalled = reads()
    time.sleep(3)
    assert reads() == stalled
    nodes.nfs.start()
    _until(lambda: len(reads()) > len(stalled) + 2, "three more reads")
    assert set(reads()) == {hashlib.sha256(blob.read_bytes()).hexdigest()}


def test_a_service_is_reached_from_pods_and_from_the_host(nodes: TwoNodes, namespace: str) -> None:
    """A Service's address leads to a pod on one node from the other and from this host."""
    first, second = nodes.nodes
    _web(nodes, namespace, second, "web")
    address = _service(nodes, namespace, "web")
    assert _ask(address, 80) == (200, "web")
    program = f"from urllib.request import urlopen; print(urlopen('http://{address}').read())"
    _pod(nodes, namespace, "client", first, program)
    assert _ended(nodes, namespace, "client") == "b'web'\n"
    path = f"/api/v1/namespaces/{namespace}/services/web:80/proxy/"
    assert nodes.kubectl("get", "--raw", path) == "web"


def test_a_cut_cable_can_be_mended(nodes: TwoNodes, namespace: str) -> None:
    """A pod does not answer while its node's cable is cut, and answers when it is mended."""
    machine = nodes.nodes[1]
    address = _web(nodes, namespace, machine, "web")
    assert _ask(address, _PORT) == (200, "web")
    machine.cut_network()
    with pytest.raises(OSError, match=r"timed out|No route to host"):
        _ask(address, _PORT)
    machine.mend_network()
    assert _ask(address, _PORT) == (200, "web")


def test_a_node_that_lost_its_power_comes_back(nodes: TwoNodes, namespace: str) -> None:
    """A node that lost its power is the same node when it starts, and its pods run again."""
    first, second = nodes.nodes
    _web(nodes, namespace, first, "away", "Always")
    _web(nodes, namespace, second, "web")
    address = _service(nodes, namespace, "web")
    node, pod = _get(nodes, "node", first.name), _get(nodes, "pod", "away", namespace)
    first.power_off()
    # Now by the other node's kube-proxy.
    assert _ask(address, 80) == (200, "web")
    first.start()
    again = _get(nodes, "node", first.name)
    assert again["metadata"]["uid"] == node["metadata"]["uid"]
    assert again["status"]["nodeInfo"]["bootID"] != node["status"]["nodeInfo"]["bootID"]

    def container() -> dict[str, Any]:
        status = _get(nodes, "pod", "away", namespace)["status"]
        return {**status["containerStatuses"][0], "podIP": status.get("podIP")}

    old = pod["status"]["containerStatuses"][0]["containerID"]
    _until(lambda: container()["ready"] and container()["containerID"] != old, "it runs again")
    assert _ask(container()["podIP"], _PORT) == (200, "away")


def _apply(nodes: TwoNodes, thing: dict[str, Any]) -> None:
    nodes.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(thing))


def _pod(
    nodes: TwoNodes,
    namespace: str,
    name: str,
    machine: Machine,
    program: str,
    *,
    claim: str | None = None,
    user: int = 1000,
    probes: Mapping[str, Any] | None = None,
    restart: str = "Never",
) -> None:
    """Make a pod that runs a Python program on one node, with the share at /models."""
    container: dict[str, Any] = {
        "name": "main",
        "image": PYTHON,
        "command": ["python3", "-c", program],
        "securityContext": {"runAsUser": user, "runAsGroup": user},
        **(probes or {}),
    }
    spec: dict[str, Any] = {
        "nodeName": machine.name,
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    if claim is not None:
        container["volumeMounts"] = [{"name": "share", "mountPath": "/models"}]
        spec["volumes"] = [{"name": "share", "persistentVolumeClaim": {"claimName": claim}}]
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    _apply(nodes, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def _web(
    nodes: TwoNodes, namespace: str, machine: Machine, says: str, restart: str = "Never"
) -> str:
    """A pod of that name which answers every request with that name; its address."""
    probes = {"readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1}}
    program = _WEB.format(port=_PORT, says=says)
    _pod(nodes, namespace, says, machine, program, probes=probes, restart=restart)
    _wait(nodes, namespace, says, "condition=Ready")
    pod: str = _get(nodes, "pod", says, namespace)["status"]["podIP"]
    return pod


def _service(nodes: TwoNodes, namespace: str, app: str) -> str:
    """A Service of a pod, and its address, once this host is led to the pod by it."""
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": _PORT}]}
    metadata = {"name": app, "namespace": namespace}
    _apply(nodes, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    address: str = _get(nodes, "service", app, namespace)["spec"]["clusterIP"]
    # kube-proxies tell nobody when they have seen a Service; until then they refuse.
    _until(lambda: _answers(address), f"{address} leads to a pod")
    return address


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, 80), 5).close()
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            raise
        return False
    return True


def _ask(address: str, port: int) -> tuple[int, str]:
    """The status and text of one answer, asked for once."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", "/")
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def _get(nodes: TwoNodes, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
    shown = nodes.kubectl("get", kind, name, "-n", namespace, "-o", "json")
    thing: dict[str, Any] = json.loads(shown)
    return thing


def _wait(nodes: TwoNodes, namespace: str, pod: str, what: str) -> None:
    nodes.kubectl("wait", f"pod/{pod}", "-n", namespace, f"--for={what}", "--timeout=150s")


def _ended(nodes: TwoNodes, namespace: str, pod: str, phase: str = "Succeeded") -> str:
    """Wait until a pod has ended in that phase; what it wrote."""
    _wait(nodes, namespace, pod, f"jsonpath={{.status.phase}}={phase}")
    return nodes.kubectl("logs", pod, "-n", namespace)


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 150
    while not done():
        assert time.monotonic() < deadline, f"not within 150 s: {what}"
        time.sleep(0.2)
