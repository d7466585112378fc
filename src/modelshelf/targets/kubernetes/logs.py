"""`logs`: the lines that the pods of a server, or of a model's pull Jobs, print."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from modelshelf.config.file import Config
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.kubernetes.pod_logs import LogLine, LogReaders
from modelshelf.targets.kubernetes.session import Session

_NEXT_LINE_SECONDS = 0.2  # how long to wait for the next line


@dataclasses.dataclass(frozen=True, slots=True)
class LogChoice:
    """Which lines are wanted.

    Attributes:
        follow: Go on with new lines, and with new pods, until interrupted.
        tail: How many of the last lines of each pod; None for all.
        pod: The name of the only pod to read; None for all pods.
    """

    follow: bool = False
    tail: int | None = None
    pod: str | None = None


def logs(session: Session, name: str, choice: LogChoice) -> Iterator[LogLine]:
    """Read the lines of a server's pods, or of a model's pull Jobs.

    If the engine of a pod was not started yet, the lines of its gate are read.

    Args:
        session: The file and the cluster.
        name: The key of a server or a model.
        choice: Which lines are wanted.

    Raises:
        UsageError: The file has no such server or model.
        TargetError: There is no such pod, or this user may not read its log.
    """
    labels = _labels(session.config, name)
    readers = LogReaders(session.cluster, session.namespace)
    containers: dict[str, str] = {}  # pod → the container of it that is read
    while True:
        pods = [
            pod
            for pod in session.cluster.list("Pod", session.namespace, labels)
            if choice.pod in {None, pod["metadata"]["name"]}
        ]
        if not pods and not containers:
            raise _no_pods_error(session.config, name, choice)
        _start_reading(readers, containers, name, pods, choice)
        yield from readers.take_lines(_NEXT_LINE_SECONDS)
        while readers.are_reading() and not choice.follow:
            yield from readers.take_lines(_NEXT_LINE_SECONDS)
        yield from readers.take_lines()
        if readers.refusal:
            raise readers.refusal
        if not choice.follow:
            return
        session.clock.pause()


def _start_reading(
    readers: LogReaders,
    containers: dict[str, str],
    name: str,
    pods: Sequence[Object],
    choice: LogChoice,
) -> None:
    """Start to read the pods that have something new to read."""
    for pod in pods:
        pod_name = pod["metadata"]["name"]
        container = container_to_read(pod)
        if container is None or containers.get(pod_name) == container:
            continue
        if readers.has_read(pod_name) or pod_name not in containers:
            containers[pod_name] = container
            readers.read(
                name, pod_name, container=container, follow=choice.follow, tail=choice.tail
            )


def _labels(config: Config, name: str) -> dict[str, str]:
    component = names.SERVER if name in config.servers else names.PULL
    if name not in config.servers and name not in config.models:
        known = ", ".join([*sorted(config.servers), *sorted(config.models)])
        raise UsageError(
            f"modelshelf.yaml has no server and no model {name}", hint=f"it has {known}"
        )
    return {**names.of_file(config), names.COMPONENT: component, names.NAME: names.fitted(name)}


def container_to_read(pod: Object) -> str | None:
    """The last container of a pod that was started, or its gate; None if none was. Pure."""
    status = pod.get("status", {})
    for part in ("containerStatuses", "initContainerStatuses"):
        for container in reversed(status.get(part) or []):
            started = {"running", "terminated"} & set(container.get("state") or {})
            if started or container.get("lastState"):
                return str(container["name"])
    return None


def _no_pods_error(config: Config, name: str, choice: LogChoice) -> TargetError:
    if choice.pod:
        return TargetError(
            f"{name} has no pod {choice.pod} in namespace {config.namespace}",
            hint="modelshelf status names its pods",
        )
    return TargetError(
        f"{name} has no pods in namespace {config.namespace}", hint="run modelshelf up first"
    )
