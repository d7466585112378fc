"""Replace a server's pods, one at a time, and measure the phases of each start."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelshelf.render.names import Object
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes import pods
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.rollout import wait_until_ready
from modelshelf.targets.kubernetes.server_objects import (
    labels_of_servers,
    pods_of_server,
    require_server,
)
from modelshelf.targets.kubernetes.session import Session
from modelshelf.targets.kubernetes.timelines import PodTimeline, start_of

_REPLACED_SECONDS = 60.0  # until the cluster has made a new pod in place of the deleted one


def coldstarts(session: Session, server: str, starts: int) -> Iterator[PodTimeline]:
    """Delete the oldest ready pod of a server and wait for the new one, so many times.

    Args:
        session: The file, the cluster, and how long to wait.
        server: The server's key in the file.
        starts: How many pods are replaced.

    Yields:
        The phases of each start.

    Raises:
        UsageError: The file has no such server.
        TargetError: It has no ready pod, or a new pod does not get ready.
    """
    require_server(session.config, server)
    for _ in range(starts):
        before = _pods(session, server)
        oldest = next((pod for pod in before if pods.is_ready(pod)), None)
        if oldest is None:
            raise TargetError(
                f"server {server} has no pod that is ready in namespace {session.namespace}",
                hint="run modelshelf up, or modelshelf scale",
            )
        session.cluster.delete("Pod", oldest["metadata"]["name"], session.namespace)
        pod = _wait_for_new_pod(session, server, {each["metadata"]["uid"] for each in before})
        if timeline := start_of(session, pod):
            yield PodTimeline(server, pod["metadata"]["name"], timeline)


def _wait_for_new_pod(session: Session, server: str, old_uids: Collection[str]) -> Object:
    """Wait until a pod is ready that did not exist before."""
    deadline = Deadline(session.clock, _REPLACED_SECONDS)
    while True:
        new_pods = [
            pod
            for pod in _pods(session, server)
            if pod["metadata"]["uid"] not in old_uids and not pods.is_terminating(pod)
        ]
        if pod := next(filter(pods.is_ready, new_pods), None):
            return pod
        if new_pods:
            # This returns at once while the Deployment's status still counts the deleted pod.
            wait_until_ready(session, [server])
        elif deadline.passed:
            raise TimedOutError(
                f"server {server}: no pod came in place of the one that was deleted",
                hint=f"modelshelf status says how many {server} has",
            )
        session.clock.pause()


def _pods(session: Session, server: str) -> list[Object]:
    labels = labels_of_servers(session.config)
    return pods_of_server(session.cluster.list("Pod", session.namespace, labels), server)
