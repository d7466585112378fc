"""Why something does not get ready, in one sentence, from what Kubernetes says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelshelf.kube.claim_reasons import explain_claim
from modelshelf.kube.endings import condition, ending_of
from modelshelf.kube.kinds import Object, describe_object
from modelshelf.kube.messages import event_about, one_line
from modelshelf.kube.pod_reasons import explain_image_pull, explain_pod

__all__ = [
    "explain_claim",
    "explain_deployment",
    "explain_image_pull",
    "explain_job",
    "explain_pod",
    "newest_replicaset",
]

_REVISION = "deployment.kubernetes.io/revision"


def explain_job(job: Object, pods: Iterable[Object], events: Iterable[Object] = ()) -> str:
    """Why a Job is not complete, in one sentence.

    Args:
        job: The Job.
        pods: Its pods.
        events: The events of its namespace.

    Returns:
        An empty text if the Job is complete, or if no reason is known.
    """
    events = list(events)
    name = _name(job)
    own_pods = sorted(pods, key=_created)
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        ending = _describe_last_ending(own_pods)
        reason = f"{failed.get('reason', '')}: {one_line(failed.get('message'))}"
        return f"{name} failed{f', and its pod said: {ending}' if ending else ''} ({reason})"
    if condition(job, "Complete").get("status") == "True":
        return ""
    if (job.get("spec") or {}).get("suspend"):
        return f"{name} is suspended: somebody, or a queue, must resume it"
    active = [pod for pod in own_pods if _is_active(pod)]
    # The newest pod explains most: an older one may be ending already.
    for pod in reversed(active):
        if reason := explain_pod(pod, events):
            return reason
    refused = event_about(job, events, ("FailedCreate",))
    if refused and not active:
        return f"{name} may not start a pod: {_refusal_message(refused)}"
    ending = _describe_last_ending(own_pods)
    return f"{name} tries again after its pod said: {ending}" if ending else ""


def explain_deployment(
    deployment: Object,
    replicasets: Iterable[Object],
    pods: Iterable[Object],
    events: Iterable[Object] = (),
    last_lines: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Why a Deployment has fewer ready pods than it should have, in one sentence.

    Args:
        deployment: The Deployment.
        replicasets: The ReplicaSets of its namespace; its own are enough.
        pods: Its pods.
        events: The events of its namespace.
        last_lines: A pod's name → the last lines of its running container's log, where they are
            known.

    Returns:
        An empty text if no reason is known.
    """
    events, last_lines = list(events), last_lines or {}
    name = _name(deployment)
    newest = newest_replicaset(deployment, replicasets)
    if refusal := _refusal_of_pods(deployment, newest, events):
        return f"{name} may not start a pod: {refusal}"
    own_pods = sorted(pods, key=_created)
    new_pods = [pod for pod in own_pods if newest and _is_owned(pod, newest)]
    for group in (new_pods or own_pods, own_pods):
        reasons = [
            reason
            for pod in group
            if _is_active(pod)
            and (reason := explain_pod(pod, events, last_lines.get(pod["metadata"]["name"], ())))
        ]
        if reasons:
            return _first_of(reasons)
    if (deployment.get("spec") or {}).get("paused"):
        return f"{name} is paused: `kubectl rollout resume` lets it go on"
    observed = (deployment.get("status") or {}).get("observedGeneration", 0)
    if observed < deployment["metadata"].get("generation", 0):
        return f"{name} has changed, and the controller manager has not looked at it yet"
    progressing = condition(deployment, "Progressing")
    if progressing.get("status") == "False":
        return f"{name}: {one_line(progressing.get('message'))}"
    return next(filter(None, (explain_pod(pod, events) for pod in own_pods)), "")


def newest_replicaset(deployment: Object, replicasets: Iterable[Object]) -> Object | None:
    """Find the ReplicaSet of a Deployment's present template; None if there is none yet."""
    owned = [each for each in replicasets if _is_owned(each, deployment)]
    return max(owned, key=_revision, default=None)


def _refusal_of_pods(deployment: Object, newest: Object | None, events: Sequence[Object]) -> str:
    """Why a quota or admission refuses the pods. No pod exists that could say so itself."""
    for obj in filter(None, (newest, deployment)):
        failure = condition(obj, "ReplicaFailure")
        if failure.get("status") == "True":
            return _refusal_message(failure)
    status = (newest or {}).get("status") or {}
    wanted = ((newest or {}).get("spec") or {}).get("replicas", 0)
    if newest is None or status.get("replicas", 0) >= wanted:
        return ""
    event = event_about(newest, events, ("FailedCreate",))
    return _refusal_message(event) if event else ""


def _refusal_message(source: Object) -> str:
    """The message of an event or a condition; an event's has a prefix."""
    return one_line(source.get("message")).removeprefix("Error creating: ")


def _first_of(reasons: Sequence[str]) -> str:
    first, *others = reasons
    return f"{first} (and {len(others)} more pods)" if others else first


def _describe_last_ending(pods: Sequence[Object]) -> str:
    """How the newest failed pod ended; empty if none failed."""
    for pod in reversed(pods):
        ending = ending_of(pod)
        if ending and ending.exit_code:
            return one_line(ending.explanation() or ending.sentence())
        status = pod.get("status") or {}
        if status.get("phase") == "Failed" and status.get("message"):
            return one_line(status["message"])
    return ""


def _is_active(pod: Object) -> bool:
    """Whether a pod has neither ended nor is being deleted."""
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _is_owned(obj: Object, owner: Object) -> bool:
    metadata = owner["metadata"]
    return any(
        ref.get("kind") == owner.get("kind")
        and (
            ref["uid"] == metadata["uid"]
            if "uid" in metadata
            else ref.get("name") == metadata["name"]
        )
        for ref in obj["metadata"].get("ownerReferences") or []
    )


def _revision(replicaset: Object) -> int:
    return int((replicaset["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _created(obj: Object) -> str:
    return str(obj["metadata"].get("creationTimestamp") or "")


def _name(obj: Object) -> str:
    return describe_object(
        obj.get("kind", ""), obj["metadata"]["name"], obj["metadata"].get("namespace")
    )
