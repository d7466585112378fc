"""The test cluster itself has the properties that the other tests rely on."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hub import Hub
from lab import images
from lab.binaries import VERSION
from lab.cluster import GPU, Cluster
from lab.control import KubectlError

from modelshelf.engines.images import IMAGES

_SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_SERVE = (
    "from http.server import *; HTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()"
)


def _pod_manifest(
    name: str, image: str, command: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    """A pod that Pod Security `restricted` accepts."""
    container = {
        "name": "main",
        "image": image,
        "securityContext": {**_SECURE, "readOnlyRootFilesystem": True},
        **({"command": command} if command else {}),
        **more,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }


def _create(cluster: Cluster, namespace: str, *objects: dict[str, Any]) -> None:
    for each in objects:
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(each))


def _wait(cluster: Cluster, namespace: str, what: str, state: str) -> None:
    cluster.kubectl("wait", "-n", namespace, what, f"--for={state}", "--timeout=60s")


def _log_of_finished_pod(cluster: Cluster, namespace: str, pod: dict[str, Any]) -> str:
    """Wait until a pod has succeeded, and return what it wrote."""
    name = pod["metadata"]["name"]
    _create(cluster, namespace, pod)
    _wait(cluster, namespace, f"pod/{name}", "jsonpath={.status.phase}=Succeeded")
    return cluster.kubectl("logs", "-n", namespace, name)


@pytest.fixture
def web(cluster: Cluster, restricted: str) -> str:
    """The name of a ready pod that serves HTTP on port 8000, behind port 80 of Service `web`."""
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    pod = _pod_manifest("web", images.PYTHON, ["python3", "-c", _SERVE], readinessProbe=probe)
    ports = [{"port": 80, "targetPort": 8000}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    service |= {"spec": {"selector": {"app": "web"}, "ports": ports}}
    _create(cluster, restricted, service, pod)
    _wait(cluster, restricted, "pod/web", "condition=Ready")
    return "web"


def test_a_node_is_ready(cluster: Cluster) -> None:
    """The node is ready and runs the release that the programs were built from."""
    node = json.loads(cluster.kubectl("get", "node", cluster.node, "-o=json"))
    ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"]
    if cluster.own:
        assert node["status"]["nodeInfo"]["kubeletVersion"] == VERSION


def test_the_node_has_the_images_that_are_rendered() -> None:
    """Containerd has an image under each name that rendered pods use."""
    assert IMAGES["python"] == images.PYTHON
    assert IMAGES["llamacpp"] == images.LLAMA


def test_a_restricted_pod_runs(cluster: Cluster, restricted: str, web: str) -> None:
    """A restricted pod's log, a command in it, and HTTP through the API server work."""
    executed = cluster.kubectl("exec", "-n", restricted, web, "--", "python3", "-c", "print(6*7)")
    assert executed == "42\n"
    path = f"/api/v1/namespaces/{restricted}/pods/{web}:8000/proxy/"
    assert "Directory listing" in cluster.kubectl("get", "--raw", path)
    assert '"GET / HTTP/1.1" 200' in cluster.kubectl("logs", "-n", restricted, web)


def test_a_service_leads_to_its_pods(cluster: Cluster, restricted: str, web: str) -> None:
    """A ClusterIP answers every request from the node and from a pod."""
    address = cluster.kubectl(
        "get", "service", web, "-n", restricted, "-o=jsonpath={.spec.clusterIP}"
    )
    cluster.await_service(address, 80)
    statuses = []
    for _ in range(5):
        connection = http.client.HTTPConnection(address, 80, timeout=10)
        connection.request("GET", "/")
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [200] * 5
    ask = f"import urllib.request as r; print(r.urlopen('http://{address}/', timeout=10).status)"
    pod = _pod_manifest("client", images.PYTHON, ["python3", "-c", ask])
    assert _log_of_finished_pod(cluster, restricted, pod) == "200\n"


def test_pod_security_is_enforced(cluster: Cluster, restricted: str) -> None:
    """The API server refuses a pod that may run as root."""
    pod = _pod_manifest("root", images.PYTHON)
    del pod["spec"]["securityContext"]
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        _create(cluster, restricted, pod)


def test_the_llama_image_is_the_real_server_without_python(
    cluster: Cluster, restricted: str
) -> None:
    """The image's entrypoint is llama-server, and the image has no python3."""
    pod = _pod_manifest("llama", images.LLAMA, args=["--version"])
    assert "version: " in _log_of_finished_pod(cluster, restricted, pod)
    look = ["sh", "-c", "command -v python3 || echo none"]
    assert (
        _log_of_finished_pod(cluster, restricted, _pod_manifest("look", images.LLAMA, look))
        == "none\n"
    )


