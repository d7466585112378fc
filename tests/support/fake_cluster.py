"""A cluster in memory, with controllers that tests can leave out or break on purpose."""

# ruff: noqa: ARG002 - the real one has these options

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelshelf.kube.refusals import ConflictError, ExistsError, ForbiddenError, MissingError
from modelshelf.render.names import Key, Object, key, short_hash
from modelshelf.shelf.errors import TargetError
from modelshelf.shelf.events import Event
from modelshelf.targets.kubernetes.site import Pace, Site, Timeouts

Controller = Callable[["FakeCluster"], None]
_STARTED = 1_800_000_000.0


@dataclasses.dataclass(frozen=True)
class FakeReply:
    """An answer to a plain request."""

    status: int
    body: bytes


class FakeCluster:
    """Objects by key; controllers run after each write, and each time that somebody waits.

    Attributes:
        objects: What is there.
        controllers: What moves it; `settle` has a working cluster's.
        taken: Objects of which others own fields: fields and managers.
        forbidden: Kinds that this user may not see.
        said: Pod, or pod/container → its log.
        answers: Path → answers of the service proxy, the last one for ever.
        calls: (verb, kind, name) of all that was asked.
        now: Seconds on its clock.
    """

    server = "https://fake:6443"
    context = "fake"

    def __init__(self, *controllers: Controller) -> None:
        self.objects: dict[Key, Object] = {}
        self.controllers = list(controllers or settle())
        self.taken: dict[Key, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.forbidden: set[str] = set()
        self.said: dict[str, list[str]] = {}
        self.answers: dict[str, list[FakeReply]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.now = 0.0
        self._numbers = itertools.count(1)

    def site(self, config: Any, tell: Callable[[Event], None], **timeouts: float) -> Site:
        """What verbs work on, with this cluster's clock."""
        pace = Pace(lambda: self.now, self.sleep, lambda: _STARTED + self.now, look=1.0)
        return Site(config, self, tell, Timeouts(**timeouts), pace)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self._move()

    def writes(self) -> list[tuple[str, str, str]]:
        """What was asked that may have changed something."""
        return [call for call in self.calls if call[0] in {"apply", "create", "patch", "delete"}]

    def put(self, obj: Object) -> Object:
        """Have an object there, as if somebody else had made it."""
        stored = copy.deepcopy(obj)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._numbers)}")
        metadata.setdefault("creationTimestamp", self.time())
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(next(self._numbers))
        self.objects[key(stored)] = stored
        return stored

    def time(self) -> str:
        """Now, as Kubernetes writes it."""
        moment = dt.datetime.fromtimestamp(_STARTED + self.now, dt.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def of(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [obj for each, obj in sorted(self.objects.items()) if each.kind == kind]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object."""
        self._called("get", kind, name)
        return copy.deepcopy(self.objects.get(Key(kind, namespace or "", name)))

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> Any:
        """Objects with labels."""
        self._called("list", kind, "")
        return [
            copy.deepcopy(obj)
            for obj in self.of(kind)
            if namespace in {None, obj["metadata"].get("namespace")}
            and all(
                (obj["metadata"].get("labels") or {}).get(label) == value
                for label, value in (labels or {}).items()
            )
        ]

    def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Merge an object into what is there."""
        self._called("dry-run" if dry_run else "apply", obj["kind"], obj["metadata"]["name"])
        where = key(obj)
        self._require_namespace(where)
        if where in self.taken and not force:
            fields, managers = self.taken[where]
            raise ConflictError("owned", fields=fields, managers=managers)
        before = self.objects.get(where)
        after: Object = merged(before or {}, obj)
        if dry_run:
            return after
        self.taken.pop(where, None)
        if before is not None and after == before:
            return copy.deepcopy(before)
        if before is not None and after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        stored = self.put(after)
        self._move()
        return copy.deepcopy(stored)

    def create(self, obj: Object) -> Object:
        """Create an object."""
        self._called("create", obj["kind"], obj["metadata"]["name"])
        if key(obj) in self.objects:
            raise ExistsError(f"{key(obj)} exists")
        self._require_namespace(key(obj))
        stored = self.put(obj)
        self._move()
        return copy.deepcopy(stored)

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        """Merge-patch an object."""
        self._called("patch", kind, name)
        where = Key(kind, namespace or "", name)
        if where not in self.objects:
            raise MissingError(f"no {where}")
        before = self.objects[where]
        after: Object = merged(before, dict(body))
        after["metadata"]["generation"] += 1
        self.put(after)
        self._move()
        return copy.deepcopy(after | {"status": before.get("status", {})})

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        wait: bool = False,
        propagation: str = "Background",
        timeout: float = 120.0,
    ) -> bool:
        """Delete an object and what it owns."""
        self._called("delete", kind, name)
        gone = self.objects.pop(Key(kind, namespace or "", name), None)
        if gone is not None:
            self._collect(gone["metadata"]["uid"])
        self._move()
        return gone is not None

    def logs(
        self,
        pod: str,
        namespace: str,
        container: str | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
        stamped: int | None = None,
    ) -> Iterator[str]:
        """A pod's lines."""
        if "Log" in self.forbidden:
            raise ForbiddenError("this user may not get pods/log")
        if {pod, f"{pod}/{container}"}.isdisjoint(self.said):
            raise TargetError(f"pod {pod} has no log")
        key = f"{pod}/{container}" if f"{pod}/{container}" in self.said else pod
        yield from self.said[key][-tail if tail else 0 :]

    def events(self, namespace: str, name: str = "", *, warnings: bool = False) -> Any:
        """The events."""
        self._called("list", "Event", "")
        return [
            copy.deepcopy(each)
            for each in self.of("Event")
            if name in {"", each["involvedObject"]["name"]}
            and not (warnings and each.get("type") == "Normal")
        ]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> FakeReply:
        """What the service proxy answers."""
        self._called(method, "proxy", path)
        short = path.partition("/proxy")[2]
        answers = self.answers.get(short) or usual_answers()[short]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _called(self, verb: str, kind: str, name: str) -> None:
        self.calls.append((verb, kind, name))
        if kind in self.forbidden:
            raise ForbiddenError(f"this user may not {verb} {kind}")

    def _require_namespace(self, where: Key) -> None:
        if where.namespace and Key("Namespace", "", where.namespace) not in self.objects:
            raise MissingError(f'namespaces "{where.namespace}" not found')

    def _collect(self, uid: str) -> None:
        for each, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == uid for owner in owners) and each in self.objects:
                del self.objects[each]
                self._collect(obj["metadata"]["uid"])

    def _move(self) -> None:
        for controller in self.controllers:
            controller(self)


