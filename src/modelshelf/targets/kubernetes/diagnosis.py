"""Explain why something is not ready: fetch what `kube.reasons` needs to know, and ask it."""

from __future__ import annotations

from collections.abc import Sequence

from modelshelf.kube import endings, reasons
from modelshelf.kube.messages import event_about
from modelshelf.render.names import Object
from modelshelf.render.pod import GATE
from modelshelf.shelf.errors import Error
from modelshelf.targets.kubernetes import pods
from modelshelf.targets.kubernetes.session import Session

_WAITS_FOR_POD = "WaitForFirstConsumer"
_LAST_LINES = 3  # of a container that runs and does not answer
_MAX_LOGS = 3  # pods of a server whose logs are read: each takes a request


def explain_server(session: Session, deployment: Object, own_pods: Sequence[Object]) -> str:
    """Why a server is not ready; empty if Kubernetes gives no reason."""
    sets = session.cluster.list("ReplicaSet", session.namespace)
    events = session.cluster.events(session.namespace, warnings=True)
    starting = [pod for pod in own_pods if pods.phase_of(pod).name in {"gate", "weights"}]
    last_lines = {
        pod["metadata"]["name"]: last_lines_of(
            session, pod, GATE if pods.phase_of(pod).name == "gate" else None
        )
        for pod in starting[:_MAX_LOGS]
    }
    return reasons.explain_deployment(deployment, sets, own_pods, events, last_lines)


def last_lines_of(session: Session, pod: Object, container: str | None = None) -> tuple[str, ...]:
    """The last lines of a container's log; none if the log cannot be read."""
    try:
        name = pod["metadata"]["name"]
        return tuple(session.cluster.logs(name, session.namespace, container, tail=_LAST_LINES))
    except Error:
        return ()


def explain_job(session: Session, job: Object, own_pods: Sequence[Object]) -> str:
    """Why a Job is not complete; empty while its container runs, and once it has succeeded."""
    if own_pods and (_runs(own_pods[-1]) or _has_succeeded(own_pods[-1])):
        return ""
    events = session.cluster.events(session.namespace, warnings=True)
    return reasons.explain_job(job, own_pods, events)


def explain_image_pull(own_pods: Sequence[Object]) -> str:
    """The reason for a wait that is over, if an image is still on its way; empty if none is."""
    explanations = (reasons.explain_image_pull(pod) for pod in reversed(own_pods))
    return next(filter(None, explanations), "")


def explain_claim(session: Session, name: str, claim: Object | None) -> tuple[str, bool]:
    """Why a claim is not bound.

    Args:
        session: The cluster.
        name: The claim's name.
        claim: The claim; None if it does not exist.

    Returns:
        The reason, and whether the claim is bound only when a pod uses it.
    """
    if claim is None:
        return f"there is no claim {name}", False
    volume_name = claim["spec"].get("volumeName")
    names_volume = volume_name and not claim["spec"].get("storageClassName")
    volume = session.cluster.get("PersistentVolume", volume_name) if names_volume else None
    events = session.cluster.events(session.namespace, name)
    waits_for_pod = (event_about(claim, events) or {}).get("reason") == _WAITS_FOR_POD
    return reasons.explain_claim(claim, volume, events), waits_for_pod


def describe_ending(pod: Object) -> str:
    """How a pod's container ended, as the end of a sentence; empty if it has not ended."""
    ending = endings.ending_of(pod)
    return ending.sentence() if ending is not None else ""


def _has_succeeded(pod: Object) -> bool:
    ending = endings.ending_of(pod)
    return ending is not None and ending.exit_code == 0


def _runs(pod: Object) -> bool:
    statuses = endings.main_statuses(pod)
    return any("running" in (status.get("state") or {}) for status in statuses)
