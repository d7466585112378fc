"""Why a pod does not answer yet. Pure.

The words looked for are Kubernetes' own: waiting reasons from pkg/kubelet/images/types.go and
kubelet/container, the scheduler's from pkg/scheduler/framework, events from kubelet/events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from modelshelf.kube.endings import condition, ending_of_status, main_statuses, statuses, waiting
from modelshelf.kube.kinds import Object, describe_object
from modelshelf.kube.messages import event_about, one_line
from modelshelf.kube.phases import ENDING_AGAIN, IMAGE_TROUBLE, START_TROUBLE, pod_phase

_OOM = "OOMKilled"
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_NOT_STARTED = (
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "NetworkNotReady",
)
_CAUSES = (
    (
        re.compile(r"unauthorized|denied|authentication required|\b40[13]\b", re.IGNORECASE),
        "check its name; if the registry wants credentials, give the namespace an imagePullSecret",
    ),
    (
        re.compile(r"not found|manifest unknown|no such image", re.IGNORECASE),
        "check its name and tag under `images` or `image`",
    ),
    (
        re.compile(r"no such host|refused|timeout|unreachable|no route|x509", re.IGNORECASE),
        "the nodes cannot reach that registry: name a mirror with `registry`",
    ),
    (
        re.compile("InvalidImageName|invalid reference", re.IGNORECASE),
        "that is no image's name: correct it under `images` or `image`",
    ),
)
_SHORT = re.compile(r"Insufficient ([^\s,.]+(?:\.[^\s,.]+)*)")
_PREEMPTION = re.compile(r" (?:no new claims to deallocate, )?preemption:")
_NO_ROOM = (
    ("untolerated taint", "give the server `tolerations` for that taint"),
    ("affinity/selector", "no node has all labels of its `nodeSelector`"),
    ("persistentvolumeclaim", "look at that claim"),
    ("unbound immediate", "its claim is not bound: look there"),
    ("were unschedulable", "a node is cordoned: `kubectl uncordon` it"),
    ("Too many pods", "the nodes run as many pods as they may"),
)


def explain_pod(pod: Object, events: Iterable[Object] = (), said: Sequence[str] = ()) -> str:
    """Why a pod does not answer yet, in one sentence; empty if it is ready or nothing is known.

    Args:
        pod: The pod.
        events: Those of its namespace.
        said: The last lines of its running container's log, where they are known.
    """
    events = list(events)
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return _terminating(pod)
    if status.get("phase") == "Failed" and (status.get("message") or status.get("reason")):
        return f"{_name(pod)} failed: {one_line(status.get('message') or status['reason'])}"
    if not (pod.get("spec") or {}).get("nodeName"):
        return _unschedulable(pod)
    if status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True":
        return ""
    for one in statuses(pod):
        if reason := _container(pod, one, events):
            return reason
    return _gate(pod, said) or _not_started(pod, events) or _not_ready(pod, events, said)


def explain_image_pull(pod: Object) -> str:
    """That a pod's image is on its way, as the reason of a wait that is over; else empty.

    No trouble by itself, but a node that does not reach a registry takes long to say so.
    """
    phase = pod_phase(pod)
    if phase.name != "image":
        return ""
    return (
        f"image {phase.detail} of {_name(pod)} is still being fetched "
        "(if the nodes cannot reach that registry: name a mirror with `registry`)"
    )


def _name(pod: Object) -> str:
    return describe_object("pod", pod["metadata"]["name"], pod["metadata"].get("namespace"))


def _terminating(pod: Object) -> str:
    # The time there is when it should be gone, not when it was deleted.
    node = (pod.get("spec") or {}).get("nodeName")
    return (
        f"{_name(pod)} is being deleted, which should be over by "
        f"{pod['metadata']['deletionTimestamp']}"
        f"{f': if that is past, its node {node} does not answer' if node else ''}"
    )


def _unschedulable(pod: Object) -> str:
    found = condition(pod, "PodScheduled")
    if found.get("status") != "False":
        return ""
    message = one_line(found.get("message"))
    # What preempting others would help is another question than why there is no room.
    reason = _PREEMPTION.split(message)[0].rstrip(".")
    return f"no node takes {_name(pod)}: {reason}{_cure(reason)}"


def _cure(reason: str) -> str:
    cures = [cure for words, cure in _NO_ROOM if words in reason]
    if short := sorted(set(_SHORT.findall(reason))):
        cures.insert(0, f"ask for less {' and '.join(short)}, free some, or add a node")
    return f" ({'; '.join(cures)})" if cures else ""


def _container(pod: Object, status: Object, events: Sequence[Object]) -> str:
    """What is wrong with one container; empty if that is nothing, or not its own fault."""
    why = waiting(status)
    reason = why.get("reason") or ""
    if reason in IMAGE_TROUBLE:
        return _image(pod, status, why, events)
    if reason in START_TROUBLE:
        return _no_start(pod, status, why.get("message") or reason)
    ended = ending_of_status(status)
    trouble = reason == ENDING_AGAIN or "terminated" in (status.get("state") or {})
    if ended is None or not trouble or not (ended.exit_code or status in main_statuses(pod)):
        return ""
    if ended.reason in _NEVER_RAN:
        return _no_start(pod, status, ended.said())
    if ended.reason == _OOM:
        return (
            f"container {status['name']} of {_name(pod)} was killed: it needs more memory than "
            f"its limit of {_memory(pod, status['name'])}; raise `resources.limits.memory`"
        )
    return f"container {one_line(ended.sentence())} ({_name(pod)})"


def _no_start(pod: Object, status: Object, why: str) -> str:
    return f"container {status['name']} of {_name(pod)} cannot be started: {one_line(why)}"


def _image(pod: Object, status: Object, why: Object, events: Sequence[Object]) -> str:
    event = event_about(pod, events, ("Failed",))
    said = one_line(why.get("message"))
    if event and str(event.get("message")).startswith("Failed to pull image"):
        # The state only says that there is a pause, once the first tries are over.
        said = said if len(said) > len(str(event["message"])) else one_line(event["message"])
    spec = _spec(pod, status["name"])
    image = spec.get("image") or status.get("image") or "?"
    text = f"{why['reason']} {said}"
    cure = next((cure for words, cure in _CAUSES if words.search(text)), "")
    return (
        f"image {image} of {_name(pod)} cannot be pulled: {said or why['reason']} "
        f"({cure or 'check `image`, or name a mirror with `registry`'})"
    )


def _spec(pod: Object, container: str) -> Object:
    spec = pod.get("spec") or {}
    every = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((item for item in every if item["name"] == container), {})


def _memory(pod: Object, container: str) -> str:
    limits = (_spec(pod, container).get("resources") or {}).get("limits") or {}
    return str(limits.get("memory") or "its node's")


def _gate(pod: Object, said: Sequence[str]) -> str:
    phase = pod_phase(pod, said[-1] if said else "")
    waits = phase.name == "gate" and phase.detail
    return f"the gate of {_name(pod)} waits: {one_line(phase.detail)}" if waits else ""


def _not_started(pod: Object, events: Sequence[Object]) -> str:
    """Volumes and sandboxes have no state of their own: only events tell."""
    if any(ending_of_status(one) or "running" in (one.get("state") or {}) for one in statuses(pod)):
        return ""
    event = event_about(pod, events, _NOT_STARTED)
    if event is None:
        return ""
    where = f"on {pod['spec']['nodeName']}"
    return f"{_name(pod)} cannot start {where}: {one_line(event.get('message'))}"


def _not_ready(pod: Object, events: Sequence[Object], said: Sequence[str]) -> str:
    running = [one for one in main_statuses(pod) if "running" in (one.get("state") or {})]
    if not running:
        return ""
    event = event_about(pod, events, ("Unhealthy",))
    reason = f": {one_line(event.get('message'))}" if event else ""
    last = f"; it last said: {one_line(' | '.join(said))}" if said else ""
    ended = ending_of_status(running[0])
    before = f"; before, {one_line(ended.sentence())}" if ended else ""
    name = running[0]["name"]
    return f"container {name} of {_name(pod)} runs, but does not answer{reason}{before}{last}"
