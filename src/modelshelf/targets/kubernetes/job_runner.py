"""Run the Jobs that write to the shelf, several at once, and follow each of them to its end."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

from modelshelf.config.shelf_section import ShelfConfig
from modelshelf.kube.refusals import ExistsError
from modelshelf.render import names
from modelshelf.render.jobs import FINAL_EXIT_CODES
from modelshelf.render.names import Object
from modelshelf.shelf.errors import Error, NotWritableError, TargetError, TimedOutError
from modelshelf.shelf.events import Event
from modelshelf.targets.event_lines import event_from_json, parse_event_line
from modelshelf.targets.kubernetes import applying, diagnosis, job_state, pods
from modelshelf.targets.kubernetes.change_reporter import ChangeReporter
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import (
    PrimeEvent,
    PrimeSkipped,
    PrimeStarted,
    PrimeTrouble,
    PullEvent,
    PullStarted,
    PullTrouble,
    StartOfJob,
)
from modelshelf.targets.kubernetes.pod_logs import LogLine, LogReaders
from modelshelf.targets.kubernetes.session import Session

_REST_OF_LOG_SECONDS = 5.0  # for the rest of a log whose pod has ended
_BEGIN_SECONDS = 900.0  # until a Job's container has started: its image may have to be pulled
_NO_ROOM_SECONDS = 120.0  # how long an optional Job may look for a node that has room for it
_MAX_OTHER_LINES = 8  # lines that are not JSON, for the error of a Job whose pod named none


@dataclasses.dataclass(frozen=True, slots=True)
class JobKind:
    """What tells the Jobs of one purpose from others.

    Attributes:
        noun: What each Job works on: a `model`, or a `server`.
        started: The event that a Job runs.
        event: The event that wraps an event of the Job's pod.
        trouble: The event that a pod ended with an error, after which the Job may try again.
        outcomes: The events of a pod that has done its work.
        skipped: The event that an optional Job was given up; None where no Job is optional.
    """

    noun: str
    started: type[PullStarted | PrimeStarted]
    event: type[PullEvent | PrimeEvent]
    trouble: type[PullTrouble | PrimeTrouble]
    outcomes: tuple[type[Event], ...]
    skipped: type[PrimeSkipped] | None = None


def run_jobs(
    session: Session,
    jobs: Mapping[str, Object],
    kind: JobKind,
    optional: Collection[str] = (),
) -> None:
    """Run some Jobs, and wait until all are complete.

    A finished Job of the same name is replaced: running it again is how the share is looked at. A
    Job that runs already is joined. The first failure ends the wait; the other Jobs go on in the
    cluster.

    Args:
        session: The file, the cluster, and how long to wait.
        jobs: Key of a model or a server → its Job.
        kind: What the Jobs are for.
        optional: Keys of servers that work without their Job: it is given up where no node has
            room for it.

    Raises:
        Error: A Job failed. The error is the one that its pod reported, else a `TargetError`.
    """
    for key, job in jobs.items():
        _start(session, key, job, kind)
    followers = {
        job["metadata"]["name"]: _JobFollower(session, key, job, kind, optional=key in optional)
        for key, job in jobs.items()
    }
    while followers:
        live = {job["metadata"]["name"]: job for job in _list(session, "Job")}
        # Pods are listed after Jobs: so the pods of a Job that has ended have ended, too.
        all_pods = _list(session, "Pod")
        pods.force_hanging(session, all_pods)
        for name, follower in list(followers.items()):
            if follower.is_over(live.get(name), all_pods):
                del followers[name]
        if followers:
            session.clock.pause()


def write_permission_hint(shelf: ShelfConfig) -> str:
    """How to let pods write to the share.

    It names the share as its owner knows it: the path inside the pod would not help.
    """
    where = f"the root of the volume of claim {shelf.claim}"
    if shelf.nfs is not None:
        where = f"{shelf.nfs.path} on {shelf.nfs.server}"
    elif shelf.host_path is not None:
        where = shelf.host_path.path
    elif shelf.storage_class is not None:
        where = "the root of its volume"
    return (
        f"chown {shelf.user}:{shelf.group} {where}, or set shelf.user and shelf.group to who may "
        "write there"
    )


def _list(session: Session, kind: str) -> list[Object]:
    return session.cluster.list(kind, session.namespace, names.of_file(session.config))


def _start(session: Session, key: str, job: Object, kind: JobKind) -> None:
    """Create a Job, replace a finished one, or join one that runs."""
    job_key = names.key(job)
    live = applying.get_live(session, job_key)
    if live is not None and not applying.is_ours(live, session.config):
        raise applying.foreign_object_error(live)
    how: StartOfJob = "created"
    if live is not None:
        if job_state.state_of(live) == "running":
            session.tell(kind.started(key, job_key.name, "attached"))
            return
        session.cluster.delete("Job", job_key.name, job_key.namespace, wait=True)
        how = "replaced"
    try:
        session.cluster.create(job)
    except ExistsError:  # another `up` has created it meanwhile
        how = "attached"
    session.tell(kind.started(key, job_key.name, how))


class _JobFollower:
    """Follows one Job: keeps what is known of it from one look at the cluster to the next."""

    def __init__(
        self, session: Session, key: str, job: Object, kind: JobKind, *, optional: bool
    ) -> None:
        self._session = session
        self._key = key  # of the model or the server
        self._kind = kind
        self._job_key = names.key(job)
        self._name = self._job_key.name
        self._readers = LogReaders(session.cluster, session.namespace)
        self._reporter = ChangeReporter(session.tell)
        self._outcome_was_told = False
        self._other_lines: collections.deque[str] = collections.deque(maxlen=_MAX_OTHER_LINES)
        clock, limit = session.clock, session.timeouts.pull
        self._room_deadline = Deadline(clock, _NO_ROOM_SECONDS) if optional else None
        self._end_deadline = None if limit is None else Deadline(clock, limit)
        self._begin_deadline = Deadline(clock, _BEGIN_SECONDS)

    def is_over(self, job: Object | None, all_pods: Sequence[Object]) -> bool:
        """Look at the Job, and tell what is new.

        Args:
            job: The Job as the cluster has it; None if the cluster has none of this name.
            all_pods: The pods of the file.

        Returns:
            Whether the Job is complete, or was given up.

        Raises:
            Error: The Job failed, is late, or was deleted.
        """
        if job is None:
            raise TargetError(
                f"Job {self._name} was deleted while it worked on {self._key}",
                hint="run the same command again",
            )
        own_pods = job_state.pods_of(job, all_pods)
        for pod in own_pods:
            self._read(pod)
        self._tell_lines()
        state = job_state.state_of(job)
        if state == "running":
            if self._gives_up(own_pods):
                return True
            self._check_deadlines(job, own_pods)
            return False
        self._readers.wait_for([pod["metadata"]["name"] for pod in own_pods], _REST_OF_LOG_SECONDS)
        self._tell_lines()
        if state == "failed":
            raise self._failure(job, own_pods)
        self._tell_outcome(own_pods)
        return True

    def _gives_up(self, own_pods: Sequence[Object]) -> bool:
        """Delete an optional Job if no node has had room for its pod for a long time."""
        if self._room_deadline is None or self._kind.skipped is None:
            return False
        phase = pods.phase_of(own_pods[-1]) if own_pods else None
        if phase is None or phase.name != "unschedulable":
            self._room_deadline.extend()
        if phase is None or not self._room_deadline.passed:
            return False
        applying.delete(self._session, self._job_key)
        self._session.tell(self._kind.skipped(self._key, phase.detail))
        return True

    def _read(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if not job_state.has_log(pod):
            pods.report_phase(self._session, self._reporter, self._key, pod)
        elif not (job_state.termination_of(pod) and self._readers.has_read(name)):
            self._readers.read(self._key, name)

    def _tell_lines(self) -> None:
        for line in self._readers.take_lines():
            self._tell_line(line)

    def _tell_line(self, line: LogLine) -> None:
        fields = parse_event_line(line.text)
        if fields.get("event") == "error":
            if fields.get("exit_code") not in FINAL_EXIT_CODES:
                reason = str(fields.get("message", ""))
                self._session.tell(self._kind.trouble(self._key, line.pod, reason))
        elif event := event_from_json(fields):
            self._outcome_was_told |= isinstance(event, self._kind.outcomes)
            self._session.tell(self._kind.event(self._key, event))
        elif not fields:
            self._other_lines.append(line.text)

    def _check_deadlines(self, job: Object, own_pods: Sequence[Object]) -> None:
        if own_pods and job_state.has_log(own_pods[-1]):
            self._begin_deadline.extend()
        deadlines = (self._end_deadline, self._begin_deadline)
        passed = next((each for each in deadlines if each is not None and each.passed), None)
        reason = diagnosis.explain_job(self._session, job, own_pods)
        self._reporter.report_wait(f"Job {self._name}", reason)
        if passed is not None:
            reason = reason or diagnosis.explain_image_pull(own_pods)
            error_class = TargetError if reason else TimedOutError
            raise error_class(
                f"{self._key}: Job {self._name} made no progress in {passed.seconds:g} s"
                + (f": {reason}" if reason else ""),
                hint="the Job goes on in the cluster; the same command joins it",
            )

    def _failure(self, job: Object, own_pods: Sequence[Object]) -> Error:
        what = f"{self._kind.noun} {self._key}"
        for pod in reversed(own_pods):
            if error := job_state.error_in(job_state.outcome_of(pod), what):
                if isinstance(error, NotWritableError):
                    error.hint = write_permission_hint(self._session.config.shelf)
                return error
        endings = (diagnosis.describe_ending(pod) for pod in reversed(own_pods))
        ending = next(filter(None, endings), "")
        return TargetError(
            f"Job {self._name} for {self._key} failed: {job_state.failure_of(job)}"
            + (f"; {ending}" if ending else ""),
            hint="\n  ".join(self._other_lines) or "the next `up` starts it again where it stopped",
        )

    def _tell_outcome(self, own_pods: Sequence[Object]) -> None:
        """Tell the Job's outcome if it was not read from a log: Kubernetes has kept it."""
        if self._outcome_was_told:
            return
        for pod in reversed(own_pods):
            if event := event_from_json(job_state.outcome_of(pod)):
                self._session.tell(self._kind.event(self._key, event))
                return
