"""Wait until servers are ready, tell how far each pod is, and say why a server is not ready."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.pod import GATE
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes import diagnosis, pods
from modelshelf.targets.kubernetes.change_reporter import ChangeReporter
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import ServerReady
from modelshelf.targets.kubernetes.server_objects import (
    labels_of_servers,
    pods_of_server,
    server_url,
)
from modelshelf.targets.kubernetes.session import Session

_PROGRESS_SECONDS = 600.0  # Kubernetes' own default for a Deployment's progress deadline
_EXTRA_SECONDS = 15.0  # so that Kubernetes' own verdict comes before ours
_LOOKS_PER_GATE_LOG = 8  # a gate's log is read at every eighth look: each time is a request
_MAX_RESTARTS = 3  # a container that ends at once as often as this will not mend itself


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """How far a Deployment is.

    Attributes:
        wanted: How many pods there should be.
        updated: Pods of the newest template.
        available: Pods that are ready.
        outdated: Pods of older templates.
        observed: Whether the controller has seen the newest spec at all.
    """

    wanted: int
    updated: int
    available: int
    outdated: int
    observed: bool

    @property
    def done(self) -> bool:
        """Whether all pods are of the newest template and ready, and no older pod is left."""
        complete = self.updated == self.wanted and self.available >= self.wanted
        return self.observed and complete and self.outdated == 0


def rollout_of(deployment: Object) -> Rollout:
    """How far a Deployment is, by its status. Pure."""
    status = deployment.get("status", {})
    updated = int(status.get("updatedReplicas") or 0)
    generation = int(deployment["metadata"].get("generation") or 0)
    return Rollout(
        wanted=int(deployment.get("spec", {}).get("replicas", 1)),
        updated=updated,
        available=int(status.get("availableReplicas") or 0),
        outdated=int(status.get("replicas") or 0) - updated,
        observed=int(status.get("observedGeneration") or 0) >= generation,
    )


def is_crashing(pod: Object) -> bool:
    """Whether a pod's container has ended so often that waiting will not help. Pure."""
    return any(
        int(status.get("restartCount") or 0) >= _MAX_RESTARTS
        and (status.get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
        for status in pod.get("status", {}).get("containerStatuses") or ()
    )


def wait_until_ready(session: Session, servers: Iterable[str]) -> None:
    """Wait for the rollouts of some servers.

    Args:
        session: The file, the cluster, and how long to wait.
        servers: Their keys in the file.

    Raises:
        TargetError: A server makes no progress for as long as its model may take to load; the
            message has the reason that Kubernetes gives.
        TimedOutError: As above, and Kubernetes gives no reason.
    """
    reporter = ChangeReporter(session.tell)
    labels = labels_of_servers(session.config)
    followers = {server: _RolloutFollower(session, server, reporter) for server in servers}
    while followers:
        deployments = session.cluster.list("Deployment", session.namespace, labels)
        by_name = {each["metadata"]["name"]: each for each in deployments}
        all_pods = session.cluster.list("Pod", session.namespace, labels)
        for server, follower in list(followers.items()):
            own_pods = pods_of_server(all_pods, server)
            if follower.is_ready(by_name.get(names.fitted(server)), own_pods):
                del followers[server]
        if followers:
            session.clock.pause()


class _RolloutFollower:
    """Follows one server: keeps what is known of it from one look at the cluster to the next."""

    def __init__(self, session: Session, server: str, reporter: ChangeReporter) -> None:
        self._session = session
        self._server = server
        self._reporter = reporter
        self._last_rollout: Rollout | None = None
        self._deadline: Deadline | None = None
        self._looks = 0
        self._gate_lines: dict[str, str] = {}
        self._ready_from_start: set[str] = set()  # names of pods whose phase is not news

    def is_ready(self, deployment: Object | None, own_pods: Sequence[Object]) -> bool:
        """Look at the server, and tell what is new.

        Raises:
            TargetError: It was deleted, or will not get ready.
        """
        session = self._session
        if deployment is None:
            raise TargetError(
                f"Deployment {self._server} was deleted meanwhile", hint="run up again"
            )
        for pod in own_pods:
            self._report_pod(pod)
        self._looks += 1
        rollout = rollout_of(deployment)
        if rollout.done:
            url = server_url(self._server, session.namespace)
            session.tell(ServerReady(self._server, rollout.wanted, url))
            return True
        self._check_progress(deployment, rollout, own_pods)
        return False

    def _report_pod(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if self._looks == 0 and pods.is_ready(pod):
            self._ready_from_start.add(name)
        if not pods.is_terminating(pod) and name not in self._ready_from_start:
            line = self._gate_line_of(pod)
            pods.report_phase(self._session, self._reporter, self._server, pod, line)

    def _gate_line_of(self, pod: Object) -> str:
        """The last line of a pod's gate: it says what the gate waits for."""
        name = pod["metadata"]["name"]
        if pods.phase_of(pod).name != "gate" or self._looks % _LOOKS_PER_GATE_LOG:
            return self._gate_lines.get(name, "")
        line = next(iter(diagnosis.last_lines_of(self._session, pod, GATE)[-1:]), "")
        self._gate_lines[name] = line
        return line

    def _check_progress(
        self, deployment: Object, rollout: Rollout, own_pods: Sequence[Object]
    ) -> None:
        if self._deadline is None or rollout != self._last_rollout:
            self._last_rollout = rollout
            self._deadline = Deadline(self._session.clock, self._max_seconds(deployment))
        crashes = any(is_crashing(pod) for pod in own_pods if not pods.is_terminating(pod))
        if not own_pods or crashes or self._deadline.passed:
            reason = diagnosis.explain_server(self._session, deployment, own_pods)
            self._reporter.report_wait(f"server {self._server}", reason)
            if crashes or self._deadline.passed:
                reason = reason or diagnosis.explain_image_pull(own_pods)
                raise self._failure(rollout, reason, self._deadline.seconds)

    def _max_seconds(self, deployment: Object) -> float:
        """Seconds that the server may take without any progress."""
        if self._session.timeouts.ready is not None:
            return self._session.timeouts.ready
        own = deployment.get("spec", {}).get("progressDeadlineSeconds")
        return float(own or _PROGRESS_SECONDS) + _EXTRA_SECONDS

    def _failure(self, rollout: Rollout, reason: str, seconds: float) -> TargetError:
        ready = min(rollout.updated, rollout.available)
        state = f"{ready} of {rollout.wanted} replicas are ready"
        if not reason:
            return TimedOutError(
                f"server {self._server}: {state} after {seconds:g} s without progress",
                hint=f"modelshelf logs {self._server}",
            )
        return TargetError(
            f"server {self._server}: {state}: {reason}",
            hint="correct it, and run up again; what is ready goes on serving",
        )
