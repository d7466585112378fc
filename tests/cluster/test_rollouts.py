"""Rollouts on a real Kubernetes, under requests that never pause: not one of them fails."""

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
def updated(cluster: Cluster, kept: Project) -> tuple[Done, Traffic]:
    """How an `up` to a second commit ended, and what became of the requests meanwhile."""
    kept.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    kept.run("lock", "--upgrade", MODEL)
    with _replacing(cluster, kept) as traffic:
        done = kept.run("up", "--no-ask")
    return done, traffic


@contextlib.contextmanager
def _replacing(cluster: Cluster, project: Project) -> Iterator[Traffic]:
    """Requests through the Service, from before a rollout until the pods before it are gone."""
    address = project.get("service", SERVER)["spec"]["clusterIP"]
    cluster.await_service(address, 80)
    old = [f"pod/{pod['metadata']['name']}" for pod in project.pods()]
    with Traffic(address, SERVER) as traffic:
        yield traffic
        project.kubectl("wait", "--for=delete", "--timeout=60s", *old)


def _locked(project: Project) -> str:
    """The commit that the lock has."""
    lock = json.loads(project.path.with_name("modelshelf.lock").read_text())
    return str(lock["models"][MODEL]["snapshot"]["commit"])


def _served(project: Project) -> str:
    """The commit that the one pod of the server has."""
    (pod,) = project.pods()
    snapshot: str = pod["metadata"]["annotations"]["modelshelf.dev/snapshot"]
    return snapshot.rpartition("@")[2].rpartition("-")[0]


def test_an_update_under_load_fails_no_request(
    kept: Project, updated: tuple[Done, Traffic]
) -> None:
    """While `up` rolls to a second commit, every request is answered, every stream ends.

    The second commit has the same weights, so their bytes were downloaded once.
    """
    done, traffic = updated
    traffic.assert_whole()
    assert kept.hub.bytes_sent(FILE) == smollm2().stat().st_size
    assert done.of("server-ready", server=SERVER)


def test_an_update_serves_what_the_lock_says(kept: Project, updated: tuple[Done, Traffic]) -> None:
    """After `lock --upgrade` and `up` the pod has the new commit."""
    assert updated[0].changed
    kept.run("up", "--no-ask")
    assert _served(kept) == _locked(kept)


def test_a_rollback_under_load_needs_no_hub(
    cluster: Cluster, kept: Project, updated: tuple[Done, Traffic]
) -> None:
    """`rollback` fails no request and downloads nothing, and the next `up` does not undo it."""
    kept.hub.stop()
    before, asked = _served(kept), len(kept.hub.requests)
    with _replacing(cluster, kept) as traffic:
        kept.run("rollback", SERVER)
    traffic.assert_whole()
    back = _served(kept)
    assert back != before
    assert _locked(kept) == back
    assert kept.run("up", "--no-ask").of("applied", kind="Deployment", how="unchanged")
    assert _served(kept) == back
    assert len(kept.hub.requests) == asked


def test_kubectl_rollout_undo_is_a_rollback(
    cluster: Cluster, kept: Project, updated: tuple[Done, Traffic]
) -> None:
    """`kubectl rollout undo` returns to the other snapshot, downloads nothing, fails no request."""
    before, asked = _served(kept), len(kept.hub.requests)
    with _replacing(cluster, kept) as traffic:
        kept.kubectl("rollout", "undo", f"deployment/{SERVER}")
        kept.kubectl("rollout", "status", f"deployment/{SERVER}", "--timeout=120s")
    traffic.assert_whole()
    assert _served(kept) != before
    assert len(kept.hub.requests) == asked


def test_a_broken_image_leaves_the_old_pod_serving(kept: Project) -> None:
    """An image that no one can pull fails `up` with name and cure, while the old pod serves on."""
    kept.run("up", "--no-ask")
    (serving,) = kept.pods()
    address = kept.get("service", SERVER)["spec"]["clusterIP"]
    image = "ghcr.io/ggml-org/llama.cpp:server-b0"
    kept.file["servers"][SERVER]["image"] = image
    try:
        with Traffic(address, SERVER) as traffic:
            broken = kept.run("up", "--timeout=15", code=20)
    finally:
        del kept.file["servers"][SERVER]["image"]
    traffic.assert_whole()
    (error,) = broken.of("error")
    assert image in error["message"]
    assert "name a mirror with `registry`" in error["message"]
    assert serving["metadata"]["name"] in {pod["metadata"]["name"] for pod in kept.pods()}
    kept.run("up")
    (corrected,) = kept.pods()
    assert corrected["spec"]["containers"][0]["image"] == images.LLAMA
