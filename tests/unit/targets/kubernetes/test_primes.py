"""Servers that are primed before they serve."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_cluster import FakeCluster, bind_claims, end_job, run_deployments, run_jobs
from support.render_inputs import config, lock

from modelshelf.config.file import Config
from modelshelf.render.names import COMPONENT, PRIME
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.events import Event
from modelshelf.start.events import Primed
from modelshelf.targets.kubernetes import Options, diff, prime, status, up
from modelshelf.targets.kubernetes.events import (
    PrimeEvent,
    PrimeSkipped,
    PrimeStarted,
    PullStarted,
    ServerReady,
)

_SERVER = "front: {model: tiny, gpus: 0, prime: true}"
_PRIMED = {
    "event": "primed", "key": "acme/tiny/c0ffee-1/0123", "path": "/shelf/x", "bytes": 1000,
    "seconds": 30.0, "how": "made",
}  # fmt: skip


def _config(servers: str = _SERVER) -> Config:
    return config("hostPath: {path: /data, size: 1Gi}", servers=servers)


def _prime_jobs(cluster: FakeCluster) -> list[Any]:
    return [job for job in cluster.of("Job") if job["metadata"]["labels"][COMPONENT] == PRIME]


def _primes(cluster: FakeCluster) -> None:
    """Let each prime Job succeed."""
    for job in _prime_jobs(cluster):
        if not job.get("status"):
            end_job(cluster, job, _PRIMED)


def _fails(cluster: FakeCluster) -> None:
    for job in _prime_jobs(cluster):
        if not job.get("status"):
            outcome = {"event": "error", "message": "the engine ended with 1", "exit_code": 20}
            end_job(cluster, job, outcome, code=20)


def _cluster(*first: Any) -> FakeCluster:
    return FakeCluster(bind_claims, *(first or (_primes,)), run_jobs, run_deployments)


def _up(cluster: FakeCluster, file: Config) -> list[Event]:
    events: list[Event] = []
    up(cluster.session(file, events.append), lock(file), Options())
    return events


def _of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_server_is_primed_after_its_pull_and_before_it_serves() -> None:
    """The events of the Job's pod are passed on, with the server's name."""
    events = _up(_cluster(), _config())
    kinds = [type(event) for event in events]
    order = [kinds.index(kind) for kind in (PullStarted, PrimeStarted, ServerReady)]
    assert order == sorted(order)
    (event,) = _of(events, PrimeEvent)
    assert (event.server, type(event.event), event.event.bytes) == ("front", Primed, 1000)
    assert event.to_json()["server"] == "front"


def test_a_complete_job_is_left_alone_until_what_it_made_fits_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new modelshelf runs no prime Job again, but other arguments of the engine do."""
    cluster = _cluster()
    _up(cluster, _config())
    (before,) = _prime_jobs(cluster)
    monkeypatch.setattr(
        "modelshelf.render.code.files", lambda package: {"new.py": f"# {package}\n"}
    )
    assert _of(_up(cluster, _config()), PrimeStarted)[0].how == "present"
    assert _prime_jobs(cluster) == [before]
    events: list[Event] = []
    session = cluster.session(_config(), events.append)
    assert [each for each in diff(session, lock(session.config)) if each.kind == "Job"] == []
    other = _config(_SERVER.replace("gpus: 0", "gpus: 0, contextLength: 99"))
    assert _of(_up(cluster, other), PrimeStarted)[0].how == "created"
    (after,) = _prime_jobs(cluster)
    assert after["metadata"]["name"] != before["metadata"]["name"]


def test_a_prime_that_fails_ends_up_with_its_reason_and_touches_no_server() -> None:
    """`status` shows the reason, and the next `up` tries again."""
    cluster = _cluster(_fails)
    with pytest.raises(TargetError, match="server front: the engine ended with 1"):
        _up(cluster, _config())
    assert cluster.of("Deployment") == []
    (failed,) = status(cluster.session(_config(), list[Event]().append)).primes
    assert (failed.state, failed.detail) == ("failed", "server front: the engine ended with 1")
    cluster.controllers = [bind_claims, _primes, run_jobs, run_deployments]
    assert _of(_up(cluster, _config()), PrimeStarted)[0].how == "replaced"
    (primed,) = status(cluster.session(_config(), list[Event]().append)).primes
    assert primed.state == "complete"


def _crowded(cluster: FakeCluster) -> None:
    """No node has room for Jobs that prime."""
    full = {"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}
    for job in _prime_jobs(cluster):
        if not job.get("status"):
            end_job(cluster, job, {})
            job["status"] = {"active": 1}
    for pod in cluster.of("Pod"):
        if pod["metadata"]["labels"][COMPONENT] == PRIME:
            pod["status"] = {"phase": "Pending", "conditions": [full]}


def test_a_server_that_has_the_last_gpu_is_updated_without_being_primed() -> None:
    """`up` gives the Job up with a reason; if no pod serves yet, it waits for a node."""
    cluster = _cluster()
    _up(cluster, _config())
    other = _config(_SERVER.replace("gpus: 0", "gpus: 0, contextLength: 99"))
    cluster.controllers = [bind_claims, _crowded, run_jobs, run_deployments]
    events = _up(cluster, other)
    assert _of(events, PrimeSkipped) == [PrimeSkipped("front", "Insufficient nvidia.com/gpu")]
    assert len(_of(events, ServerReady)) == 1
    assert _prime_jobs(cluster) == []
    cluster = _cluster(_crowded)
    cluster.poll_seconds = 30.0
    with pytest.raises(TargetError, match="Insufficient nvidia"):
        _up(cluster, _config())


def test_prime_runs_a_complete_job_again() -> None:
    """`prime` runs a complete Job again, and leaves servers as they are."""
    cluster = _cluster()
    _up(cluster, _config())
    events: list[Event] = []
    session = cluster.session(_config(), events.append)
    prime(session, lock(session.config), "front")
    assert _of(events, PrimeStarted)[0].how == "replaced"
    assert len(_of(events, PrimeEvent)) == 1
    assert _of(events, ServerReady) == []


def test_prime_refuses_a_server_that_would_not_look_for_it() -> None:
    """The error says which key to set."""
    file = _config("front: {model: tiny}")
    with pytest.raises(UsageError, match="front does not say prime: true") as raised:
        prime(_cluster().session(file, list[Event]().append), lock(file), "front")
    assert "servers.front.prime" in raised.value.hint
