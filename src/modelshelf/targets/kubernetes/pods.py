"""Pods on their way: what they wait for, and those that hang on a node that is gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from modelshelf.kube import endings, phases
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render.names import Object
from modelshelf.targets.kubernetes.events import PodForced, PodPhased
from modelshelf.targets.kubernetes.site import Site, Told

_GRACE_OVER = 15.0  # seconds that a pod may still hang in Terminating after its grace period
_OVER = ("Succeeded", "Failed")


def leaving(pod: Object) -> bool:
    """Whether a pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def ready(pod: Object) -> bool:
    """Whether a pod is ready, and stays."""
    return not leaving(pod) and _says_ready(pod)


def age(obj: Object, now: float) -> float:
    """Seconds since an object was created; 0 where that is not known."""
    created = obj["metadata"].get("creationTimestamp")
    return max(0.0, now - seconds(created)) if created else 0.0


def seconds(timestamp: str) -> float:
    """Kubernetes' `2026-11-24T16:31:00Z` as seconds since 1970."""
    return dt.datetime.fromisoformat(timestamp).timestamp()


def hangs(pod: Object, gone: frozenset[str], now: float) -> bool:
    """Whether a pod hangs in Terminating, on a node that cannot end it.

    Args:
        pod: A pod.
        gone: Names of nodes that are not ready.
        now: Seconds since 1970.
    """
    if not leaving(pod) or pod.get("spec", {}).get("nodeName") not in gone:
        return False
    # The timestamp is when its grace period ends.
    return now - seconds(pod["metadata"]["deletionTimestamp"]) >= _GRACE_OVER


def not_ready(nodes: Iterable[Object]) -> frozenset[str]:
    """The names of nodes that do not report that they are ready."""
    return frozenset(node["metadata"]["name"] for node in nodes if not _says_ready(node))


def _says_ready(obj: Object) -> bool:
    return endings.condition(obj, "Ready").get("status") == "True"


def force_hanging(site: Site, pods: Sequence[Object]) -> None:
    """Delete by force what cannot end because its node is gone.

    Nothing is lost by it: a pull's writers share no handle, and servers only read. A user who may
    not see nodes cannot tell, and waits.
    """
    now = site.pace.wall()
    late = [pod for pod in pods if leaving(pod)]
    if not late:
        return
    try:
        gone = not_ready(site.cluster.list("Node"))
    except ForbiddenError:
        return
    for pod in late:
        if hangs(pod, gone, now):
            name = pod["metadata"]["name"]
            _call_failed(site, pod)
            site.cluster.delete("Pod", name, site.namespace, grace=0)
            site.tell(PodForced(name, pod["spec"]["nodeName"]))


def _call_failed(site: Site, pod: Object) -> None:
    """Say of a Job's pod that it has failed, which its node cannot say any more.

    A Job that replaces failed pods alone holds one that is merely deleted, by a finalizer, until it
    is called so: for ever. Kubernetes' own garbage collector of pods does the same.
    """
    if pod["metadata"].get("finalizers") and pod.get("status", {}).get("phase") not in _OVER:
        failed = {"status": {"phase": "Failed"}}
        name = pod["metadata"]["name"]
        site.cluster.patch("Pod", name, site.namespace, failed, subresource="status")


def phase(pod: Object, gate_says: str = "") -> phases.PodPhase:
    """How far a pod is; `gate_says` is the last line of its gate, where that is known."""
    return phases.pod_phase(pod, gate_says)


def tell_phase(site: Site, told: Told, name: str, pod: Object, gate_says: str = "") -> None:
    """Tell how far a pod is, if that is news."""
    now = phase(pod, gate_says)
    pod_name = pod["metadata"]["name"]
    detail = way(pod) if now.name == "ready" else now.detail
    event = PodPhased(name, pod_name, now.name, detail, age(pod, site.pace.wall()))
    told.once(pod_name, f"{now.name}: {detail}", event)


def way(pod: Object) -> str:
    """What each phase of a ready pod took, those included that no look fell into. Pure."""
    return ", ".join(f"{name} {took:g} s" for name, took in phases.timeline(pod))
