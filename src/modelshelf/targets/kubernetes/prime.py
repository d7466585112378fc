"""`prime`: let a server's engine compile once more, for every later start of its pods."""

from __future__ import annotations

import dataclasses

from modelshelf.config.lock import Lock
from modelshelf.render.plan import render
from modelshelf.shelf.errors import UsageError
from modelshelf.targets.kubernetes import hub_token, primes, volumes
from modelshelf.targets.kubernetes.events import Connected, Done
from modelshelf.targets.kubernetes.rollback import require
from modelshelf.targets.kubernetes.site import Site
from modelshelf.targets.kubernetes.up import apply_namespace, pull


def prime(site: Site, lock: Lock, server: str, token: str | None = None) -> None:
    """Prime a server, whether it was before or not; its pods go on as they are.

    Args:
        site: The file, the cluster, who is told, and how long it waits.
        lock: With every model of the file.
        server: Its key in the file.
        token: The Hub's token, should its model not be there yet.

    Raises:
        UsageError: The file has no such server, or its starts do not look for what is made here.
        TargetError: The cluster refused, or the engine did not get ready.
        Error: A Job failed, of the kind that its pod told of.
    """
    require(site.config, server)
    began = site.pace.now()
    wanted = site.config.servers[server]
    rendered = render(site.config, lock.only(site.config.models))
    if server not in rendered.primes:
        raise UsageError(
            f"server {server} does not say prime: true, so no start of it would look for what "
            "was made",
            hint=f"set servers.{server}.prime, and run modelshelf up, which primes it, too",
        )
    site.tell(Connected(site.cluster.server, site.cluster.context, site.namespace))
    apply_namespace(site, rendered.namespace)
    hub_token.provide(site, token, force=False)
    volumes.apply_storage(site, rendered.storage, lock, force=False)
    model = {wanted.model: rendered.pulls[wanted.model]}
    pull(site, dataclasses.replace(rendered, pulls=model))
    mine = {server: rendered.primes[server]}
    primes.run(site, rendered, primes.settle(site, mine, again=mine), needed=True)
    site.tell(Done("prime", 0, round(site.pace.now() - began, 1)))
