"""`status`: what serves, and what the last pull Jobs said of the shelf, in few API calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from modelshelf.config.file import Config
from modelshelf.kube.reasons import explain_deployment, explain_pod
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.targets.kubernetes import job_state, pods
from modelshelf.targets.kubernetes.job_state import JobState
from modelshelf.targets.kubernetes.rollout import rollout_of
from modelshelf.targets.kubernetes.server_objects import pods_of_server, server_url
from modelshelf.targets.kubernetes.session import Session


@dataclasses.dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod that is not ready.

    Attributes:
        name: The pod's name.
        phase: How far it is.
        reason: Why it is not further, as Kubernetes says; may be empty.
        seconds: Its age.
    """

    name: str
    phase: str
    reason: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class ServerStatus:
    """A server.

    Attributes:
        name: The server's key in the file; the Deployment's name if the file has it no longer.
        url: Its base URL inside the cluster.
        there: Whether the cluster has it at all.
        ready: How many of its pods answer.
        wanted: How many pods there should be.
        model: The key of its model; empty if the file has the server no longer.
        snapshot: What it serves, as `repo_id@id`.
        commit: The commit of that snapshot.
        bytes: The size of that snapshot on the shelf.
        reason: Why fewer pods are ready than there should be; empty if all are.
        pods: The pods that are not ready.
    """

    name: str
    url: str
    there: bool
    ready: int
    wanted: int
    model: str
    snapshot: str
    commit: str
    bytes: int
    reason: str
    pods: tuple[PodStatus, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model on the shelf, as its newest pull Job saw it.

    Attributes:
        name: The model's key in the file.
        snapshot: What the Job pulled, as `repo_id@id`.
        commit: The commit of that snapshot.
        bytes: The size of that snapshot on the shelf.
        look: `whole`, `running`, `failed`, or `never` if there is no Job.
        seconds: Since the Job ended, or since it was created if it runs.
        detail: Why it failed.
    """

    name: str
    snapshot: str
    commit: str
    bytes: int
    look: Literal["whole", "running", "failed", "never"]
    seconds: float
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeStatus:
    """Whether a server is primed, as its newest prime Job says.

    Attributes:
        server: The server's key in the file.
        state: `complete`, `running`, `failed`, or `never` if there is no Job.
        seconds: Since the Job ended, or since it was created if it runs.
        detail: Why it failed.
    """

    server: str
    state: JobState | Literal["never"]
    seconds: float
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """What a cluster has of a file.

    Attributes:
        cluster: The API server's base URL.
        context: The kubeconfig's context.
        namespace: The namespace of the file.
        servers: The servers of the file, and those that are still in the cluster.
        models: The models of the file.
        primes: The servers of the file that are to be primed.
    """

    cluster: str
    context: str
    namespace: str
    servers: tuple[ServerStatus, ...]
    models: tuple[ModelStatus, ...]
    primes: tuple[PrimeStatus, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterView:
    """What the cluster has besides Deployments and Jobs, at one moment.

    Attributes:
        pods: The pods of the file.
        events: The warnings of the namespace; none if every server is ready.
        replica_sets: The ReplicaSets of the file; none if every server is ready.
        now: Seconds since 1970.
    """

    pods: Sequence[Object]
    events: Sequence[Object]
    replica_sets: Sequence[Object]
    now: float


def status(session: Session) -> Status:
    """Look at a cluster. At most five API calls are made, however many servers there are.

    Raises:
        TargetError: The cluster refused.
    """
    config, cluster = session.config, session.cluster
    namespace, labels = config.namespace, names.of_file(config)
    deployments = cluster.list("Deployment", namespace, labels)
    all_pods = cluster.list("Pod", namespace, labels)
    jobs = cluster.list("Job", namespace, labels)
    unfinished = any(not rollout_of(deployment).done for deployment in deployments)
    events = cluster.events(namespace, warnings=True) if unfinished else []
    replica_sets = cluster.list("ReplicaSet", namespace, labels) if unfinished else []
    view = ClusterView(all_pods, events, replica_sets, session.clock.wall())
    by_name = {each["metadata"]["name"]: each for each in deployments}
    key_of_name = {names.fitted(key): key for key in config.servers}
    keys = sorted({*config.servers, *(key_of_name.get(name, name) for name in by_name)})
    return Status(
        cluster.server,
        cluster.context,
        namespace,
        tuple(status_of_server(config, key, by_name.get(names.fitted(key)), view) for key in keys),
        tuple(status_of_model(key, jobs, view) for key in sorted(config.models)),
        tuple(
            status_of_prime(key, jobs, view)
            for key, server in sorted(config.servers.items())
            if server.prime
        ),
    )


def status_of_server(
    config: Config, key: str, deployment: Object | None, view: ClusterView
) -> ServerStatus:
    """The status of one server. Pure.

    Args:
        config: The file.
        key: The server's key in it.
        deployment: Its Deployment; None if the cluster has none.
        view: What else the cluster has.
    """
    server = config.servers.get(key)
    model = server.model if server else ""
    url = server_url(key, config.namespace)
    if deployment is None:
        return ServerStatus(
            key, url, there=False, ready=0, wanted=server.replicas if server else 0, model=model,
            snapshot="", commit="", bytes=0, reason="run modelshelf up", pods=(),
        )  # fmt: skip
    own_pods = pods_of_server(view.pods, key)
    rollout = rollout_of(deployment)
    annotations = deployment["metadata"].get("annotations") or {}
    reason = ""
    if not server:
        reason = "modelshelf.yaml has it no longer: up removes it"
    elif not rollout.done:
        reason = explain_deployment(deployment, view.replica_sets, own_pods, view.events)
    return ServerStatus(
        name=key,
        url=url,
        there=True,
        ready=sum(pods.is_ready(pod) for pod in own_pods),
        wanted=rollout.wanted,
        model=model,
        snapshot=annotations.get(names.SNAPSHOT, ""),
        commit=annotations.get(names.COMMIT, ""),
        bytes=int(annotations.get(names.BYTES, 0)),
        reason=reason,
        pods=tuple(_status_of_pod(pod, view) for pod in own_pods if _is_late(pod, view.now)),
    )


def _is_late(pod: Object, now: float) -> bool:
    """Whether a pod is not as it should be: not ready, or deleted and not gone in time."""
    if pods.is_terminating(pod):
        return now >= pods.parse_time(pod["metadata"]["deletionTimestamp"])
    return not pods.is_ready(pod)


def _status_of_pod(pod: Object, view: ClusterView) -> PodStatus:
    phase = pods.phase_of(pod)
    reason = explain_pod(pod, view.events) or phase.detail
    return PodStatus(pod["metadata"]["name"], phase.name, reason, pods.age(pod, view.now))


def status_of_model(key: str, jobs: Iterable[Object], view: ClusterView) -> ModelStatus:
    """The status of one model, as its newest pull Job says. Pure."""
    job = _newest(jobs, names.PULL, key)
    if job is None:
        return ModelStatus(key, "", "", 0, "never", 0.0, "")
    annotations: Mapping[str, str] = job["metadata"].get("annotations") or {}
    state = job_state.state_of(job)
    return ModelStatus(
        name=key,
        snapshot=annotations.get(names.SNAPSHOT, ""),
        commit=annotations.get(names.COMMIT, ""),
        bytes=int(annotations.get(names.BYTES, 0)),
        look="whole" if state == "complete" else state,
        seconds=max(0.0, view.now - job_state.latest_time(job)),
        detail=_failure(f"model {key}", job, view) if state == "failed" else "",
    )


def status_of_prime(key: str, jobs: Iterable[Object], view: ClusterView) -> PrimeStatus:
    """Whether a server is primed, as its newest prime Job says. Pure."""
    job = _newest(jobs, names.PRIME, key)
    if job is None:
        return PrimeStatus(key, "never", 0.0, "")
    state = job_state.state_of(job)
    detail = _failure(f"server {key}", job, view) if state == "failed" else ""
    return PrimeStatus(key, state, max(0.0, view.now - job_state.latest_time(job)), detail)


def _newest(jobs: Iterable[Object], component: str, key: str) -> Object | None:
    """The newest Job of a model or a server."""
    own = [
        job
        for job in jobs
        if (job["metadata"].get("labels") or {}).get(names.NAME) == names.fitted(key)
        and job["metadata"]["labels"].get(names.COMPONENT) == component
    ]
    return max(own, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), default=None)


def _failure(what: str, job: Object, view: ClusterView) -> str:
    """Why a Job failed: as its newest pod reported, else as the Job controller says."""
    for pod in reversed(job_state.pods_of(job, view.pods)):
        if error := job_state.error_in(job_state.outcome_of(pod), what):
            return str(error)
    return job_state.failure_of(job)
