"""Apply servers: what stays as it is in the cluster, and what is said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.keeping import code_maps_of, deployment_of, keep_code, keep_replicas
from modelshelf.render.names import Object
from modelshelf.render.plan import Rendered
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import Awaiting, Kept, LoadChosen
from modelshelf.targets.kubernetes.site import Site


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What will be applied for the servers.

    Attributes:
        objects: Server → its objects, in order.
        maps: Names of the ConfigMaps with our code that their Deployments mount.
        kept: What is not as the file says, on purpose.
    """

    objects: Mapping[str, list[Object]]
    maps: frozenset[str]
    kept: tuple[Kept, ...]

    def replicas(self, server: str) -> int:
        """How many pods a server will have."""
        return int(deployment_of(self.objects[server])["spec"]["replicas"])


def prepare(site: Site, rendered: Mapping[str, list[Object]], *, refresh: bool) -> Prepared:
    """Decide what of the live Deployments stays.

    Args:
        site: Where.
        rendered: Server → its objects, as the file has them.
        refresh: Whether servers get the newest code, which restarts them.
    """
    live = {
        each["metadata"]["name"]: each
        for each in site.cluster.list("Deployment", site.namespace, names.of_file(site.config))
    }
    present = {
        each["metadata"]["name"]
        for each in site.cluster.list(
            "ConfigMap", site.namespace, {**names.of_file(site.config), names.COMPONENT: names.CODE}
        )
    }
    objects: dict[str, list[Object]] = {}
    kept: list[Kept] = []
    for server, parts in rendered.items():
        wanted = deployment_of(parts)
        mine = live.get(wanted["metadata"]["name"])
        final = keep(wanted, mine, present, refresh=refresh)
        kept += differences(server, wanted, final)
        objects[server] = [final if obj is wanted else obj for obj in parts]
    maps = frozenset(
        name for parts in objects.values() for name in code_maps_of(deployment_of(parts)).values()
    )
    return Prepared(objects, maps, tuple(kept))


def keep(wanted: Object, live: Object | None, present: Collection[str], *, refresh: bool) -> Object:
    """A Deployment as it will be applied: the live one's code and replicas stay. Pure.

    Args:
        wanted: As the file has it.
        live: As the cluster has it.
        present: Names of the ConfigMaps with our code that the cluster has: one that is gone
            cannot stay.
        refresh: Whether the newest code is wanted all the same.
    """
    mounted = code_maps_of(live).values() if live is not None else ()
    fresh = refresh or any(name not in present for name in mounted)
    return keep_replicas(keep_code(wanted, live, refresh=fresh), live)


def differences(server: str, wanted: Object, final: Object) -> list[Kept]:
    """What of a Deployment stays other than the file says. Pure."""
    kept: list[Kept] = []
    count, asked = final["spec"]["replicas"], wanted["spec"]["replicas"]
    if count != asked:
        why = f"modelshelf.yaml says {asked}, which has not changed since; scale sets the number"
        kept.append(Kept(server, f"{count} replicas", why))
    mounted = code_maps_of(final)
    if mounted != code_maps_of(wanted):
        why = "another modelshelf restarts no server; --refresh-code does"
        kept.append(Kept(server, f"its code, {' and '.join(mounted.values())}", why))
    return kept


def apply_servers(site: Site, prepared: Prepared, rendered: Rendered, *, force: bool) -> None:
    """Apply the code that servers mount, then the servers."""
    deployments = map(deployment_of, prepared.objects.values())
    applying.apply_code(site, rendered, deployments, force=force)
    for event in prepared.kept:
        site.tell(event)
    for server, parts in prepared.objects.items():
        if load := deployment_of(parts)["metadata"]["annotations"].get(names.LOAD):
            site.tell(LoadChosen(server, load))
        for obj in parts:
            applying.apply(site, obj, force=force)


def warn_of_missing_gpus(site: Site, rendered: Mapping[str, list[Object]]) -> None:
    """Say before any pull which resource no node offers.

    It is no refusal, since a cluster may add nodes once pods wait for them; a user who may not see
    nodes gets no warning.

    Args:
        site: Where.
        rendered: Server → its objects, as the file has them.
    """
    asking = {server: parts for server, parts in rendered.items() if extended(deployment_of(parts))}
    if not asking:
        return
    prepared = prepare(site, asking, refresh=False)
    wanted = {
        resource: server
        for server, parts in prepared.objects.items()
        for resource in extended(deployment_of(parts))
        if prepared.replicas(server)
    }
    if not wanted:
        return
    try:
        nodes = site.cluster.list("Node")
    except ForbiddenError:
        return
    for resource, server in wanted.items():
        if not offered(nodes, resource):
            site.tell(
                Awaiting(
                    f"server {server}",
                    f"no node of this cluster offers {resource}: its pods cannot start before one "
                    "does",
                )
            )


def extended(deployment: Object) -> frozenset[str]:
    """The resources besides processor, memory and disk that a Deployment's pods ask for. Pure."""
    limits = [
        (each.get("resources") or {}).get("limits") or {}
        for each in deployment["spec"]["template"]["spec"]["containers"]
    ]
    return frozenset(name for part in limits for name, count in part.items() if _asks(name, count))


def _asks(name: str, count: object) -> bool:
    return "/" in name and str(count) != "0"


def offered(nodes: Collection[Object], resource: str) -> bool:
    """Whether any node has a resource. Pure."""
    return any(
        str((node.get("status", {}).get("allocatable") or {}).get(resource, "0")) != "0"
        for node in nodes
    )
