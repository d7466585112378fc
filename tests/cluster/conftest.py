"""Fixtures of the tests on a real Kubernetes.

Run them by `python -m lab build && python -m lab run pytest tests/cluster`; see `lab.cluster`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub
from lab import vllm_image
from lab.cluster import Cluster, one_node, why_not
from support.cluster_project import (
    SERVER,
    TINY_ID,
    TINY_MODEL,
    VLLM,
    Project,
    add_smollm2,
    add_tiny,
    add_vllm,
)

# pytest-xdist gives whole modules to its processes in this order, so the longest come first.
_LONG_MODULES = ("test_vllm.py", "test_verbs.py", "test_pulls.py")
_NUMBERS = itertools.count(1)
_OWNER_UID = 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, so that none of them runs alone at the end."""
    items.sort(key=lambda item: item.path.name not in _LONG_MODULES)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real cluster of one node, the same for all tests."""
    if reason := why_not():
        pytest.skip(reason)
    with one_node() as started:
        yield started


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace that does not exist; the test's end deletes what is in it."""
    with _namespace_name(cluster) as name:
        yield name


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that exists, accepts pods, and enforces Pod Security `restricted`."""
    cluster.kubectl("create", "namespace", namespace)
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, enforce)
    # A bare pod is refused until the namespace has its service account.
    account = ["--namespace", namespace, "serviceaccount/default"]
    cluster.kubectl("wait", "--for=create", "--timeout=30s", *account)
    return namespace


@pytest.fixture
def share(cluster: Cluster, namespace: str) -> Path:
    """An empty folder of the node that user 1000 owns; a hostPath makes it the share."""
    return _make_share(cluster, namespace)


@pytest.fixture
def hub(cluster: Cluster) -> Iterator[Hub]:
    """A Hub that pods can reach and that counts the bytes that it sends them."""
    with Hub(address=cluster.address) as hub:
        yield hub


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub, share: Path) -> Project:
    """A project with one llama.cpp server of a real model, and a folder of the node as share."""
    add_smollm2(hub)
    return Project(tmp_path, cluster, namespace, hub, {"hostPath": {"path": str(share)}})


@pytest.fixture(scope="module")
def running_project(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster
) -> Iterator[Project]:
    """The project of `project`, brought up once for all tests of a module."""
    with _namespace_name(cluster) as name, Hub(address=cluster.address) as hub:
        add_smollm2(hub)
        share = {"hostPath": {"path": str(_make_share(cluster, name))}}
        project = Project(tmp_path_factory.mktemp(name), cluster, name, hub, share)
        project.run("up")
        yield project


@pytest.fixture(scope="module")
def vllm_project(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Project]:
    """A project with one server of real vLLM; its image mounts vLLM's Python from the node."""
    if cluster.mount is None:
        pytest.skip("a cluster that the tests did not start has no vLLM")
    if reason := vllm_image.why_not():
        pytest.skip(reason)
    cluster.mount(vllm_image.VLLM, vllm_image.packages())
    with _namespace_name(cluster) as name, Hub(address=cluster.address) as hub:
        add_vllm(hub)
        share = {"hostPath": {"path": str(_make_share(cluster, name))}}
        project = Project(tmp_path_factory.mktemp(name), cluster, name, hub, share)
        project.file["servers"] = {SERVER: copy.deepcopy(VLLM)}
        yield project


@pytest.fixture
def unserved_project(
    tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub, share: Path
) -> Project:
    """A project with a model of 3 MB that no server loads, and a folder of the node as share."""
    add_tiny(hub)
    project = Project(tmp_path, cluster, namespace, hub, {"hostPath": {"path": str(share)}})
    project.file["models"] = {TINY_MODEL: {"source": f"hf://{TINY_ID}", "engine": "vllm"}}
    project.file["servers"] = {}
    return project


@pytest.fixture
def gpus(cluster: Cluster) -> Iterator[int]:
    """Two GPUs that the scheduler sees on the node."""
    cluster.set_gpus(2)
    yield 2
    cluster.set_gpus(0)


@contextlib.contextmanager
def _namespace_name(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace; the end of the block deletes what is in it."""
    name = f"test-{os.getpid()}-{next(_NUMBERS)}"
    yield name
    _delete_namespace(cluster, name)


def _make_share(cluster: Cluster, namespace: str) -> Path:
    """Make a new folder on the node for a share."""
    if cluster.share is None:
        pytest.skip("a cluster that the tests did not start: its node's folders cannot be read")
    folder = cluster.share / namespace
    folder.mkdir()
    os.chown(folder, _OWNER_UID, _OWNER_UID)
    return folder


def _delete_namespace(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace, everything in it, and the volumes bound to its claims."""
    now = ["--ignore-not-found", "--namespace", namespace]
    # First the kinds that create pods, then the pods, which are ended without a grace period.
    cluster.kubectl("delete", "deployments,jobs,replicasets", "--all", "--wait=false", *now)
    cluster.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", *now)
    # The deletion of a namespace takes seconds, and its name is not used again.
    later = ["--ignore-not-found", "--wait=false"]
    cluster.kubectl("delete", "namespace", namespace, *later)
    for volume in json.loads(cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            cluster.kubectl("delete", "persistentvolume", volume["metadata"]["name"], *later)
