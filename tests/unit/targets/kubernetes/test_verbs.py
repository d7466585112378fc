"""What can be done with what `up` made: scale, roll back, look, read, compare, remove."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.fake_cluster import FakeCluster, bind_claims, roll_out, run_jobs
from support.render_inputs import config, lock, pinned, snapshot

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock, LockedModel
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render.names import Key
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.events import Event, ignore
from modelshelf.targets.kubernetes import (
    LogChoice,
    Options,
    diff,
    down,
    list_removals,
    logs,
    rollback,
    scale,
    status,
    up,
)
from modelshelf.targets.kubernetes.events import Kept, RolledBack, Scaled, ServerReady

MODELS = "tiny: {source: hf://acme/tiny, engine: vllm}"
TWO = "front: {model: tiny}\nback: {model: tiny}"
DEPLOYMENT = Key("Deployment", "llm", "front")


def _config(servers: str = "front: {model: tiny}", shelf: str = "hostPath: {path: /d}") -> Config:
    return config(shelf, models=MODELS, servers=servers)


def _up(cluster: FakeCluster, file: Config, locked: Lock | None = None) -> None:
    up(cluster.session(file, ignore), locked or lock(file), Options())


def test_scaling_waits_and_the_next_up_keeps_the_number() -> None:
    """Scaling patches nothing but the scale, to 0 replicas and back, too."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    for before, wanted in ((1, 3), (3, 0), (0, 1)):
        cluster.calls.clear()
        events: list[Event] = []
        scale(cluster.session(file, events.append), "front", wanted)
        assert cluster.writes() == [("patch", "Deployment", "front")]
        assert events[0] == Scaled("front", before, wanted)
        assert events[-1] == ServerReady("front", wanted, "http://front.llm.svc")
    scale(cluster.session(file, ignore), "front", 2)
    _up(cluster, file)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 2


def test_scaling_what_is_not_there_is_refused() -> None:
    """A server that the file lacks is a usage error; one that the cluster lacks is another."""
    cluster, file = FakeCluster(), _config()
    with pytest.raises(UsageError, match="no server nobody"):
        scale(cluster.session(file, ignore), "nobody", 2)
    with pytest.raises(TargetError, match="front is not in namespace llm"):
        scale(cluster.session(file, ignore), "front", 2)


def test_a_rollback_returns_to_the_snapshot_before() -> None:
    """The lock is written before the cluster changes, and no Job runs."""
    cluster, file = FakeCluster(), _config(TWO)
    older = lock(file)
    files = snapshot(size=3000, name="other.safetensors")
    newer = older.with_model("tiny", dataclasses.replace(older.models["tiny"], snapshot=files))
    _up(cluster, file, older)
    _up(cluster, file, newer)
    cluster.calls.clear()
    events: list[Event] = []
    kept: list[Lock] = []

    def keep(lock: Lock) -> None:
        assert cluster.writes() == []
        kept.append(lock)

    result = rollback(cluster.session(file, events.append), newer, "front", keep=keep)
    assert kept == [result]
    assert result.models["tiny"] == _pinned(older)
    assert ("create", "Job") not in [call[:2] for call in cluster.writes()]
    assert [event.server for event in events if isinstance(event, RolledBack)] == ["front"]
    assert [event.name for event in events if isinstance(event, Kept)] == ["back"]
    snapshots = {
        each["metadata"]["name"]: each["metadata"]["annotations"]["modelshelf.dev/bytes"]
        for each in cluster.of("Deployment")
    }
    assert snapshots == {"front": "1000", "back": "3000"}
    again = rollback(cluster.session(file, ignore), result, "front", keep=ignore_lock)
    assert again.models["tiny"] == _pinned(newer)


def _pinned(lock: Lock) -> LockedModel:
    """The lock's entry for the model, with the commit in place of `main`, which moves."""
    locked = lock.models["tiny"]
    return dataclasses.replace(locked, snapshot=pinned(locked.snapshot))


