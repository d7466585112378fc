"""A user's whole way on two real nodes with a real NFS share, faults of hosts included.

The tests of this module are the steps of one story, in order: each goes on where the last ended.
"""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hub import Hub, Repo
from lab.machines import TwoNodes
from models import FILE, QUESTION
from projects import SERVER, Project, add_smollm2, smollm2_files

from modelshelf.kube.client import Cluster

pytestmark = pytest.mark.timeout(600)

_ANSWER = "The capital city of France is Paris."
_NAMESPACE = "llm"
# Between a node's death and a pod elsewhere: 40 s until it is called dead, 30 s that pods wait.
_MOVED = 240.0


@pytest.fixture(scope="module")
def hub(nodes: TwoNodes) -> Iterator[Hub]:
    """A Hub that pods reach, with the real model."""
    with Hub(address=nodes.address) as hub:
        yield hub


@pytest.fixture(scope="module")
def repo(hub: Hub) -> Repo:
    """The real model's repository."""
    return add_smollm2(hub)


@pytest.fixture(scope="module")
def story(
    nodes: TwoNodes, hub: Hub, repo: Repo, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The project that the story is about; its first step brings it up."""
    share = {"nfs": {"server": nodes.address, "path": "/models", "size": "20Gi"}}
    folder = tmp_path_factory.mktemp("story")
    project = Project(folder, nodes, _NAMESPACE, hub, share)
    project.file["servers"][SERVER]["resources"]["requests"]["memory"] = "640Mi"
    return project


def _ask(project: Project) -> str:
    """What the Service answers, through the API server."""
    path = f"/api/v1/namespaces/{_NAMESPACE}/services/{SERVER}:http/proxy/v1/chat/completions"
    question = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    body = json.dumps({**question, "max_tokens": 16}).encode()
    with Cluster.connect(str(project.kubeconfig), None) as cluster:
        reply = cluster.request(
            "POST", path, body, headers={"Content-Type": "application/json"}, timeout=120
        )
    assert reply.status == 200, reply.body
    answer: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return answer


def _on(project: Project) -> dict[str, str]:
    """Pod → node, of those that are ready."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in project.pods() if _is_ready(pod)
    }


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_up_pulls_once_onto_the_share_and_answers(
    story: Project, nodes: TwoNodes, hub: Hub, repo: Repo
) -> None:
    """From nothing to an answer: bound volumes, a verified pull of each byte once, one pod."""
    done = story.run("up")
    assert done.answer == _ANSWER
    size = sum(entry.size for entry in repo.files.values())
    assert hub.bytes_sent() == size
    claims = story.get("pvc")["items"]
    assert [claim["status"]["phase"] for claim in claims] == ["Bound", "Bound"]
    (published,) = done.of("published")
    assert (published["how"], published["fetched"]) == ("pulled", size)
    folder = nodes.share / str(published["path"]).removeprefix("/shelf/")
    assert (folder / FILE).stat().st_size == repo.files[FILE].size
    assert (folder / FILE).stat().st_uid == 1000
    assert story.run("up").changed == []


def test_a_second_replica_loads_from_the_share_on_the_other_node(story: Project, hub: Hub) -> None:
    """Scaling moves no byte from the hub; each node has a pod of the one copy."""
    before = hub.bytes_sent()
    story.run("scale", SERVER, "2")
    assert sorted(_on(story).values()) == ["vm1", "vm2"]
    assert _ask(story) == _ANSWER
    assert hub.bytes_sent() == before


def test_a_second_commit_is_rolled_out_and_back(story: Project, hub: Hub, repo: Repo) -> None:
    """The new commit costs its new bytes alone; the old one comes back with the hub stopped."""
    before = hub.bytes_sent()
    first = repo.commit
    repo.update(smollm2_files(b"2"), lfs={FILE})
    story.run("lock", "--upgrade")
    assert story.run("up").answer == _ANSWER
    assert hub.bytes_sent() - before == repo.files["README.md"].size
    served = story.get("deployment", SERVER)["metadata"]["annotations"]["modelshelf.dev/commit"]
    assert served == repo.commit
    before = len(hub.requests)
    story.run("rollback", SERVER)
    served = story.get("deployment", SERVER)["metadata"]["annotations"]["modelshelf.dev/commit"]
    assert served == first
    assert _ask(story) == _ANSWER
    assert len(hub.requests) == before


def test_the_share_comes_back_while_pods_serve(story: Project, nodes: TwoNodes) -> None:
    """The NFS server dies and starts again: answers go on, and a new pod loads afterwards."""
    nodes.nfs.kill()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(_ask, story)
        nodes.nfs.start()
        assert asked.result(timeout=180) == _ANSWER
    (pod, *_) = sorted(_on(story))
    story.kubectl("delete", "pod", pod, "--wait=false")
    story.kubectl("rollout", "status", f"deployment/{SERVER}", "--timeout=180s")
    assert _ask(story) == _ANSWER


def test_a_node_dies_while_it_serves(story: Project, nodes: TwoNodes, hub: Hub) -> None:
    """The other node's pod answers, a new one starts there, and the dead node comes back."""
    before = hub.bytes_sent()
    nodes.nodes[1].power_off()
    deadline = time.monotonic() + _MOVED
    while sorted(_on(story).values()) != ["vm1", "vm1"]:
        assert time.monotonic() < deadline, story.kubectl("get", "pods", "-o=wide")
        time.sleep(1)
    assert _ask(story) == _ANSWER
    nodes.nodes[1].start()
    story.run("up")
    assert hub.bytes_sent() == before


def test_down_leaves_the_files(story: Project, nodes: TwoNodes, hub: Hub) -> None:
    """Everything of the file is gone from the cluster; the share still has both commits."""
    story.run("down", "--yes")
    assert nodes.kubectl("get", "namespace", _NAMESPACE, "--ignore-not-found") == ""
    assert nodes.kubectl("get", "pv", "-o=name") == ""
    assert len(list(nodes.share.glob("models/*/*/*/.snapshot.json"))) == 2
    before = hub.bytes_sent()
    assert story.run("up").answer == _ANSWER
    assert hub.bytes_sent() == before
    story.run("down", "--yes", "--purge")
    assert list(nodes.share.glob("models/*/*")) == []
