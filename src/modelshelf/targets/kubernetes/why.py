"""The reason that Kubernetes gives, with what `kube.reasons` needs to know fetched."""

from __future__ import annotations

from collections.abc import Sequence

from modelshelf.kube import endings, reasons
from modelshelf.kube.messages import event_about
from modelshelf.render.names import Object
from modelshelf.render.pod import GATE
from modelshelf.shelf.errors import Error
from modelshelf.targets.kubernetes import pods
from modelshelf.targets.kubernetes.site import Site

_LATE = "WaitForFirstConsumer"
_LINES = 3  # of a container that runs and does not answer
_ASKED = 3  # pods of a server whose logs are asked for: each is a request


def server(site: Site, deployment: Object, mine: Sequence[Object]) -> str:
    """Why a server is not ready; empty if Kubernetes says nothing."""
    sets = site.cluster.list("ReplicaSet", site.namespace)
    events = site.cluster.events(site.namespace, warnings=True)
    said_by = {
        pod["metadata"]["name"]: said(site, pod, GATE if pods.phase(pod).name == "gate" else None)
        for pod in [pod for pod in mine if _starts(pod)][:_ASKED]
    }
    return reasons.why_deployment(deployment, sets, mine, events, said_by)


def _starts(pod: Object) -> bool:
    """Whether a pod's gate or engine runs, and has not come to its end."""
    return pods.phase(pod).name in {"gate", "weights"}


def said(site: Site, pod: Object, container: str | None = None) -> tuple[str, ...]:
    """The last lines of a container; none if there are none to be had."""
    try:
        name = pod["metadata"]["name"]
        return tuple(site.cluster.logs(name, site.namespace, container, tail=_LINES))
    except Error:
        return ()


def job(site: Site, live: Object, mine: Sequence[Object]) -> str:
    """Why a Job is not complete; empty while its container runs, or once it did what it should."""
    if mine and (_runs(mine[-1]) or _succeeded(mine[-1])):
        return ""
    return reasons.why_job(live, mine, site.cluster.events(site.namespace, warnings=True))


def fetching(mine: Sequence[Object]) -> str:
    """What to say of a wait that is over while an image was on its way; empty if none was."""
    return next((why for pod in reversed(mine) if (why := reasons.why_fetching(pod))), "")


def claim(site: Site, name: str, live: Object | None) -> tuple[str, bool]:
    """Why a claim is not bound, and whether it will only be once a pod uses it."""
    if live is None:
        return f"there is no claim {name}", False
    volume_name = live["spec"].get("volumeName")
    wants_volume = volume_name and not live["spec"].get("storageClassName")
    volume = site.cluster.get("PersistentVolume", volume_name) if wants_volume else None
    events = site.cluster.events(site.namespace, name)
    late = (event_about(live, events) or {}).get("reason") == _LATE
    return reasons.why_claim(live, volume, events), late


def end(pod: Object) -> str:
    """How a pod's container ended, as the end of a sentence; empty if it has not."""
    ended = endings.ending(pod)
    return ended.sentence() if ended is not None else ""


def _succeeded(pod: Object) -> bool:
    ended = endings.ending(pod)
    return ended is not None and ended.exit_code == 0


def _runs(pod: Object) -> bool:
    return any("running" in (each.get("state") or {}) for each in endings.main_statuses(pod))