def ignore_lock(_lock: Lock) -> None:
    """Write no file."""


def test_a_rollback_without_a_snapshot_before_is_refused() -> None:
    """Neither the lock nor the cluster is written."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    cluster.calls.clear()
    kept: list[Lock] = []
    with pytest.raises(TargetError, match="has had no other snapshot than acme/tiny@"):
        rollback(cluster.session(file, ignore), lock(file), "front", keep=kept.append)
    assert (kept, cluster.writes()) == ([], [])


@pytest.mark.parametrize("ready", [True, False])
def test_status_takes_at_most_five_calls(ready: bool) -> None:  # noqa: FBT001 - a parameter of tests
    """The number of requests does not depend on the number of servers."""

    def roll(cluster: FakeCluster) -> None:
        for deployment in cluster.of("Deployment"):
            roll_out(cluster, deployment, ready=ready)

    servers = "\n".join(f"s{number}: {{model: tiny}}" for number in range(20))
    cluster, file = FakeCluster(bind_claims, run_jobs, roll), _config(servers)
    session = cluster.session(file, ignore, ready=1)
    if ready:
        up(session, lock(file), Options())
    else:
        with pytest.raises(TargetError):
            up(session, lock(file), Options())
    cluster.calls.clear()
    found = status(session)
    assert len(cluster.calls) <= 5
    assert [each.name for each in found.servers] == sorted(file.servers)
    first = found.servers[0]
    assert (first.ready, first.wanted, first.bytes) == (int(ready), 1, 1000)
    assert (first.url, first.model) == ("http://s0.llm.svc", "tiny")
    assert bool(first.reason) is not ready
    assert [pod.phase for pod in first.pods] == ([] if ready else ["weights"])
    assert [(each.look, each.bytes) for each in found.models] == [("whole", 1000)]


def test_status_of_nothing() -> None:
    """A server that was never applied is not there, and its model was never pulled."""
    cluster, file = FakeCluster(), _config()
    found = status(cluster.session(file, ignore))
    assert [(each.there, each.reason) for each in found.servers] == [(False, "run modelshelf up")]
    assert [each.look for each in found.models] == ["never"]


def test_logs_are_those_of_a_servers_pods_or_of_a_models_pulls() -> None:
    """Each line names its pod, and says whether other pods are read."""
    cluster, file = FakeCluster(), _config("front: {model: tiny, replicas: 2}")
    _up(cluster, file)
    names = [each["metadata"]["name"] for each in cluster.of("Pod")]
    front = [name for name in names if name.startswith("front")]
    cluster.logs |= {name: ["one", name] for name in front}
    session = cluster.session(file, ignore)
    lines = list(logs(session, "front", LogChoice(tail=1)))
    assert sorted((line.pod, line.text) for line in lines) == [(name, name) for name in front]
    assert [line.text for line in logs(session, "front", LogChoice(pod=front[0]))] == [
        "one",
        front[0],
    ]
    assert [line.several for line in logs(session, "tiny", LogChoice())] == [False]
    with pytest.raises(UsageError, match="no server and no model nobody"):
        list(logs(session, "nobody", LogChoice()))
    with pytest.raises(TargetError, match="front has no pod x"):
        list(logs(session, "front", LogChoice(pod="x")))


@pytest.mark.parametrize("follow", [False, True], ids=["once", "follow"])
def test_who_may_read_no_logs_is_told_so(*, follow: bool) -> None:
    """A user who may not read logs gets an error, not an empty log."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    cluster.forbidden.add("Log")
    with pytest.raises(ForbiddenError, match="pods/log"):
        list(logs(cluster.session(file, ignore), "front", LogChoice(follow=follow)))