def test_nothing_outside_is_reachable(cluster: Cluster, restricted: str) -> None:
    """Neither the node nor a pod has a route to the internet."""
    if not cluster.own:
        pytest.skip("a cluster that the tests did not start may have a route out")
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 443), timeout=5)
    ask = "import socket; print(socket.socket().connect_ex(('192.0.2.1', 443)))"
    output = _log_of_finished_pod(
        cluster, restricted, _pod_manifest("out", images.PYTHON, ["python3", "-c", ask])
    )
    assert os.strerror(int(output)) == "Network is unreachable"


def test_a_pod_reaches_the_hub_of_a_test(cluster: Cluster, restricted: str, hub: Hub) -> None:
    """A pod downloads from the test's Hub, and the Hub counts the bytes."""
    hub.add("org/name", {"config.json": b"{}"})
    url = f"{hub.url}/org/name/resolve/main/config.json"
    ask = f"import urllib.request as r; print(r.urlopen('{url}', timeout=10).read())"
    output = _log_of_finished_pod(
        cluster, restricted, _pod_manifest("get", images.PYTHON, ["python3", "-c", ask])
    )
    assert output == "b'{}'\n"
    assert hub.bytes_sent() == 2


def test_pods_share_a_folder_of_the_node(cluster: Cluster, restricted: str, share: Path) -> None:
    """User 1000 writes to a claim bound to a hostPath volume, and the test sees the file."""
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": restricted}}
    volume |= {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": str(share)},
            "storageClassName": "",
            "claimRef": {"name": "share", "namespace": restricted},
        }
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "share"}}
    claim |= {
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": restricted,
            "resources": {"requests": {"storage": "1Gi"}},
        }
    }
    write = ["python3", "-c", "open('/shelf/file', 'w').write('here'); print('done')"]
    mounts = [{"name": "share", "mountPath": "/shelf"}]
    pod = _pod_manifest("writer", images.PYTHON, write, volumeMounts=mounts)
    pod["spec"]["volumes"] = [{"name": "share", "persistentVolumeClaim": {"claimName": "share"}}]
    _create(cluster, restricted, volume, claim)
    assert _log_of_finished_pod(cluster, restricted, pod) == "done\n"
    assert (share / "file").read_text(encoding="ascii") == "here"
    assert (share / "file").stat().st_uid == 1000


def test_a_user_without_rights_is_refused(cluster: Cluster, restricted: str) -> None:
    """RBAC knows a user by the certificate and grants exactly what a role names."""
    if not cluster.own:
        pytest.skip("a cluster that the tests did not start signs no certificates for users")
    joe = ["--kubeconfig", str(cluster.kubeconfig_for("joe", ["readers"])), "-n", restricted]
    with pytest.raises(KubectlError, match='User "joe" cannot list resource "pods"'):
        cluster.kubectl(*joe, "get", "pods")
    cluster.kubectl("create", "role", "r", "-n", restricted, "--verb=list", "--resource=pods")
    cluster.kubectl("create", "rolebinding", "r", "-n", restricted, "--role=r", "--group=readers")
    assert cluster.kubectl(*joe, "get", "pods", "-o=name") == ""
    with pytest.raises(KubectlError, match='User "joe" cannot list resource "secrets"'):
        cluster.kubectl(*joe, "get", "secrets")


def test_gpus_are_scheduled(cluster: Cluster, restricted: str, gpus: int) -> None:
    """The node runs one pod for each of its GPUs, and the next pod waits and says for what."""
    limit = {"limits": {GPU: "1"}}
    sleep = ["python3", "-c", "import time; time.sleep(600)"]
    names = [f"gpu-{number}" for number in range(gpus)]
    _create(
        cluster,
        restricted,
        *(_pod_manifest(n, images.PYTHON, sleep, resources=limit) for n in names),
    )
    for name in names:
        _wait(cluster, restricted, f"pod/{name}", "condition=Ready")
    _create(cluster, restricted, _pod_manifest("late", images.PYTHON, sleep, resources=limit))
    _wait(cluster, restricted, "pod/late", "condition=PodScheduled=false")
    late = json.loads(cluster.kubectl("get", "pod", "late", "-n", restricted, "-o=json"))
    assert f"Insufficient {GPU}" in late["status"]["conditions"][0]["message"]
    cluster.kubectl("delete", "pod", names[0], "-n", restricted)
    _wait(cluster, restricted, "pod/late", "condition=Ready")
