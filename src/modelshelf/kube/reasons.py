"""Why something does not get ready, as Kubernetes itself explains it, in one sentence. Pure."""

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
    """Why a Job is not complete, in one sentence; empty if it is or nothing is known.

    Args:
        job: The Job.
        pods: Its pods.
        events: Those of its namespace.
    """
    events = list(events)
    name = _name(job)
    mine = sorted(pods, key=_created)
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        said = _last_words(mine)
        why = f"{failed.get('reason', '')}: {one_line(failed.get('message'))}"
        return f"{name} failed{f', and its pod said: {said}' if said else ''} ({why})"
    if condition(job, "Complete").get("status") == "True":
        return ""
    if (job.get("spec") or {}).get("suspend"):
        return f"{name} is suspended: somebody, or a queue, must resume it"
    found = [why for pod in mine if _open(pod) and (why := explain_pod(pod, events))]
    # A pod on its way out explains less than the one after it.
    if found:
        return found[-1]
    refused = event_about(job, events, ("FailedCreate",))
    if refused and not any(_open(pod) for pod in mine):
        return f"{name} may not start a pod: {_no_pod(refused)}"
    said = _last_words(mine)
    return f"{name} tries again after its pod said: {said}" if said else ""


def explain_deployment(
    deployment: Object,
    replicasets: Iterable[Object],
    pods: Iterable[Object],
    events: Iterable[Object] = (),
    said: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Why a Deployment has fewer ready pods than it should, in one sentence; empty if unknown.

    Args:
        deployment: The Deployment.
        replicasets: Those of its namespace, or its own alone.
        pods: Its pods.
        events: Those of its namespace.
        said: Pod's name → the last lines of its running container's log, where they are known.
    """
    events, said = list(events), said or {}
    name = _name(deployment)
    newest = newest_replicaset(deployment, replicasets)
    refused = _refused(deployment, newest, events)
    if refused:
        return f"{name} may not start a pod: {refused}"
    mine = sorted(pods, key=_created)
    new = [pod for pod in mine if newest and _owned(pod, newest)] or mine
    for group in (new, mine):
        found = [
            why
            for pod in group
            if _open(pod)
            and (why := explain_pod(pod, events, said.get(pod["metadata"]["name"], ())))
        ]
        if found:
            return _first_of(found)
    if (deployment.get("spec") or {}).get("paused"):
        return f"{name} is paused: `kubectl rollout resume` lets it go on"
    seen = (deployment.get("status") or {}).get("observedGeneration", 0)
    if seen < deployment["metadata"].get("generation", 0):
        return f"{name} has changed, and the controller manager has not looked at it yet"
    late = condition(deployment, "Progressing")
    if late.get("status") == "False":
        return f"{name}: {one_line(late.get('message'))}"
    return next((why for pod in mine if (why := explain_pod(pod, events))), "")


def newest_replicaset(deployment: Object, replicasets: Iterable[Object]) -> Object | None:
    """The ReplicaSet of a Deployment's present template, or None if there is none yet."""
    mine = [item for item in replicasets if _owned(item, deployment)]
    return max(mine, key=_revision, default=None)


def _refused(deployment: Object, newest: Object | None, events: Sequence[Object]) -> str:
    """A quota's or an admission's refusal: no pod ever exists that could tell."""
    for obj in filter(None, (newest, deployment)):
        found = condition(obj, "ReplicaFailure")
        if found.get("status") == "True":
            return _no_pod(found)
    status = (newest or {}).get("status") or {}
    wanted = ((newest or {}).get("spec") or {}).get("replicas", 0)
    if newest is None or status.get("replicas", 0) >= wanted:
        return ""
    event = event_about(newest, events, ("FailedCreate",))
    return _no_pod(event) if event else ""


def _no_pod(refusal: Object) -> str:
    # An event says it with this before it, a condition without.
    return one_line(refusal.get("message")).removeprefix("Error creating: ")


def _first_of(found: Sequence[str]) -> str:
    return f"{found[0]} (and {len(found) - 1} more pods)" if len(found) > 1 else found[0]


def _last_words(pods: Sequence[Object]) -> str:
    for pod in reversed(pods):
        last = ending_of(pod)
        if last and last.exit_code:
            return one_line(last.said() or last.sentence())
        status = pod.get("status") or {}
        if status.get("phase") == "Failed" and status.get("message"):
            return one_line(status["message"])
    return ""


def _open(pod: Object) -> bool:
    """Whether a pod may still come to something."""
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _owned(obj: Object, owner: Object) -> bool:
    about = owner["metadata"]
    return any(
        ref.get("kind") == owner.get("kind")
        and (ref["uid"] == about["uid"] if "uid" in about else ref.get("name") == about["name"])
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
