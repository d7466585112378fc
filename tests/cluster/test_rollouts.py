"""Rollouts on a real Kubernetes under steady requests, none of which fails."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
from lab import images
from lab.cluster import Cluster
from support.cluster_project import MODEL, SERVER, Done, Project, smollm2_files
from support.real_model import FILE, REPO_ID, smollm2
from support.steady_traffic import Traffic

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def finished_update(cluster: Cluster, running_project: Project) -> tuple[Done, Traffic]:
    """The end of an `up` to a second commit, and the requests that were answered meanwhile."""
    running_project.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    running_project.run("lock", "--upgrade", MODEL)
    with _traffic_during_rollout(cluster, running_project) as traffic:
        done = running_project.run("up", "--no-ask")
    return done, traffic


@contextlib.contextmanager
def _traffic_during_rollout(cluster: Cluster, project: Project) -> Iterator[Traffic]:
    """Send requests through the Service until the pods from before a rollout are gone."""
    address = project.get("service", SERVER)["spec"]["clusterIP"]
    cluster.await_service(address, 80)
    old = [f"pod/{pod['metadata']['name']}" for pod in project.pods()]
    with Traffic(address, SERVER) as traffic:
        yield traffic
        project.kubectl("wait", "--for=delete", "--timeout=60s", *old)


def _locked_commit(project: Project) -> str:
    """The commit that the lock records."""
    lock = json.loads(project.path.with_name("modelshelf.lock").read_text())
    return str(lock["models"][MODEL]["snapshot"]["commit"])


def _served_commit(project: Project) -> str:
    """The commit that the server's only pod serves."""
    (pod,) = project.pods()
    snapshot: str = pod["metadata"]["annotations"]["modelshelf.dev/snapshot"]
    return snapshot.rpartition("@")[2].rpartition("-")[0]


def test_an_update_under_load_fails_no_request(
    running_project: Project, finished_update: tuple[Done, Traffic]
) -> None:
    """Every request is answered and every stream ends while `up` rolls to a second commit.

    The second commit has the same weights, so their bytes were downloaded once.
    """
    done, traffic = finished_update
    traffic.assert_whole()
    assert running_project.hub.bytes_sent(FILE) == smollm2().stat().st_size
    assert done.of("server-ready", server=SERVER)


def test_an_update_serves_what_the_lock_says(
    running_project: Project, finished_update: tuple[Done, Traffic]
) -> None:
    """The pod serves the new commit after `lock --upgrade` and `up`."""
    assert finished_update[0].changed
    running_project.run("up", "--no-ask")
    assert _served_commit(running_project) == _locked_commit(running_project)


def test_a_rollback_under_load_needs_no_hub(
    cluster: Cluster, running_project: Project, finished_update: tuple[Done, Traffic]
) -> None:
    """`rollback` fails no request and downloads nothing, and the next `up` keeps it."""
    running_project.hub.stop()
    before, asked = _served_commit(running_project), len(running_project.hub.requests)
    with _traffic_during_rollout(cluster, running_project) as traffic:
        running_project.run("rollback", SERVER)
    traffic.assert_whole()
    back = _served_commit(running_project)
    assert back != before
    assert _locked_commit(running_project) == back
    assert running_project.run("up", "--no-ask").of("applied", kind="Deployment", how="unchanged")
    assert _served_commit(running_project) == back
    assert len(running_project.hub.requests) == asked


def test_kubectl_rollout_undo_is_a_rollback(
    cluster: Cluster, running_project: Project, finished_update: tuple[Done, Traffic]
) -> None:
    """`kubectl rollout undo` returns to the other snapshot and fails no request."""
    before, asked = _served_commit(running_project), len(running_project.hub.requests)
    with _traffic_during_rollout(cluster, running_project) as traffic:
        running_project.kubectl("rollout", "undo", f"deployment/{SERVER}")
        running_project.kubectl("rollout", "status", f"deployment/{SERVER}", "--timeout=120s")
    traffic.assert_whole()
    assert _served_commit(running_project) != before
    assert len(running_project.hub.requests) == asked


def test_a_broken_image_leaves_the_old_pod_serving(running_project: Project) -> None:
    """`up` with a missing image fails with its name and a remedy; the old pod keeps serving."""
    running_project.run("up", "--no-ask")
    (serving,) = running_project.pods()
    address = running_project.get("service", SERVER)["spec"]["clusterIP"]
    image = "ghcr.io/ggml-org/llama.cpp:server-b0"
    running_project.file["servers"][SERVER]["image"] = image
    try:
        with Traffic(address, SERVER) as traffic:
            broken = running_project.run("up", "--timeout=15", code=20)
    finally:
        del running_project.file["servers"][SERVER]["image"]
    traffic.assert_whole()
    (error,) = broken.of("error")
    assert image in error["message"]
    assert "name a mirror with `registry`" in error["message"]
    assert serving["metadata"]["name"] in {
        pod["metadata"]["name"] for pod in running_project.pods()
    }
    running_project.run("up")
    (corrected,) = running_project.pods()
    assert corrected["spec"]["containers"][0]["image"] == images.LLAMA
