"""Start a server's pods again, one at a time, and tell what each start was made of."""

from __future__ import annotations

from collections.abc import Iterator

from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes import pods, ready
from modelshelf.targets.kubernetes.rollback import require
from modelshelf.targets.kubernetes.site import Deadline, Site
from modelshelf.targets.kubernetes.timelines import PodTimeline, start_of

_NOTICED = 60.0  # seconds in which a cluster has noticed that a pod is gone


def coldstarts(site: Site, server: str, starts: int) -> Iterator[PodTimeline]:
    """Delete the oldest pod of a server and wait for the next one, so many times.

    Raises:
        UsageError: The file has no such server.
        TargetError: It has no ready pod, or a new one does not get ready.
    """
    require(site.config, server)
    for _ in range(starts):
        before = _pods(site, server)
        oldest = next((pod for pod in before if pods.ready(pod)), None)
        if oldest is None:
            raise TargetError(
                f"server {server} has no pod that is ready in namespace {site.namespace}",
                hint="run modelshelf up, or modelshelf scale",
            )
        site.cluster.delete("Pod", oldest["metadata"]["name"], site.namespace)
        pod = _next(site, server, {each["metadata"]["uid"] for each in before})
        if found := start_of(site, pod):
            yield PodTimeline(server, pod["metadata"]["name"], found)


def _next(site: Site, server: str, before: set[str]) -> Object:
    """The pod that came in place of another, once it is ready."""
    deadline = Deadline(site.pace, _NOTICED)
    while True:
        fresh = [
            pod
            for pod in _pods(site, server)
            if pod["metadata"]["uid"] not in before and not pods.leaving(pod)
        ]
        if pod := next(filter(pods.ready, fresh), None):
            return pod
        if fresh:
            # It returns early where the Deployment does not know of the change yet.
            ready.until_ready(site, [server])
        elif deadline.passed:
            raise TimedOutError(
                f"server {server}: no pod came in place of the one that was deleted",
                hint=f"modelshelf status says how many {server} has",
            )
        site.pace.sleep(site.pace.look)


def _pods(site: Site, server: str) -> list[Object]:
    labels = {**names.of_file(site.config), names.COMPONENT: names.SERVER}
    return ready.of_server(site.cluster.list("Pod", site.namespace, labels), server)
