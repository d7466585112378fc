"""Prime servers: Jobs in which engines compile once, for every later start."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from modelshelf.render import names
from modelshelf.render.jobs import job_of
from modelshelf.render.names import Object
from modelshelf.render.plan import Rendered
from modelshelf.render.priming import same_work
from modelshelf.targets.kubernetes import applying, jobs, pulls
from modelshelf.targets.kubernetes.events import PrimeStarted
from modelshelf.targets.kubernetes.site import Site


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """What is to be done about the servers that shall be primed.

    Attributes:
        objects: Server → its objects, of those whose Job is to run.
        kept: Server → its Job, of those that have one which is complete.
    """

    objects: Mapping[str, list[Object]]
    kept: Mapping[str, Object]


def settle(site: Site, primes: Mapping[str, list[Object]], again: Collection[str] = ()) -> Settled:
    """Decide which servers are primed by a Job that runs.

    Unlike a pull's, a complete Job is not run again to look at the shelf: it would ask for a GPU
    that the server has. Neither is one that differs in the map of our code alone. A start that
    finds nothing on the shelf compiles by itself.

    Args:
        site: Where.
        primes: Server → its objects, as the file has them.
        again: Servers that are primed even so.
    """
    if not primes:
        return Settled({}, {})
    labels = {**names.of_file(site.config), names.COMPONENT: names.PRIME}
    live = site.cluster.list("Job", site.namespace, labels)
    done = [job for job in live if jobs.state(job) == "complete"]
    kept = {}
    for server, objects in primes.items():
        complete = next((job for job in done if same_work(job, job_of(objects))), None)
        if complete is not None and server not in again:
            kept[server] = complete
    rest = {server: objects for server, objects in primes.items() if server not in kept}
    return Settled(rest, kept)


def run(
    site: Site, rendered: Rendered, settled: Settled, *, force: bool = False, needed: bool = False
) -> None:
    """Run the Jobs, and wait until all are complete.

    Unless it is needed, the Job of a server that has pods is given up where no node has room for
    it: new pods compile by themselves, as they would without it.

    Raises:
        Error: One failed, of the kind that its pod told of; servers are as they were.
    """
    for server, job in settled.kept.items():
        site.tell(PrimeStarted(server, job["metadata"]["name"], "present"))
    if not settled.objects:
        return
    wanted = {server: job_of(objects) for server, objects in settled.objects.items()}
    applying.apply_code(site, rendered, wanted.values(), force=force)
    for objects in settled.objects.values():
        for obj in objects:
            if obj["kind"] != "Job":
                applying.apply(site, obj, force=force)
    optional = set() if needed else _serving(site)
    pulls.run(site, wanted, pulls.PRIME, optional)


def _serving(site: Site) -> set[str]:
    """The servers that have pods, and with them perhaps the last GPUs."""
    live = site.cluster.list("Deployment", site.namespace, names.of_file(site.config))
    there = {each["metadata"]["name"] for each in live if each["spec"].get("replicas", 1)}
    return {server for server in site.config.servers if names.fitted(server) in there}
