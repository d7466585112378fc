"""Run the Jobs that write to the shelf, all at once, and follow them to their end."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

from modelshelf.config.shelf_section import ShelfConfig
from modelshelf.kube.refusals import ExistsError
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.pulling import FINAL_EXIT_CODES
from modelshelf.shelf.errors import Error, NotWritableError, TargetError, TimedOutError
from modelshelf.shelf.events import Event, Purged
from modelshelf.start.events import Primed
from modelshelf.targets.kubernetes import applying, jobs, pods, why
from modelshelf.targets.kubernetes.events import (
    PrimeEvent,
    PrimeSkipped,
    PrimeStarted,
    PrimeTrouble,
    PullEvent,
    PullStarted,
    PullTrouble,
)
from modelshelf.targets.kubernetes.reading import Line, Readers
from modelshelf.targets.kubernetes.site import Deadline, Site, Told
from modelshelf.targets.lines import event_of, said
from modelshelf.transfer.events import Published

_LAST_LINES = 5.0  # seconds for the rest of a log whose pod has ended
_BEGIN = 900.0  # seconds until a Job's container must have begun; its image may have to be pulled
_ROOM = 120.0  # seconds that a Job may look for a node that holds back what can do without it
_KEPT_LINES = 8  # that were no JSON, for the error of a Job whose pod told of none


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What some Jobs do, and how it is told.

    Attributes:
        noun: What each is for.
        started: A Job runs.
        event: What its pod tells.
        trouble: How one of its pods ended that may not be the last.
        outcomes: What its pod tells when it has done what it should.
    """

    noun: str
    started: type[PullStarted | PrimeStarted]
    event: type[PullEvent | PrimeEvent]
    trouble: type[PullTrouble | PrimeTrouble]
    outcomes: tuple[type[Event], ...]


PULL = Work("model", PullStarted, PullEvent, PullTrouble, (Published, Purged))
PRIME = Work("server", PrimeStarted, PrimeEvent, PrimeTrouble, (Primed,))


def run(
    site: Site,
    wanted: Mapping[str, Object],
    work: Work = PULL,
    optional: Collection[str] = (),
) -> None:
    """Run a Job for each model, and wait until all are complete.

    A finished Job of the same name is replaced, since running it is how the share is looked at; a
    running one is joined. The first that fails ends the wait; the others go on in the cluster.

    Args:
        site: Where.
        wanted: Model, or server → its Job.
        work: What the Jobs do.
        optional: Those that can do without: where no node has room for the Job, it is given up.

    Raises:
        Error: A Job failed: of the kind that its pod told of, else `TargetError`.
    """
    for name, job in wanted.items():
        _start(site, name, job, work)
    following = {
        job["metadata"]["name"]: _Following(site, name, job, work, optional=name in optional)
        for name, job in wanted.items()
    }
    while following:
        found = {job["metadata"]["name"]: job for job in _list(site, "Job")}
        # Pods second: those of a Job that has ended have ended, too.
        every = _list(site, "Pod")
        pods.force_hanging(site, every)
        for name, one in list(following.items()):
            if one.look(found.get(name), every):
                del following[name]
        if following:
            site.pace.sleep(site.pace.look)


def cure(shelf: ShelfConfig) -> str:
    """What lets pods write to the share: a pod's path says nothing to who looks at it. Pure."""
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


def _list(site: Site, kind: str) -> list[Object]:
    return site.cluster.list(kind, site.namespace, names.of_file(site.config))


def _start(site: Site, name: str, job: Object, work: Work) -> None:
    key = names.key(job)
    live = applying.until_alive(site, key)
    if live is not None and not applying.ours(live, site.config):
        raise applying.foreign(live)
    how = "created"
    if live is not None:
        if jobs.state(live) == "running":
            site.tell(work.started(name, key.name, "attached"))
            return
        site.cluster.delete(key.kind, key.name, key.namespace, wait=True)
        how = "replaced"
    try:
        site.cluster.create(job)
    except ExistsError:  # another `up` was faster
        how = "attached"
    site.tell(work.started(name, key.name, how))