def merged(before: Any, change: Any) -> Any:
    """A value with another merged into it, as a merge patch does."""
    if not isinstance(before, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(before)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def settle() -> tuple[Controller, ...]:
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
    """What a pull says that found its model."""
    return {
        "event": "published", "repo_id": "acme/tiny", "snapshot": "c0ffee-1", "path": "/shelf/x",
        "bytes": 1000, "fetched": 0, "seconds": 0.1, "how": "present",
    }  # fmt: skip


def end_job(cluster: FakeCluster, job: Object, told: Mapping[str, Any], code: int = 0) -> None:
    """End a Job by one pod that says something."""
    name = f"{job['metadata']['name']}-abcde"
    line = json.dumps(told)
    cluster.said[name] = [line]
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
    mine = [
        each
        for each in cluster.of("ReplicaSet")
        if each["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]
    ]
    found = next((each for each in mine if each["metadata"]["name"] == name), None)
    if found is None:
        owner = {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
        about = {
            "name": name, "namespace": metadata["namespace"], "ownerReferences": [owner],
            "labels": dict(template["metadata"]["labels"]), "annotations": {},
        }  # fmt: skip
        spec = {"template": copy.deepcopy(template), "replicas": deployment["spec"]["replicas"]}
        found = cluster.put({"kind": "ReplicaSet", "metadata": about, "spec": spec})
    revisions = [int(each["metadata"]["annotations"].get(_REVISION, 0)) for each in mine]
    newest = max(revisions, default=0)
    if int(found["metadata"]["annotations"].get(_REVISION, 0)) <= newest - 1 or found not in mine:
        found["metadata"]["annotations"][_REVISION] = str(newest + 1)
    return found


_REVISION = "deployment.kubernetes.io/revision"


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


def usual_answers() -> dict[str, list[FakeReply]]:
    """What a server answers that works."""
    chat = {"choices": [{"message": {"content": "Paris."}}]}
    return {
        "/v1/models": [FakeReply(200, json.dumps({"data": [{"id": "tiny"}]}).encode())],
        "/v1/chat/completions": [FakeReply(200, json.dumps(chat).encode())],
    }
