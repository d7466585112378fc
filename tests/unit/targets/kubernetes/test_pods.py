"""Pods and Jobs as Kubernetes states them: what hangs, what crashes, what is done."""

from __future__ import annotations

from typing import Any

import pytest
from support import kube_objects
from support.fake_cluster import FakeCluster
from support.kube_objects import condition, running, state, terminated
from support.render_inputs import config

from modelshelf.render.names import Key
from modelshelf.shelf.errors import BusyError, Error, NoSpaceError, SourceError, TargetError
from modelshelf.shelf.events import Event
from modelshelf.shelf.values import LeftOut
from modelshelf.targets import event_lines
from modelshelf.targets.kubernetes import job_state, pods, prune, rollout
from modelshelf.targets.kubernetes.events import PodForced
from modelshelf.transfer.events import FileDone, Planned

_ENDS = "2027-01-15T08:00:20Z"  # 20 s after the cluster in memory began


def _pod(node: str, *, leaving: bool = True) -> dict[str, Any]:
    metadata = {"name": f"on-{node}", "namespace": "llm"}
    metadata |= {"deletionTimestamp": _ENDS} if leaving else {}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}


def _node(name: str, status: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status}]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


def _hanging() -> FakeCluster:
    cluster = FakeCluster()
    for node in (_node("alive", "True"), _node("gone", "Unknown")):
        cluster.put(node)
    for pod in (_pod("alive"), _pod("gone")):
        cluster.put(pod)
    return cluster


@pytest.mark.parametrize(("now", "forced"), [(0.0, []), (30.0, []), (36.0, ["on-gone"])])
def test_what_hangs_on_a_node_that_is_gone_is_deleted_by_force(
    now: float, forced: list[str]
) -> None:
    """A pod is forced only on a lost node, and only some time after its grace period."""
    cluster = _hanging()
    cluster.now = now
    events: list[Event] = []
    session = cluster.session(config(), events.append)
    pods.force_hanging(session, cluster.of("Pod"))
    assert events == [PodForced(name, "gone") for name in forced]
    assert (Key("Pod", "llm", "on-gone") in cluster.objects) is not bool(forced)
    assert Key("Pod", "llm", "on-alive") in cluster.objects


def test_a_jobs_pod_is_called_failed_first() -> None:
    """A Job's pod is marked as failed before it is deleted, since its Job holds it until then."""
    cluster = _hanging()
    cluster.now = 100.0
    held = cluster.objects[Key("Pod", "llm", "on-gone")]
    held["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    pods.force_hanging(cluster.session(config(), print), cluster.of("Pod"))
    assert cluster.calls[-2:] == [("patch", "Pod", "on-gone"), ("delete", "Pod", "on-gone")]


def test_who_may_not_see_nodes_forces_nothing() -> None:
    """If this user may not see nodes, no pod is deleted by force."""
    cluster = _hanging()
    cluster.now = 100.0
    cluster.forbidden = {"Node"}
    pods.force_hanging(cluster.session(config(), print), cluster.of("Pod"))
    assert len(cluster.of("Pod")) == 2


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}, False),
        ({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, False),
        ({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, False),
        (
            {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "observedGeneration": 1},
            False,
        ),
    ],
    ids=["all new", "an old one left", "one not ready", "one not new", "not looked at"],
)
def test_when_a_rollout_is_done(status: dict[str, int], done: bool) -> None:  # noqa: FBT001
    """All pods are new and ready, none is old, and the controller has seen the newest spec."""
    deployment = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, **status},
    }
    assert rollout.rollout_of(deployment).done is done


@pytest.mark.parametrize(
    ("restarts", "reason", "hopeless"),
    [(3, "CrashLoopBackOff", True), (2, "CrashLoopBackOff", False), (9, "ImagePullBackOff", False)],
)
def test_a_container_that_ends_again_and_again_is_not_waited_for(
    restarts: int,
    reason: str,
    hopeless: bool,  # noqa: FBT001 - a parameter of tests
) -> None:
    """Only a container that crashes repeatedly is hopeless; a failed image pull is not."""
    status = {"restartCount": restarts, "state": {"waiting": {"reason": reason}}}
    assert rollout.is_crashing({"status": {"containerStatuses": [status]}}) is hopeless


@pytest.mark.parametrize(
    ("code", "kind"), [(12, NoSpaceError), (15, SourceError), (16, BusyError), (1, TargetError)]
)
def test_a_pods_error_is_of_its_own_kind(code: int, kind: type[Error]) -> None:
    """The class of an error is that of the pod's exit code."""
    outcome = {"event": "error", "message": "no", "hint": "do", "exit_code": code}
    error = job_state.error_in(outcome, "model m")
    assert type(error) is kind
    assert (str(error), error.hint) == ("model m: no", "do")
    assert job_state.error_in({"event": "published"}, "model m") is None


def test_lines_of_pods_are_the_events_they_were() -> None:
    """Events and fields that only another version knows are ignored."""
    planned = Planned("o/n", "main", "id", 2, 9, 9, 0, (LeftOut("not needed", 1, 5),), 7)
    assert event_lines.event_from_json(planned.to_json()) == planned
    newer = {"event": "file-done", "path": "a", "size": 1, "how": "linked", "colour": "red"}
    assert event_lines.event_from_json(newer) == FileDone("a", 1, "linked")
    assert event_lines.event_from_json({"event": "file-done", "path": "a"}) is None
    assert event_lines.event_from_json({"event": "never-heard-of"}) is None


def test_volumes_need_no_rights_where_the_claim_is_the_users() -> None:
    """A user without rights to the whole cluster can remove what is in the namespace."""
    cluster = FakeCluster()
    cluster.forbidden = {"PersistentVolume"}
    assert prune.list_objects(cluster.session(config("claim: share"), print)) == []
    with pytest.raises(TargetError):
        prune.list_objects(cluster.session(config(), print))


def test_a_ready_pod_tells_what_its_way_took() -> None:
    """Phases that began and ended between two looks are included."""
    moments = [f"2026-11-24T10:00:{second:02}Z" for second in range(20)]
    placed = condition("PodScheduled", at=moments[1])
    answers = condition("Ready", at=moments[15])
    gate = state("gate", terminated(0, at=moments[4], until=moments[5]))
    engine = running("engine", at=moments[7])
    pod = kube_objects.pod([placed, answers], [engine], [gate])
    assert pods.describe_past_phases(pod) == "scheduled 1 s, image 5 s, gate 1 s, weights 8 s"
