"""Wait until servers are ready, show each pod's way there, and say why one is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.pod import GATE
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes import pods, why
from modelshelf.targets.kubernetes.events import ServerReady
from modelshelf.targets.kubernetes.site import Deadline, Site, Told

_PROGRESS_DEADLINE = 600.0  # seconds; what Kubernetes takes for a Deployment that has none
_SLACK = 15.0  # seconds that Kubernetes' own verdict may come later
_GATE_LOOKS = 8  # looks at a pod between two at what its gate says
_CRASHES = 3  # restarts after which a container that ends at once will not mend itself


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """How far a Deployment is.

    Attributes:
        wanted: Pods that there should be.
        updated: Pods of the newest template.
        available: Pods that are ready.
        others: Pods of older templates.
        seen: Whether the controller has seen the newest spec at all.
    """

    wanted: int
    updated: int
    available: int
    others: int
    seen: bool

    @property
    def done(self) -> bool:
        """Whether all pods are of the newest template and ready, and no other is left."""
        arrived = self.updated == self.wanted and self.available >= self.wanted
        return self.seen and arrived and self.others == 0


def rollout(deployment: Object) -> Rollout:
    """How far a Deployment is, from its status."""
    status = deployment.get("status", {})
    updated = int(status.get("updatedReplicas") or 0)
    generation = int(deployment["metadata"].get("generation") or 0)
    return Rollout(
        wanted=int(deployment.get("spec", {}).get("replicas", 1)),
        updated=updated,
        available=int(status.get("availableReplicas") or 0),
        others=int(status.get("replicas") or 0) - updated,
        seen=int(status.get("observedGeneration") or 0) >= generation,
    )


def url(server: str, namespace: str) -> str:
    """A server's base URL inside the cluster."""
    return f"http://{names.fitted(server)}.{namespace}.svc"


def crashing(pod: Object) -> bool:
    """Whether a pod's container ended so often that waiting will not help."""
    return any(
        int(each.get("restartCount") or 0) >= _CRASHES
        and (each.get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
        for each in pod.get("status", {}).get("containerStatuses") or ()
    )


def until_ready(site: Site, servers: Iterable[str]) -> None:
    """Wait for the rollouts of some servers.

    Raises:
        TargetError: One makes no progress for as long as its model may take to load; the message
            has the reason that Kubernetes gives.
        TimedOutError: As above, and Kubernetes gives no reason.
    """
    told = Told(site.tell)
    waiting = {server: _Waiting(site, server, told) for server in servers}
    while waiting:
        deployments = site.cluster.list("Deployment", site.namespace, _labels(site))
        by_name = {each["metadata"]["name"]: each for each in deployments}
        every = site.cluster.list("Pod", site.namespace, _labels(site))
        for server, one in list(waiting.items()):
            mine = of_server(every, server)
            if one.look(by_name.get(names.fitted(server)), mine):
                del waiting[server]
        if waiting:
            site.pace.sleep(site.pace.look)


def _labels(site: Site) -> Mapping[str, str]:
    return {**names.of_file(site.config), names.COMPONENT: names.SERVER}


def of_server(every: Sequence[Object], server: str) -> list[Object]:
    """A server's pods, oldest first."""
    its = {names.NAME: names.fitted(server), names.COMPONENT: names.SERVER}.items()
    # The Jobs that prime it, and those that pull a model of its name, have pods, too.
    mine = [pod for pod in every if its <= (pod["metadata"].get("labels") or {}).items()]
    return sorted(mine, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


class _Waiting:
    """One server, from one look to the next."""

    def __init__(self, site: Site, server: str, told: Told) -> None:
        self._site = site
        self._server = server
        self._told = told
        self._last: Rollout | None = None
        self._deadline: Deadline | None = None
        self._looks = -1
        self._says: dict[str, str] = {}
        self._there: set[str] = set()  # pods that were ready before

    def look(self, deployment: Object | None, mine: Sequence[Object]) -> bool:
        """Look once, and tell what is new; whether the server is ready."""
        site = self._site
        self._looks += 1
        if deployment is None:
            raise TargetError(
                f"Deployment {self._server} was deleted meanwhile", hint="run up again"
            )
        for pod in mine:
            if self._looks == 0 and pods.ready(pod):
                self._there.add(pod["metadata"]["name"])
            if not pods.leaving(pod) and pod["metadata"]["name"] not in self._there:
                pods.tell_phase(site, self._told, self._server, pod, self._gate_says(pod))
        now = rollout(deployment)
        if now.done:
            site.tell(ServerReady(self._server, now.wanted, url(self._server, site.namespace)))
            return True
        self._judge(deployment, now, mine)
        return False

    def _gate_says(self, pod: Object) -> str:
        """What a gate waits for, asked for now and then: each time is a request."""
        if pods.phase(pod).name != "gate" or self._looks % _GATE_LOOKS:
            return self._says.get(pod["metadata"]["name"], "")
        line = next(iter(why.said(self._site, pod, GATE)[-1:]), "")
        self._says[pod["metadata"]["name"]] = line
        return line

    def _judge(self, deployment: Object, now: Rollout, mine: Sequence[Object]) -> None:
        if self._deadline is None or now != self._last:
            self._last = now
            self._deadline = Deadline(self._site.pace, self._limit(deployment))
        hopeless = any(crashing(pod) for pod in mine if not pods.leaving(pod))
        if not mine or hopeless or self._deadline.passed:
            reason = why.server(self._site, deployment, mine)
            self._told.awaiting(f"server {self._server}", reason)
            if hopeless or self._deadline.passed:
                raise self._error(now, reason or why.fetching(mine))

    def _limit(self, deployment: Object) -> float:
        if self._site.timeouts.ready is not None:
            return self._site.timeouts.ready
        given = deployment.get("spec", {}).get("progressDeadlineSeconds")
        return float(given or _PROGRESS_DEADLINE) + _SLACK

    def _error(self, now: Rollout, reason: str) -> TargetError:
        assert self._deadline is not None  # noqa: S101 - set by whoever judges
        state = f"{min(now.updated, now.available)} of {now.wanted} replicas are ready"
        if not reason:
            return TimedOutError(
                f"server {self._server}: {state} after {self._deadline.seconds:g} s without "
                "progress",
                hint=f"modelshelf logs {self._server}",
            )
        return TargetError(
            f"server {self._server}: {state}: {reason}",
            hint="correct it, and run up again; what is ready goes on serving",
        )
