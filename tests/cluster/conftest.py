"""What tests on a real Kubernetes share.

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

# Whole modules are dealt out to processes, in the order of the tests: the longest ones come first.
_LONG = ("test_vllm.py", "test_verbs.py", "test_pulls.py")
_NUMBERS = itertools.count(1)
_OWNER = 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no long module be the last, with only one process at work."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real cluster of one node, the same for all tests."""
    if reason := why_not():
        pytest.skip(reason)
    with one_node() as started:
        yield started


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A name for a namespace that does not exist; what is in it afterwards is deleted."""
    with _named(cluster) as name:
        yield name


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that exists, takes pods at once, and enforces Pod Security `restricted`."""
    cluster.kubectl("create", "namespace", namespace)
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, enforce)
    # Until its account is there, a bare pod is refused.
    account = ["--namespace", namespace, "serviceaccount/default"]
    cluster.kubectl("wait", "--for=create", "--timeout=30s", *account)
    return namespace


@pytest.fixture
def share(cluster: Cluster, namespace: str) -> Path:
    """An empty folder on the node, for a hostPath that stands for the share; user 1000 owns it."""
    return _folder(cluster, namespace)


@pytest.fixture
def hub(cluster: Cluster) -> Iterator[Hub]:
    """A Hub that pods reach, and that counts what it sends them."""
    with Hub(address=cluster.address) as hub:
        yield hub


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub, share: Path) -> Project:
    """One llama.cpp server of a real model, with a folder of the node as the share."""
    add_smollm2(hub)
    return Project(tmp_path, cluster, namespace, hub, {"hostPath": {"path": str(share)}})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Project]:
    """The project of `project`, brought up once for all tests of a module."""
    with _named(cluster) as name, Hub(address=cluster.address) as hub:
        add_smollm2(hub)
        share = {"hostPath": {"path": str(_folder(cluster, name))}}
        project = Project(tmp_path_factory.mktemp(name), cluster, name, hub, share)
        project.run("up")
        yield project


@pytest.fixture(scope="module")
def vllm_project(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Project]:
    """A project of one server of real vLLM, whose image has its Python from the node."""
    if cluster.mount is None:
        pytest.skip("somebody's own cluster has no vLLM of ours")
    if reason := vllm_image.why_not():
        pytest.skip(reason)
    cluster.mount(vllm_image.VLLM, vllm_image.packages())
    with _named(cluster) as name, Hub(address=cluster.address) as hub:
        add_vllm(hub)
        share = {"hostPath": {"path": str(_folder(cluster, name))}}
        project = Project(tmp_path_factory.mktemp(name), cluster, name, hub, share)
        project.file["servers"] = {SERVER: copy.deepcopy(VLLM)}
        yield project


@pytest.fixture
def unserved(tmp_path: Path, cluster: Cluster, namespace: str, hub: Hub, share: Path) -> Project:
    """A model of 3 MB that no server loads, with a folder of the node as the share."""
    add_tiny(hub)
    project = Project(tmp_path, cluster, namespace, hub, {"hostPath": {"path": str(share)}})
    project.file["models"] = {TINY_MODEL: {"source": f"hf://{TINY_ID}", "engine": "vllm"}}
    project.file["servers"] = {}
    return project


@pytest.fixture
def gpus(cluster: Cluster) -> Iterator[int]:
    """Two GPUs on the node, as far as the scheduler can see."""
    cluster.set_gpus(2)
    yield 2
    cluster.set_gpus(0)


@contextlib.contextmanager
def _named(cluster: Cluster) -> Iterator[str]:
    """A namespace's name; what is in it afterwards is deleted."""
    name = f"test-{os.getpid()}-{next(_NUMBERS)}"
    yield name
    _empty(cluster, name)


def _folder(cluster: Cluster, namespace: str) -> Path:
    """A new folder for a share."""
    if cluster.share is None:
        pytest.skip("somebody's own cluster: the node's folders cannot be looked at")
    folder = cluster.share / namespace
    folder.mkdir()
    os.chown(folder, _OWNER, _OWNER)
    return folder


def _empty(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace with all that is in it, and the volumes that its claims were bound to."""
    now = ["--ignore-not-found", "--namespace", namespace]
    # Whoever makes pods first, then the pods, which need not take their leave.
    cluster.kubectl("delete", "deployments,jobs,replicasets", "--all", "--wait=false", *now)
    cluster.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", *now)
    # Kubernetes takes seconds to see that a namespace is empty, and nobody needs its name again.
    later = ["--ignore-not-found", "--wait=false"]
    cluster.kubectl("delete", "namespace", namespace, *later)
    for volume in json.loads(cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            cluster.kubectl("delete", "persistentvolume", volume["metadata"]["name"], *later)
