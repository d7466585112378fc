"""The Jobs that prime servers: each runs an engine once, and publishes its compile cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from modelshelf.render import names
from modelshelf.render.jobs import job_of
from modelshelf.render.names import Object
from modelshelf.render.prime_job import same_work
from modelshelf.render.rendered import Rendered
from modelshelf.start.events import Primed
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import (
    PrimeEvent,
    PrimeSkipped,
    PrimeStarted,
    PrimeTrouble,
)
from modelshelf.targets.kubernetes.job_runner import JobKind, run_jobs
from modelshelf.targets.kubernetes.job_state import state_of
from modelshelf.targets.kubernetes.session import Session

_PRIME = JobKind("server", PrimeStarted, PrimeEvent, PrimeTrouble, (Primed,), PrimeSkipped)


@dataclasses.dataclass(frozen=True, slots=True)
class PrimePlan:
    """Which servers are primed by a Job that runs, and which were primed before.

    Attributes:
        objects_to_run: Server → its objects, for the servers whose Job is to run.
        complete_jobs: Server → its Job, for the servers whose Job is complete and stays.
    """

    objects_to_run: Mapping[str, list[Object]]
    complete_jobs: Mapping[str, Object]


def plan_primes(
    session: Session, primes: Mapping[str, list[Object]], again: Collection[str] = ()
) -> PrimePlan:
    """Decide which servers are primed by a Job that runs.

    A complete pull Job is run again to look at the shelf. A complete prime Job is not: it would ask
    for a GPU that the server's own pods have. It stays, too, if it differs from the rendered one
    only in the ConfigMaps with our code. A pod that finds no compile cache on the shelf compiles by
    itself.

    Args:
        session: The cluster.
        primes: Server → its objects, as rendered from the file.
        again: Servers whose Job runs even if it is complete.
    """
    if not primes:
        return PrimePlan({}, {})
    labels = {**names.of_file(session.config), names.COMPONENT: names.PRIME}
    live = session.cluster.list("Job", session.namespace, labels)
    complete = [job for job in live if state_of(job) == "complete"]
    kept = {}
    for server, objects in primes.items():
        job = next((each for each in complete if same_work(each, job_of(objects))), None)
        if job is not None and server not in again:
            kept[server] = job
    to_run = {server: objects for server, objects in primes.items() if server not in kept}
    return PrimePlan(to_run, kept)


def prime_servers(
    session: Session,
    rendered: Rendered,
    plan: PrimePlan,
    *,
    force: bool = False,
    required: bool = False,
) -> None:
    """Run the Jobs of a plan, and wait until all are complete.

    Args:
        session: The file, the cluster, and how long to wait.
        rendered: The objects of the file.
        plan: Which servers are primed.
        force: Take over ConfigMaps that are not ours.
        required: Whether each Job has to run. Where it need not, the Job of a server that has pods
            is given up if no node has room for it: new pods compile by themselves.

    Raises:
        Error: A Job failed; servers are as they were. The error is the one that its pod reported,
            else a `TargetError`.
    """
    for server, job in plan.complete_jobs.items():
        session.tell(PrimeStarted(server, job["metadata"]["name"], "present"))
    if not plan.objects_to_run:
        return
    jobs = {server: job_of(objects) for server, objects in plan.objects_to_run.items()}
    applying.apply_code(session, rendered, jobs.values(), force=force)
    applying.apply_all_but_jobs(session, plan.objects_to_run.values(), force=force)
    optional = set() if required else _servers_with_pods(session)
    run_jobs(session, jobs, _PRIME, optional)


def _servers_with_pods(session: Session) -> set[str]:
    """The servers that have pods: these may hold the last GPUs."""
    live = session.cluster.list("Deployment", session.namespace, names.of_file(session.config))
    scaled = {each["metadata"]["name"] for each in live if each["spec"].get("replicas", 1)}
    return {server for server in session.config.servers if names.fitted(server) in scaled}