def test_diff_of_a_new_file_creates_everything_and_changes_nothing() -> None:
    """If the namespace does not exist, all objects are created."""
    cluster, file = FakeCluster(), _config()
    changes = diff(cluster.session(file, ignore), lock(file))
    assert {change.how for change in changes} == {"created"}
    assert ("Deployment", "front") in [(change.kind, change.name) for change in changes]
    assert cluster.writes() == []


def test_diff_shows_the_fields_that_change() -> None:
    """A changed object has a unified diff, and removed objects are named."""
    cluster = FakeCluster()
    _up(cluster, _config(TWO))
    file = _config("front: {model: tiny, args: [--seed=1]}")
    cluster.calls.clear()
    changes = diff(cluster.session(file, ignore), lock(file))
    assert cluster.writes() == []
    (front,) = [change for change in changes if change.how == "changed"]
    assert (front.kind, front.name) == ("Deployment", "front")
    assert any(line.startswith("+") and "--seed=1" in line for line in front.diff)
    removed = {(change.kind, change.name) for change in changes if change.how == "removed"}
    assert {("Deployment", "back"), ("Service", "back")} <= removed


def test_diff_after_up_is_empty() -> None:
    """A pull Job that runs again is not a change."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    assert diff(cluster.session(file, ignore), lock(file)) == []


def test_down_removes_servers_first_and_the_namespace_last() -> None:
    """All objects are removed in the right order, and `up` works again."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    session = cluster.session(file, ignore)
    assert len(list_removals(session)) == len(
        [key for key in cluster.objects if key.kind in _REMOVED]
    )
    cluster.calls.clear()
    down(session, lock(file))
    kinds = [kind for verb, kind, _ in cluster.writes() if verb == "delete"]
    assert list(dict.fromkeys(kinds)) == [*_REMOVED, "Namespace"]
    assert cluster.objects == {}
    down(session, lock(file))
    _up(cluster, file)


_REMOVED = (
    "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Job", "ConfigMap",
    "PersistentVolumeClaim", "PersistentVolume",
)  # fmt: skip


def test_down_leaves_what_is_not_of_this_file() -> None:
    """A namespace of ours stays while it holds an object of somebody else."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    about: dict[str, Any] = {"name": "theirs", "namespace": "llm"}
    cluster.put({"kind": "Secret", "metadata": about, "data": {}})
    about = {"name": "kube-root-ca.crt", "namespace": "llm"}
    cluster.put({"kind": "ConfigMap", "metadata": about, "data": {}})
    events: list[Event] = []
    down(cluster.session(file, events.append), lock(file))
    assert sorted(str(key) for key in cluster.objects) == [
        "ConfigMap/kube-root-ca.crt",
        "Namespace/llm",
        "Secret/theirs",
    ]
    (kept,) = [event for event in events if isinstance(event, Kept)]
    assert kept == Kept("llm", "the namespace", "it still has Secret/theirs")


def test_down_keeps_a_claim_whose_volume_was_made_for_it() -> None:
    """A claim of a storage class is removed only with --purge."""
    cluster = FakeCluster()
    file = _config(shelf="storageClass: {name: fast, size: 1Gi}")
    _up(cluster, file)
    down(cluster.session(file, ignore), lock(file))
    assert [key.kind for key in sorted(cluster.objects)] == ["Namespace", "PersistentVolumeClaim"]
    down(cluster.session(file, ignore), lock(file), purge=True)
    assert cluster.objects == {}


def test_a_purge_runs_a_job_that_names_the_models() -> None:
    """The purge runs after servers are removed and before claims are, a second time as well."""
    cluster, file = FakeCluster(), _config()
    _up(cluster, file)
    for _ in range(2):
        cluster.calls.clear()
        down(cluster.session(file, ignore), lock(file), purge=True)
        calls = [call[:2] for call in cluster.writes()]
        purge = calls.index(("create", "Job"))
        assert ("delete", "PersistentVolumeClaim") in calls[purge:]
        assert ("delete", "Deployment") not in calls[purge:]
        assert cluster.objects == {}
