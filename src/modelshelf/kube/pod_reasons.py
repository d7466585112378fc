"""Why a pod is not ready yet. Pure.

The words that are looked for are Kubernetes' own: waiting reasons from pkg/kubelet/images/types.go
and kubelet/container, the scheduler's from pkg/scheduler/framework, events from kubelet/events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from modelshelf.kube.endings import (
    condition,
    ending_of_status,
    main_statuses,
    statuses,
    waiting_state,
)
from modelshelf.kube.kinds import Object, describe_object
from modelshelf.kube.messages import event_about, one_line
from modelshelf.kube.phases import (
    ENDS_REPEATEDLY,
    IMAGE_PULL_FAILURES,
    START_FAILURES,
    pod_phase,
)

_OUT_OF_MEMORY = "OOMKilled"
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_BEFORE_CONTAINERS = (  # reasons of events about volumes and sandboxes
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "NetworkNotReady",
)
# What a failed image pull says → what to do about it.
_IMAGE_CURES = (
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
_INSUFFICIENT = re.compile(r"Insufficient ([^\s,.]+(?:\.[^\s,.]+)*)")
_PREEMPTION = re.compile(r" (?:no new claims to deallocate, )?preemption:")
# What the scheduler says → what to do about it.
_SCHEDULING_CURES = (
    ("untolerated taint", "give the server `tolerations` for that taint"),
    ("affinity/selector", "no node has all labels of its `nodeSelector`"),
    ("persistentvolumeclaim", "look at that claim"),
    ("unbound immediate", "its claim is not bound: look there"),
    ("were unschedulable", "a node is cordoned: `kubectl uncordon` it"),
    ("Too many pods", "the nodes run as many pods as they may"),
)


def explain_pod(pod: Object, events: Iterable[Object] = (), last_lines: Sequence[str] = ()) -> str:
    """Why a pod is not ready yet, in one sentence.

    Args:
        pod: The pod.
        events: The events of its namespace.
        last_lines: The last lines of its running container's log, where they are known.

    Returns:
        An empty text if the pod is ready, or if no reason is known.
    """
    events = list(events)
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return _explain_terminating(pod)
    if status.get("phase") == "Failed" and (status.get("message") or status.get("reason")):
        return f"{_name(pod)} failed: {one_line(status.get('message') or status['reason'])}"
    if not (pod.get("spec") or {}).get("nodeName"):
        return _explain_unschedulable(pod)
    if status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True":
        return ""
    for container_status in statuses(pod):
        if reason := _explain_container(pod, container_status, events):
            return reason
    return (
        _explain_gate(pod, last_lines)
        or _explain_no_container(pod, events)
        or _explain_not_ready(pod, events, last_lines)
    )


def explain_image_pull(pod: Object) -> str:
    """That a pod's image is still being pulled, as the reason of a wait that is over.

    A pull is no failure by itself. But a node that cannot reach a registry reports that only after
    a long time.

    Returns:
        An empty text if no image is being pulled.
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


def _explain_terminating(pod: Object) -> str:
    # The timestamp is when the pod should be gone, not when it was deleted.
    node = (pod.get("spec") or {}).get("nodeName")
    return (
        f"{_name(pod)} is being deleted, which should be over by "
        f"{pod['metadata']['deletionTimestamp']}"
        f"{f': if that is past, its node {node} does not answer' if node else ''}"
    )


def _explain_unschedulable(pod: Object) -> str:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return ""
    message = one_line(scheduled.get("message"))
    # The second part, about whether preempting other pods would help, is left out: it does not say
    # why there is no room.
    reason = _PREEMPTION.split(message)[0].rstrip(".")
    return f"no node takes {_name(pod)}: {reason}{_scheduling_cure(reason)}"


def _scheduling_cure(reason: str) -> str:
    cures = [cure for words, cure in _SCHEDULING_CURES if words in reason]
    if resources := sorted(set(_INSUFFICIENT.findall(reason))):
        cures.insert(0, f"ask for less {' and '.join(resources)}, free some, or add a node")
    return f" ({'; '.join(cures)})" if cures else ""


