"""A cluster in memory, with controllers that tests can leave out or break on purpose."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from support.fake_api_server import FakeApiServer

from modelshelf.kube.client import Cluster
from modelshelf.kube.connection import Connection
from modelshelf.kube.kubeconfig import KubeContext
from modelshelf.render.names import Object, key, short_hash
from modelshelf.shelf.events import Event
from modelshelf.targets.kubernetes.clock import Clock
from modelshelf.targets.kubernetes.session import Session, Timeouts

Controller = Callable[["FakeCluster"], None]
_STARTED = 1_800_000_000.0  # seconds since 1970 when the cluster's clock is at 0
_REVISION = "deployment.kubernetes.io/revision"


class FakeCluster(FakeApiServer):
    """An API server in memory with controllers, and a clock that moves when somebody waits.

    Attributes:
        controllers: They change objects after each write, and each time that somebody waits.
            `working_controllers` has those of a cluster in which everything works.
        now: Seconds on its clock.
        poll_seconds: Seconds between two looks of a verb at the cluster.
        client: The real client, connected to this cluster.
    """

    def __init__(self, *controllers: Controller) -> None:
        super().__init__()
        self.controllers = list(controllers or working_controllers())
        self.now = 0.0
        self.poll_seconds = 1.0
        context = KubeContext("fake", "https://fake:6443", {}, {})
        self.client = Cluster(Connection(context, self.sleep, self.http()), self.sleep)

    def session(self, config: Any, tell: Callable[[Event], None], **timeouts: float) -> Session:
        """What verbs work on, with this cluster's clock."""
        clock = Clock(lambda: self.now, self.sleep, lambda: _STARTED + self.now, self.poll_seconds)
        return Session(config, self.client, tell, Timeouts(**timeouts), clock)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.changed()

    def time(self) -> str:
        """The time of day, as Kubernetes writes it."""
        moment = dt.datetime.fromtimestamp(_STARTED + self.now, dt.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def changed(self) -> None:
        """Let each controller act once."""
        for controller in self.controllers:
            controller(self)


def working_controllers() -> tuple[Controller, ...]:
    """The controllers of a cluster in which everything works."""
    return (bind_claims, run_jobs, run_deployments)


def bind_claims(cluster: FakeCluster) -> None:
    """Each claim has the volume that it names."""
    for claim in cluster.of("PersistentVolumeClaim"):
        claim.setdefault("status", {})["phase"] = "Bound"


def run_jobs(cluster: FakeCluster) -> None:
    """Each Job's pod finds the model, and says so."""
    for job in cluster.of("Job"):
        if not job.get("status"):
            end_job(cluster, job, published())


def published() -> dict[str, Any]:
    """The last event of a pull whose model is on the shelf already."""
    return {
        "event": "published", "repo_id": "acme/tiny", "snapshot": "c0ffee-1", "path": "/shelf/x",
        "bytes": 1000, "fetched": 0, "seconds": 0.1, "how": "present",
    }  # fmt: skip


def end_job(cluster: FakeCluster, job: Object, outcome: Mapping[str, Any], code: int = 0) -> None:
    """End a Job by one pod that says something."""
    name = f"{job['metadata']['name']}-abcde"
    line = json.dumps(outcome)
    cluster.logs[name] = [line]
    metadata = {
        "name": name,
        "namespace": job["metadata"]["namespace"],
        "labels": {
            **job["metadata"]["labels"], "batch.kubernetes.io/job-name": job["metadata"]["name"],
        },
        "ownerReferences": [{"kind": "Job", "name": job["metadata"]["name"],
                             "uid": job["metadata"]["uid"]}],
    }  # fmt: skip
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": line}
    container = {"name": "job", "state": {"terminated": ended}}
    phase = "Failed" if code else "Succeeded"
    status = {"phase": phase, "containerStatuses": [container]}
    cluster.put({"kind": "Pod", "metadata": metadata, "spec": {}, "status": status})
    kind = "Failed" if code else "Complete"
    condition = {"type": kind, "status": "True", "lastTransitionTime": cluster.time()}
    job["status"] = {"conditions": [condition]}
    if code:
        condition |= {"reason": "PodFailurePolicy", "message": "a pod failed"}
    else:
        job["status"]["completionTime"] = cluster.time()


def run_deployments(cluster: FakeCluster) -> None:
    """Each Deployment has a ReplicaSet of its template, and as many ready pods as it wants."""
    for deployment in cluster.of("Deployment"):
        roll_out(cluster, deployment, ready=True)


def roll_out(cluster: FakeCluster, deployment: Object, *, ready: bool) -> None:
    """Make the ReplicaSet and the pods of a Deployment's template; others' pods go."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    replica_set = _replica_set(cluster, deployment)
    for pod in cluster.of("Pod"):
        if spec["selector"]["matchLabels"].items() <= (pod["metadata"].get("labels") or {}).items():
            cluster.objects.pop(key(pod))
    for number in range(spec["replicas"]):
        cluster.put(_pod(replica_set, number, ready=ready))
    count = spec["replicas"]
    deployment["status"] = {
        "observedGeneration": metadata["generation"],
        "replicas": count,
        "updatedReplicas": count,
        "availableReplicas": count if ready else 0,
    }


def _replica_set(cluster: FakeCluster, deployment: Object) -> Object:
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    name = f"{metadata['name']}-{short_hash(template)}"
    owned = [
        each
        for each in cluster.of("ReplicaSet")
        if each["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]
    ]
    replica_set = next((each for each in owned if each["metadata"]["name"] == name), None)
    if replica_set is None:
        owner = {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
        about = {
            "name": name, "namespace": metadata["namespace"], "ownerReferences": [owner],
            "labels": dict(template["metadata"]["labels"]), "annotations": {},
        }  # fmt: skip
        spec = {"template": copy.deepcopy(template), "replicas": deployment["spec"]["replicas"]}
        replica_set = cluster.put({"kind": "ReplicaSet", "metadata": about, "spec": spec})
    revisions = [int(each["metadata"]["annotations"].get(_REVISION, 0)) for each in owned]
    newest = max(revisions, default=0)
    if (
        int(replica_set["metadata"]["annotations"].get(_REVISION, 0)) <= newest - 1
        or replica_set not in owned
    ):
        replica_set["metadata"]["annotations"][_REVISION] = str(newest + 1)
    return replica_set


def _pod(replica_set: Object, number: int, *, ready: bool) -> Object:
    metadata = replica_set["metadata"]
    about = {
        "name": f"{metadata['name']}-{number}", "namespace": metadata["namespace"],
        "labels": dict(metadata["labels"]),
        "ownerReferences": [
            {"kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}
        ],
    }  # fmt: skip
    state: Object = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "engine", "state": state, "ready": ready}],
    }
    return {"kind": "Pod", "metadata": about, "spec": {"nodeName": "vm1"}, "status": status}
