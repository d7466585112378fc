"""`scale`: set how many pods a server has, and wait until they count."""

from __future__ import annotations

from modelshelf.kube.refusals import MissingError
from modelshelf.render import names
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes import ready
from modelshelf.targets.kubernetes.events import Scaled
from modelshelf.targets.kubernetes.rollback import require
from modelshelf.targets.kubernetes.site import Site


def scale(site: Site, server: str, replicas: int) -> None:
    """Set a server's number of pods and wait until they are ready; the next `up` keeps it.

    Raises:
        UsageError: The file has no such server.
        TargetError: It is not in the cluster, or does not get ready; the message has the reason.
    """
    require(site.config, server)
    name = names.fitted(server)
    try:
        before = site.cluster.patch(
            "Deployment",
            name,
            site.namespace,
            {"spec": {"replicas": replicas}},
            subresource="scale",
        )
    except MissingError:
        raise TargetError(
            f"server {server} is not in namespace {site.namespace}", hint="run modelshelf up"
        ) from None
    there = int((before.get("status") or {}).get("replicas") or 0)
    site.tell(Scaled(server, there, replicas))
    ready.until_ready(site, [server])
