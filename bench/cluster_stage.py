"""An empty namespace, share and hub in a cluster for each measurement, and what is measured.

Every way of bringing a model up is measured by the same values, which are defined here.
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
_OWNER_UID = 1000
_NUMBERS = itertools.count(1)
_POD_END_SECONDS = 60.0
# The kinds that create pods come before pods, or they would create new ones.
_DELETION_ORDER = (
    "apis/apps/v1/deployments",
    "apis/apps/v1/replicasets",
    "apis/batch/v1/jobs",
    "api/v1/pods",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened `at` seconds after the beginning."""

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
        pods: Seconds of each of the server's pods from its creation to ready; Kubernetes counts
            whole seconds.
        moments: What happened meanwhile, in order.
        spans: Names of parts and their seconds, if the way of bringing up reports them.
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
    """The second replica of a server that had one.

    Attributes:
        ready: Seconds until it was ready.
        fetched: Bytes of files that the hub sent for it.
        packages: Bytes of Python packages that it fetched.
        pod: Whole seconds from its pod's creation to ready.
    """

    ready: float
    fetched: int
    packages: int
    pod: float


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """The place of one measurement.

    Attributes:
        cluster: The cluster.
        namespace: A name that no namespace has yet.
        share: An empty folder of the node.
        hub: The hub that has the model and counts what it sends.
        index: The index that has Python packages and counts what it sends.
        project: A user's modelshelf.yaml for this namespace, share and hub.
        size: Bytes of the model's files.
        index_before: Bytes that the index had sent before the measurement.
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
        objects_list = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(objects_list))

    def pods(self) -> list[Object]:
        """The server's pods, the oldest first."""
        pods = json.loads(self.kubectl("get", "pods", "-o=json"))["items"]
        server_pods = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{SERVER}-")]
        return sorted(server_pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


class Way(Protocol):
    """A way of bringing a model up, and one more replica."""

    title: str

    def start(self, stage: Stage, replicas: int) -> Start:
        """Bring the model up from nothing, until all replicas are ready and one has answered."""
        ...

    def second(self, stage: Stage) -> Second:
        """Scale from one replica to two."""
        ...


class Clock:
    """A clock that starts now and records moments."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.moments: list[Moment] = []

    def mark(self, what: str) -> float:
        """Record that something happened now, and return the seconds until now."""
        at = time.monotonic() - self._start
        self.moments.append(Moment(what, at))
        return at


@contextlib.contextmanager
def stage(cluster: Cluster, index: Index) -> Iterator[Stage]:
    """Prepare an empty place for one measurement, and empty it afterwards."""
    namespace = f"bench-{next(_NUMBERS)}"
    if cluster.share is None:
        raise ValueError("a cluster that the benchmark did not start has no folder for a share")
    share = cluster.share / namespace
    share.mkdir()
    os.chown(share, _OWNER_UID, _OWNER_UID)
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
    """Whole seconds from a pod's creation until it was ready. Pure."""
    conditions = pod["status"]["conditions"]
    (ready,) = [each for each in conditions if each["type"] == "Ready"]
    return _seconds(ready["lastTransitionTime"]) - _seconds(pod["metadata"]["creationTimestamp"])


def pods_to_ready(pods: Sequence[Object]) -> tuple[float, ...]:
    """Whole seconds from each pod's creation until it was ready. Pure."""
    return tuple(to_ready(pod) for pod in pods)


def _seconds(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()


def _clear(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace and its volumes after its pods have ended, since pods use processors."""
    # Whole collections, since kubectl limits itself to a few requests a second.
    for kind in _DELETION_ORDER:
        group, _, plural = kind.rpartition("/")
        path = f"/{group}/namespaces/{namespace}/{plural}"
        cluster.kubectl("delete", "--raw", f"{path}?gracePeriodSeconds=1")
    end = time.monotonic() + _POD_END_SECONDS
    while cluster.kubectl("--namespace", namespace, "get", "pods", "-o=name"):
        if time.monotonic() > end:
            raise FailedError(f"pods of {namespace} do not end")
        time.sleep(0.2)
    cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
    for volume in json.loads(cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            cluster.kubectl("delete", "pv", volume["metadata"]["name"], "--wait=false")
