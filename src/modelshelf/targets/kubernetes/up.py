"""`up`: bring a cluster to what the file and the lock say, and never break what serves."""

from __future__ import annotations

import dataclasses

from modelshelf.config.lock import Lock, refuse_too_large
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.jobs import job_of
from modelshelf.render.names import Key, Object
from modelshelf.render.plan import Rendered, render
from modelshelf.shelf.events import Event, Listener
from modelshelf.targets.kubernetes import (
    applying,
    ask,
    hub_token,
    primes,
    prune,
    pulls,
    ready,
    servers,
    volumes,
)
from modelshelf.targets.kubernetes.events import Applied, Connected, Done, TakenBack
from modelshelf.targets.kubernetes.primes import Settled
from modelshelf.targets.kubernetes.servers import Prepared
from modelshelf.targets.kubernetes.site import Site


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How `up` goes about it.

    Attributes:
        token: The Hub's token, for pulls.
        force_conflicts: Take over objects that are not ours.
        refresh_code: Give servers the newest code, which restarts them.
        ask: Ask each server at the end.
    """

    token: str | None = dataclasses.field(default=None, repr=False)
    force_conflicts: bool = False
    refresh_code: bool = False
    ask: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What `up` did: how many objects it created, changed, took back or removed."""

    changed: int
    seconds: float


def up(site: Site, lock: Lock, options: Options) -> Report:
    """Bring a cluster to what the file and the lock say; interrupted, the next run goes on.

    Storage and tokens come first, then the pulls of all models, then what primes servers, and
    servers only then: one that changes before would wait with a GPU in its hands.

    Args:
        site: The file, the cluster, who is told, and how long it waits.
        lock: With every model of the file.
        options: How.

    Raises:
        UsageError: The file asks for what cannot be; nothing was done.
        NoSpaceError: A model is larger than the share; nothing was done.
        TargetError: The cluster refused, or did not get ready; the message has its reason.
        Error: A Job failed, of the kind that its pod told of.
    """
    counting = _Counting(site.tell)
    site = dataclasses.replace(site, tell=counting.tell)
    began = site.pace.now()
    lock = lock.only(site.config.models)
    refuse_too_large(site.config, lock)
    rendered = render(site.config, lock)
    site.tell(Connected(site.cluster.server, site.cluster.context, site.namespace))
    force = options.force_conflicts
    apply_namespace(site, rendered.namespace)
    hub_token.provide(site, options.token, force=force)
    volumes.apply_storage(site, rendered.storage, lock, force=force)
    servers.warn_of_missing_gpus(site, rendered.servers)
    pull(site, rendered, force=force)
    settled = primes.settle(site, rendered.primes)
    primes.run(site, rendered, settled, force=force)
    prepared = servers.prepare(site, rendered.servers, refresh=options.refresh_code)
    servers.apply_servers(site, prepared, rendered, force=force)
    prune.prune(site, wanted_keys(rendered, prepared, settled))
    serving = [server for server in prepared.objects if prepared.replicas(server)]
    ready.until_ready(site, prepared.objects)
    for server in serving if options.ask else ():
        ask.ask(site, server)
    took = round(site.pace.now() - began, 1)
    site.tell(Done("up", counting.changed, took))
    return Report(counting.changed, took)


def apply_namespace(site: Site, namespace: Object) -> None:
    """Make the namespace if it is not there; one of somebody else's is used as it is."""
    try:
        live = applying.until_alive(site, names.key(namespace))
    except ForbiddenError:
        return  # a user with rights in the namespace alone: whatever comes next says if it lacks
    if live is None or applying.ours(live, site.config):
        applying.apply(site, namespace)


def pull(site: Site, rendered: Rendered, *, force: bool = False) -> None:
    """Pull every model, which is also the look whether it is there."""
    jobs = {model: job_of(objects) for model, objects in rendered.pulls.items()}
    applying.apply_code(site, rendered, jobs.values(), force=force)
    for objects in rendered.pulls.values():
        for obj in objects:
            if obj["kind"] != "Job":
                applying.apply(site, obj, force=force)
    pulls.run(site, jobs)


def wanted_keys(rendered: Rendered, prepared: Prepared, settled: Settled) -> frozenset[Key]:
    """All that shall be there; what kept Deployments and Jobs mount counts as named by them."""
    objects = [rendered.namespace, *rendered.storage, *rendered.code.values()]
    objects += settled.kept.values()
    for parts in (
        *rendered.pulls.values(),
        *settled.objects.values(),
        *prepared.objects.values(),
    ):
        objects += parts
    namespace = rendered.namespace["metadata"]["name"]
    mounted = {Key("ConfigMap", namespace, name) for name in prepared.maps}
    return frozenset(names.key(obj) for obj in objects) | mounted


class _Counting:
    """A listener that counts what changed, and passes everything on."""

    def __init__(self, tell: Listener) -> None:
        self.changed = 0
        self._tell = tell

    def tell(self, event: Event) -> None:
        applied = isinstance(event, Applied) and event.how != "unchanged"
        self.changed += applied or isinstance(event, TakenBack)
        self._tell(event)
