"""Pods on their way to ready, and pods that hang because their node is gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from modelshelf.kube import endings, phases
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render.names import Object
from modelshelf.targets.kubernetes.change_reporter import ChangeReporter
from modelshelf.targets.kubernetes.events import PodForced, PodPhased
from modelshelf.targets.kubernetes.session import Session

_EXTRA_GRACE_SECONDS = 15.0  # how long a pod may stay in Terminating after its grace period
_FINAL_PHASES = ("Succeeded", "Failed")


def is_terminating(pod: Object) -> bool:
    """Whether a pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and is not being deleted."""
    return not is_terminating(pod) and _reports_ready(pod)


def age(obj: Object, now: float) -> float:
    """Seconds since an object was created; 0 if that is not known."""
    created = obj["metadata"].get("creationTimestamp")
    return max(0.0, now - parse_time(created)) if created else 0.0


def parse_time(timestamp: str) -> float:
    """Turn Kubernetes' `2026-11-24T16:31:00Z` into seconds since 1970."""
    return dt.datetime.fromisoformat(timestamp).timestamp()


def hangs(pod: Object, lost_nodes: frozenset[str], now: float) -> bool:
    """Whether a pod stays in Terminating because its node cannot end it.

    Args:
        pod: A pod.
        lost_nodes: Names of nodes that are not ready.
        now: Seconds since 1970.
    """
    if not is_terminating(pod) or pod.get("spec", {}).get("nodeName") not in lost_nodes:
        return False
    # The timestamp is the end of its grace period, not the moment when it was deleted.
    grace_end = parse_time(pod["metadata"]["deletionTimestamp"])
    return now - grace_end >= _EXTRA_GRACE_SECONDS


def names_of_lost_nodes(nodes: Iterable[Object]) -> frozenset[str]:
    """The names of nodes that do not report that they are ready."""
    return frozenset(node["metadata"]["name"] for node in nodes if not _reports_ready(node))


def _reports_ready(obj: Object) -> bool:
    return endings.condition(obj, "Ready").get("status") == "True"


def force_hanging(session: Session, pods: Sequence[Object]) -> None:
    """Delete pods by force that cannot end because their node is gone.

    Kubernetes keeps such a pod until its node confirms that it has ended, which a node without
    power never does. Should the node be alive after all, nothing is damaged: each writer to the
    shelf has files of its own, and servers only read. A user who may not see nodes cannot tell
    whether one is gone; then the pods are waited for.
    """
    now = session.clock.wall()
    terminating = [pod for pod in pods if is_terminating(pod)]
    if not terminating:
        return
    try:
        lost_nodes = names_of_lost_nodes(session.cluster.list("Node"))
    except ForbiddenError:
        return
    for pod in terminating:
        if hangs(pod, lost_nodes, now):
            name = pod["metadata"]["name"]
            _mark_failed(session, pod)
            session.cluster.delete("Pod", name, session.namespace, grace=0)
            session.tell(PodForced(name, pod["spec"]["nodeName"]))


def _mark_failed(session: Session, pod: Object) -> None:
    """Set the phase of a Job's pod to Failed, which its node cannot do any more.

    A Job whose `podReplacementPolicy` is `Failed` holds a deleted pod by a finalizer until the pod
    has failed. The phase of a pod on a lost node never changes by itself, so the Job would hold it
    for ever. Kubernetes' own garbage collector of pods does the same as this.
    """
    is_final = pod.get("status", {}).get("phase") in _FINAL_PHASES
    if pod["metadata"].get("finalizers") and not is_final:
        change = {"status": {"phase": "Failed"}}
        name = pod["metadata"]["name"]
        session.cluster.patch("Pod", name, session.namespace, change, subresource="status")


def phase_of(pod: Object, gate_line: str = "") -> phases.PodPhase:
    """How far a pod is; `gate_line` is the last line of its gate's log, where that is known."""
    return phases.pod_phase(pod, gate_line)


def report_phase(
    session: Session, reporter: ChangeReporter, name: str, pod: Object, gate_line: str = ""
) -> None:
    """Tell how far a pod is, if that has changed.

    Args:
        session: The clock.
        reporter: Knows which phase was told last.
        name: The key of the server or the model that the pod works for.
        pod: The pod.
        gate_line: The last line of its gate's log, where that is known.
    """
    phase = phase_of(pod, gate_line)
    pod_name = pod["metadata"]["name"]
    detail = describe_past_phases(pod) if phase.name == "ready" else phase.detail
    event = PodPhased(name, pod_name, phase.name, detail, age(pod, session.clock.wall()))
    reporter.report(pod_name, f"{phase.name}: {detail}", event)


def describe_past_phases(pod: Object) -> str:
    """How long each phase of a ready pod took, short ones between two looks included."""
    return ", ".join(f"{name} {seconds:g} s" for name, seconds in phases.timeline(pod))