class _Following:
    """One Job, from one look to the next."""

    def __init__(self, site: Site, what: str, job: Object, work: Work, *, optional: bool) -> None:
        self._site = site
        self._what = what
        self._work = work
        self._name = job["metadata"]["name"]
        self._key = names.key(job)
        self._room = Deadline(site.pace, _ROOM) if optional else None
        self._readers = Readers(site.cluster, site.namespace)
        self._told = Told(site.tell)
        self._told_outcome = False
        self._other: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        limit = site.timeouts.pull
        self._end = None if limit is None else Deadline(site.pace, limit)
        self._begin = Deadline(site.pace, _BEGIN)

    def look(self, job: Object | None, every: Sequence[Object]) -> bool:
        """Look once, and tell what is new; whether the Job is complete, or was given up."""
        if job is None:
            raise TargetError(
                f"Job {self._name} was deleted while it worked on {self._what}",
                hint="run the same command again",
            )
        mine = jobs.pods_of(job, every)
        for pod in mine:
            self._read(pod)
        self._pass_on()
        if jobs.state(job) == "running":
            if self._room is not None and self._finds_no_node(self._room, mine):
                return True
            self._refuse_late(job, mine)
            return False
        self._readers.finish([pod["metadata"]["name"] for pod in mine], _LAST_LINES)
        self._pass_on()
        if jobs.state(job) == "failed":
            raise self._error(job, mine)
        self._tell_outcome(mine)
        return True

    def _finds_no_node(self, room: Deadline, mine: Sequence[Object]) -> bool:
        """Whether the Job was given up, since no node has had room for its pod for long."""
        phase = pods.phase(mine[-1]) if mine else None
        if phase is None or phase.name != "unschedulable":
            room.extend()
        if phase is None or not room.passed:
            return False
        applying.delete(self._site, self._key)
        self._site.tell(PrimeSkipped(self._what, phase.detail))
        return True

    def _read(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if not jobs.has_log(pod):
            pods.tell_phase(self._site, self._told, self._what, pod)
        elif not (jobs.ended(pod) and self._readers.ended(name)):
            self._readers.read(self._what, name)

    def _pass_on(self) -> None:
        for line in self._readers.lines():
            self._pass(line)

    def _pass(self, line: Line) -> None:
        told = said(line.text)
        if told.get("event") == "error":
            if told.get("exit_code") not in FINAL_EXIT_CODES:
                reason = str(told.get("message", ""))
                self._site.tell(self._work.trouble(self._what, line.pod, reason))
        elif event := event_of(told):
            self._told_outcome |= isinstance(event, self._work.outcomes)
            self._site.tell(self._work.event(self._what, event))
        elif not told:
            self._other.append(line.text)

    def _refuse_late(self, job: Object, mine: Sequence[Object]) -> None:
        if mine and jobs.has_log(mine[-1]):
            self._begin.extend()
        over = next((d for d in (self._end, self._begin) if d is not None and d.passed), None)
        waiting = why.job(self._site, job, mine)
        self._told.awaiting(f"Job {self._name}", waiting)
        if over is not None:
            waiting = waiting or why.fetching(mine)
            kind = TargetError if waiting else TimedOutError
            raise kind(
                f"{self._what}: Job {self._name} did not come further in {over.seconds:g} s"
                + (f": {waiting}" if waiting else ""),
                hint="the Job goes on in the cluster; the same command joins it",
            )

    def _error(self, job: Object, mine: Sequence[Object]) -> Error:
        for pod in reversed(mine):
            if error := jobs.typed_error(f"{self._work.noun} {self._what}", jobs.outcome(pod)):
                if isinstance(error, NotWritableError):
                    error.hint = cure(self._site.config.shelf)
                return error
        last = next((text for pod in reversed(mine) if (text := why.end(pod))), "")
        return TargetError(
            f"Job {self._name} for {self._what} failed: {jobs.failure(job)}"
            + (f"; {last}" if last else ""),
            hint="\n  ".join(self._other) or "the next `up` starts it again where it stopped",
        )

    def _tell_outcome(self, mine: Sequence[Object]) -> None:
        """Tell how it ended, if its log could not be read to the end."""
        if self._told_outcome:
            return
        for pod in reversed(mine):
            if event := event_of(jobs.outcome(pod)):
                self._site.tell(self._work.event(self._what, event))
                return
