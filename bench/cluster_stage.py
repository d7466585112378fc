"""An empty place in a cluster for one measurement: a namespace to be made, a share, a counting hub.

What every way of bringing a model up is measured by is here, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from hub import Hub
from lab.cluster import Cluster
from support.cluster_project import SERVER, Project, add_smollm2

from bench.memory import remove
from bench.timing import FailedError
from bench.wheels import Index

Object = dict[str, Any]
_OWNER = 1000
_NUMBERS = itertools.count(1)
_GONE = 60.0  # seconds for pods to end
# Whoever makes pods before the pods.
_MAKERS = (
    "apis/apps/v1/deployments",
    "apis/apps/v1/replicasets",
    "apis/batch/v1/jobs",
    "api/v1/pods",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """Something that was so, `at` seconds after the beginning."""

    what: str
    at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A model brought up from nothing.

    Attributes:
        ready: Seconds until all replicas were ready.
        answered: Seconds until one had answered a question.
        applied: Seconds until the server's objects were applied.
        fetched: Bytes of files that the hub sent.
        packages: Bytes of Python packages that pods fetched.
        pods: Seconds of each pod of the server from its creation to ready; Kubernetes counts whole
            ones.
        moments: What happened on the way, in order.
        spans: What took how many seconds, where a way can tell.
    """

    ready: float
    answered: float
    applied: float
    fetched: int
    packages: int
    pods: tuple[float, ...]
    moments: tuple[Moment, ...]
    spans: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Second:
    """One replica made two.

    Attributes:
        ready: Seconds until the second was ready.
        fetched: Bytes of files that the hub sent for it.
        packages: Bytes of Python packages that it fetched.
        pod: Seconds from its pod's creation to ready, whole ones.
    """

    ready: float
    fetched: int
    packages: int
    pod: float


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Where one measurement takes place.

    Attributes:
        cluster: The cluster.
        namespace: Of a name that is free.
        share: An empty folder of the node.
        hub: Has the model, and counts.
        index: Has Python packages, and counts.
        project: A user's modelshelf.yaml for all of this.
        size: Bytes of the model's files.
        index_before: Bytes that the index had sent before.
    """

    cluster: Cluster
    namespace: str
    share: Path
    hub: Hub
    index: Index
    project: Project
    size: int
    index_before: int

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *argv, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        """Apply objects by kubectl."""
        whole = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(whole))

    def pods(self) -> list[Object]:
        """The server's pods, the oldest first."""
        found = json.loads(self.kubectl("get", "pods", "-o=json"))["items"]
        of_server = [pod for pod in found if pod["metadata"]["name"].startswith(f"{SERVER}-")]
        return sorted(of_server, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


class Way(Protocol):
    """A way of bringing a model up, and one more replica."""

    title: str

    def start(self, stage: Stage, replicas: int) -> Start:
        """From nothing to all replicas ready and an answer."""
        ...

    def second(self, stage: Stage) -> Second:
        """From one replica to two."""
        ...


class Clock:
    """Notes moments."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.moments: list[Moment] = []

    def mark(self, what: str) -> float:
        """Note that something is so now; returns its seconds."""
        at = time.monotonic() - self._began
        self.moments.append(Moment(what, at))
        return at


@contextlib.contextmanager
def stage(cluster: Cluster, index: Index) -> Iterator[Stage]:
    """An empty place, and empty again afterwards."""
    namespace = f"bench-{next(_NUMBERS)}"
    if cluster.share is None:
        raise ValueError("somebody's own cluster has no folder for a share that we could fill")
    share = cluster.share / namespace
    share.mkdir()
    os.chown(share, _OWNER, _OWNER)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    shelf = {"hostPath": {"path": str(share)}}
    with Hub(address=cluster.address) as hub:
        repo = add_smollm2(hub)
        size = sum(entry.size for entry in repo.files.values())
        project = Project(folder, cluster, namespace, hub, shelf)
        try:
            yield Stage(cluster, namespace, share, hub, index, project, size, index.sent)
        finally:
            _clear(cluster, namespace)
            remove(str(share))
            shutil.rmtree(folder)


def to_ready(pod: Object) -> float:
    """Seconds from a pod's creation until it was ready; Kubernetes counts whole ones. Pure."""
    conditions = pod["status"]["conditions"]
    (ready,) = [each for each in conditions if each["type"] == "Ready"]
    return _seconds(ready["lastTransitionTime"]) - _seconds(pod["metadata"]["creationTimestamp"])


def pods_to_ready(pods: Sequence[Object]) -> tuple[float, ...]:
    """The same of each pod. Pure."""
    return tuple(to_ready(pod) for pod in pods)


def _seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()


def _clear(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace and its volumes, once its pods have really ended: they use processors."""
    # Whole collections: one by one kubectl allows itself few requests a second.
    for kind in _MAKERS:
        group, _, plural = kind.rpartition("/")
        path = f"/{group}/namespaces/{namespace}/{plural}"
        cluster.kubectl("delete", "--raw", f"{path}?gracePeriodSeconds=1")
    end = time.monotonic() + _GONE
    while cluster.kubectl("--namespace", namespace, "get", "pods", "-o=name"):
        if time.monotonic() > end:
            raise FailedError(f"pods of {namespace} do not end")
        time.sleep(0.2)
    cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
    for volume in json.loads(cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            cluster.kubectl("delete", "pv", volume["metadata"]["name"], "--wait=false")
