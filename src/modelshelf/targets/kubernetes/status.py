"""`status`: what serves, and what the last look at the shelf said, in a handful of API calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from modelshelf.config.file import Config
from modelshelf.kube.reasons import why_deployment, why_pod
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.targets.kubernetes import jobs, pods, ready
from modelshelf.targets.kubernetes.site import Site


@dataclasses.dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod that is not ready.

    Attributes:
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
        url: Its base URL inside the cluster.
        there: Whether the cluster has it at all.
        ready: Pods that answer.
        wanted: Pods that there should be.
        snapshot: What it serves, as `repo_id@id`.
        bytes: Of that snapshot, on the shelf.
        reason: Why it is not all there; empty if it is.
        pods: Those that are not ready.
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
    """A model on the shelf, as its last pull Job saw it.

    Attributes:
        look: `whole`, `running`, `failed` or `never`.
        seconds: Since that Job ended, or began if it runs.
        detail: Why it failed.
    """

    name: str
    snapshot: str
    commit: str
    bytes: int
    look: str
    seconds: float
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeStatus:
    """A server whose starts unpack what its engine made once, as the newest Job saw it.

    Attributes:
        state: `complete`, `running`, `failed` or `never`.
        seconds: Since that Job ended, or began if it runs.
        detail: Why it failed.
    """

    server: str
    state: str
    seconds: float
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """What a cluster has of a file."""

    cluster: str
    context: str
    namespace: str
    servers: tuple[ServerStatus, ...]
    models: tuple[ModelStatus, ...]
    primes: tuple[PrimeStatus, ...] = ()


def status(site: Site) -> Status:
    """Look at a cluster: at most five API calls, however many servers there are.

    Raises:
        TargetError: The cluster refused.
    """
    config, cluster = site.config, site.cluster
    namespace, labels = config.namespace, names.of_file(config)
    deployments = cluster.list("Deployment", namespace, labels)
    every = cluster.list("Pod", namespace, labels)
    runs = cluster.list("Job", namespace, labels)
    late = [each for each in deployments if not ready.rollout(each).done]
    events = cluster.events(namespace, warnings=True) if late else []
    sets = cluster.list("ReplicaSet", namespace, labels) if late else []
    seen = Seen(every, events, sets, site.pace.wall())
    by_name = {each["metadata"]["name"]: each for each in deployments}
    named = {names.fitted(key): key for key in config.servers}
    keys = sorted({*config.servers, *(named.get(name, name) for name in by_name)})
    return Status(
        cluster.server,
        cluster.context,
        namespace,
        tuple(of_server(config, key, by_name.get(names.fitted(key)), seen) for key in keys),
        tuple(of_model(key, runs, seen) for key in sorted(config.models)),
        tuple(
            of_prime(key, runs, seen)
            for key, server in sorted(config.servers.items())
            if server.prime
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What was seen besides Deployments and Jobs; `now` is seconds since 1970."""

    pods: Sequence[Object]
    events: Sequence[Object]
    sets: Sequence[Object]
    now: float


def of_server(config: Config, key: str, deployment: Object | None, seen: Seen) -> ServerStatus:
    """The status of one server. Pure."""
    server = config.servers.get(key)
    model = server.model if server else ""
    url = ready.url(key, config.namespace)
    if deployment is None:
        return ServerStatus(
            key, url, there=False, ready=0, wanted=server.replicas if server else 0, model=model,
            snapshot="", commit="", bytes=0, reason="run modelshelf up", pods=(),
        )  # fmt: skip
    mine = ready.of_server(seen.pods, key)
    rollout = ready.rollout(deployment)
    told = deployment["metadata"].get("annotations") or {}
    reason = "" if rollout.done else why_deployment(deployment, seen.sets, mine, seen.events)
    return ServerStatus(
        name=key,
        url=url,
        there=True,
        ready=sum(pods.ready(pod) for pod in mine),
        wanted=rollout.wanted,
        model=model,
        snapshot=told.get(names.SNAPSHOT, ""),
        commit=told.get(names.COMMIT, ""),
        bytes=int(told.get(names.BYTES, 0)),
        reason=reason if server else "modelshelf.yaml has it no longer: up removes it",
        pods=tuple(_pod(pod, seen) for pod in mine if _is_news(pod, seen.now)),
    )


def _is_news(pod: Object, now: float) -> bool:
    """Whether a pod is not ready; one that ends in the time it has for it is as it should be."""
    if pods.leaving(pod):
        return now >= pods.seconds(pod["metadata"]["deletionTimestamp"])
    return not pods.ready(pod)


def _pod(pod: Object, seen: Seen) -> PodStatus:
    phase = pods.phase(pod)
    reason = why_pod(pod, seen.events) or phase.detail
    return PodStatus(pod["metadata"]["name"], phase.name, reason, pods.age(pod, seen.now))


def of_model(key: str, runs: Iterable[Object], seen: Seen) -> ModelStatus:
    """The status of one model: what its newest Job says. Pure."""
    job = _newest(runs, names.PULL, key)
    if job is None:
        return ModelStatus(key, "", "", 0, "never", 0.0, "")
    told: Mapping[str, str] = job["metadata"].get("annotations") or {}
    state = jobs.state(job)
    return ModelStatus(
        name=key,
        snapshot=told.get(names.SNAPSHOT, ""),
        commit=told.get(names.COMMIT, ""),
        bytes=int(told.get(names.BYTES, 0)),
        look={"complete": "whole"}.get(state, state),
        seconds=max(0.0, seen.now - jobs.moment(job)),
        detail=_failure(f"model {key}", job, seen) if state == "failed" else "",
    )


def of_prime(key: str, runs: Iterable[Object], seen: Seen) -> PrimeStatus:
    """Whether a server is primed: what its newest Job says. Pure."""
    job = _newest(runs, names.PRIME, key)
    if job is None:
        return PrimeStatus(key, "never", 0.0, "")
    state = jobs.state(job)
    detail = _failure(f"server {key}", job, seen) if state == "failed" else ""
    return PrimeStatus(key, state, max(0.0, seen.now - jobs.moment(job)), detail)


def _newest(runs: Iterable[Object], component: str, key: str) -> Object | None:
    mine = [
        job
        for job in runs
        if (job["metadata"].get("labels") or {}).get(names.NAME) == names.fitted(key)
        and job["metadata"]["labels"].get(names.COMPONENT) == component
    ]
    return max(
        mine, key=lambda each: str(each["metadata"].get("creationTimestamp", "")), default=None
    )


def _failure(what: str, job: Object, seen: Seen) -> str:
    for pod in reversed(jobs.pods_of(job, seen.pods)):
        if error := jobs.typed_error(what, jobs.outcome(pod)):
            return str(error)
    return jobs.failure(job)