def _explain_container(pod: Object, status: Object, events: Sequence[Object]) -> str:
    """Why one container does not run; empty if it runs, or waits for something else."""
    state = waiting_state(status)
    reason = state.get("reason") or ""
    if reason in IMAGE_PULL_FAILURES:
        return _explain_failed_pull(pod, status, state, events)
    if reason in START_FAILURES:
        return _explain_failed_start(pod, status, state.get("message") or reason)
    ending = ending_of_status(status)
    has_ended = reason == ENDS_REPEATEDLY or "terminated" in (status.get("state") or {})
    # An init container that ended with 0 has done its work.
    is_main = status in main_statuses(pod)
    if ending is None or not has_ended or not (ending.exit_code or is_main):
        return ""
    if ending.reason in _NEVER_RAN:
        return _explain_failed_start(pod, status, ending.explanation())
    if ending.reason == _OUT_OF_MEMORY:
        return (
            f"container {status['name']} of {_name(pod)} was killed: it needs more memory than "
            f"its limit of {_memory_limit(pod, status['name'])}; raise `resources.limits.memory`"
        )
    return f"container {one_line(ending.sentence())} ({_name(pod)})"


def _explain_failed_start(pod: Object, status: Object, reason: str) -> str:
    return f"container {status['name']} of {_name(pod)} cannot be started: {one_line(reason)}"


def _explain_failed_pull(
    pod: Object, status: Object, state: Object, events: Sequence[Object]
) -> str:
    event = event_about(pod, events, ("Failed",))
    message = one_line(state.get("message"))
    if event and str(event.get("message")).startswith("Failed to pull image"):
        # After the first tries the container's state only says that Kubernetes waits before the
        # next one. The event has the registry's answer.
        event_message = str(event["message"])
        message = message if len(message) > len(event_message) else one_line(event_message)
    spec = _container_spec(pod, status["name"])
    image = spec.get("image") or status.get("image") or "?"
    text = f"{state['reason']} {message}"
    cure = next((cure for pattern, cure in _IMAGE_CURES if pattern.search(text)), "")
    return (
        f"image {image} of {_name(pod)} cannot be pulled: {message or state['reason']} "
        f"({cure or 'check `image`, or name a mirror with `registry`'})"
    )


def _container_spec(pod: Object, container: str) -> Object:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((each for each in containers if each["name"] == container), {})


def _memory_limit(pod: Object, container: str) -> str:
    limits = (_container_spec(pod, container).get("resources") or {}).get("limits") or {}
    return str(limits.get("memory") or "its node's")


def _explain_gate(pod: Object, last_lines: Sequence[str]) -> str:
    phase = pod_phase(pod, last_lines[-1] if last_lines else "")
    if phase.name != "gate" or not phase.detail:
        return ""
    return f"the gate of {_name(pod)} waits: {one_line(phase.detail)}"


def _explain_no_container(pod: Object, events: Sequence[Object]) -> str:
    """Why no container was started yet.

    A pod's status says nothing about its volumes and its sandbox; only events do.
    """
    if any(_was_started(status) for status in statuses(pod)):
        return ""
    event = event_about(pod, events, _BEFORE_CONTAINERS)
    if event is None:
        return ""
    node = pod["spec"]["nodeName"]
    return f"{_name(pod)} cannot start on {node}: {one_line(event.get('message'))}"


def _was_started(status: Object) -> bool:
    return bool(ending_of_status(status)) or _runs(status)


def _runs(status: Object) -> bool:
    return "running" in (status.get("state") or {})


def _explain_not_ready(pod: Object, events: Sequence[Object], last_lines: Sequence[str]) -> str:
    status = next(filter(_runs, main_statuses(pod)), None)
    if status is None:
        return ""
    event = event_about(pod, events, ("Unhealthy",))
    probe = f": {one_line(event.get('message'))}" if event else ""
    log = f"; it last said: {one_line(' | '.join(last_lines))}" if last_lines else ""
    ending = ending_of_status(status)
    before = f"; before, {one_line(ending.sentence())}" if ending else ""
    return (
        f"container {status['name']} of {_name(pod)} runs, but does not answer{probe}{before}{log}"
    )
