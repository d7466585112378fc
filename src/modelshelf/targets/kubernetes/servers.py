"""Apply servers: decide what the live Deployments keep, and tell of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.carry_over import code_maps_of, deployment_of, keep_code, keep_replicas
from modelshelf.render.names import Object
from modelshelf.render.rendered import Rendered
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import Awaiting, Kept, LoadChosen
from modelshelf.targets.kubernetes.session import Session


@dataclasses.dataclass(frozen=True, slots=True)
class ServerPlan:
    """What will be applied for the servers.

    Attributes:
        objects: Server → its objects, in the order in which they are applied.
        code_map_names: Names of the ConfigMaps with our code that their Deployments mount.
        kept: What differs from the file on purpose.
    """

    objects: Mapping[str, list[Object]]
    code_map_names: frozenset[str]
    kept: tuple[Kept, ...]

    def replicas(self, server: str) -> int:
        """How many pods a server will have."""
        return int(deployment_of(self.objects[server])["spec"]["replicas"])


def plan_servers(
    session: Session, rendered: Mapping[str, list[Object]], *, refresh: bool
) -> ServerPlan:
    """Decide what the live Deployments keep.

    Args:
        session: The file and the cluster.
        rendered: Server → its objects, as rendered from the file.
        refresh: Whether servers get the newest code, which restarts them.
    """
    labels = names.of_file(session.config)
    live = session.cluster.list("Deployment", session.namespace, labels)
    live_by_name = {each["metadata"]["name"]: each for each in live}
    code_labels = {**labels, names.COMPONENT: names.CODE}
    code_maps = session.cluster.list("ConfigMap", session.namespace, code_labels)
    present = {each["metadata"]["name"] for each in code_maps}
    objects: dict[str, list[Object]] = {}
    kept: list[Kept] = []
    for server, parts in rendered.items():
        wanted = deployment_of(parts)
        own = live_by_name.get(wanted["metadata"]["name"])
        final = keep_live_parts(wanted, own, present, refresh=refresh)
        kept += differences(server, wanted, final)
        objects[server] = [final if obj is wanted else obj for obj in parts]
    code_map_names = frozenset(
        name for parts in objects.values() for name in code_maps_of(deployment_of(parts)).values()
    )
    return ServerPlan(objects, code_map_names, tuple(kept))


def keep_live_parts(
    wanted: Object, live: Object | None, present: Collection[str], *, refresh: bool
) -> Object:
    """A Deployment as it will be applied: with the live one's code and number of pods. Pure.

    Args:
        wanted: The Deployment as rendered from the file.
        live: The Deployment in the cluster; None if it does not exist.
        present: Names of the ConfigMaps with our code that the cluster has. A Deployment cannot
            keep a ConfigMap that is gone.
        refresh: Whether the newest code is used in any case.
    """
    mounted = code_maps_of(live).values() if live is not None else ()
    refresh = refresh or any(name not in present for name in mounted)
    return keep_replicas(keep_code(wanted, live, refresh=refresh), live)


def differences(server: str, wanted: Object, final: Object) -> list[Kept]:
    """In what a Deployment will differ from the file, on purpose. Pure.

    Args:
        server: The server's key.
        wanted: The Deployment as rendered from the file.
        final: The Deployment as it will be applied.
    """
    kept: list[Kept] = []
    final_count, wanted_count = final["spec"]["replicas"], wanted["spec"]["replicas"]
    if final_count != wanted_count:
        why = (
            f"modelshelf.yaml says {wanted_count}, which has not changed since; scale sets the "
            "number"
        )
        kept.append(Kept(server, f"{final_count} replicas", why))
    mounted = code_maps_of(final)
    if mounted != code_maps_of(wanted):
        why = "another modelshelf restarts no server; --refresh-code does"
        kept.append(Kept(server, f"its code, {' and '.join(mounted.values())}", why))
    return kept


def apply_servers(session: Session, plan: ServerPlan, rendered: Rendered, *, force: bool) -> None:
    """Apply the code that servers mount, then the servers."""
    deployments = map(deployment_of, plan.objects.values())
    applying.apply_code(session, rendered, deployments, force=force)
    for event in plan.kept:
        session.tell(event)
    for server, parts in plan.objects.items():
        if load := deployment_of(parts)["metadata"]["annotations"].get(names.LOAD):
            session.tell(LoadChosen(server, load))
        for obj in parts:
            applying.apply(session, obj, force=force)


def warn_of_missing_gpus(session: Session, rendered: Mapping[str, list[Object]]) -> None:
    """Tell of resources that no node offers, before a pull that may take long.

    This is no refusal: a cluster may add nodes once pods wait for them. A user who may not see
    nodes gets no warning.

    Args:
        session: The file and the cluster.
        rendered: Server → its objects, as rendered from the file.
    """
    asking = {
        server: parts
        for server, parts in rendered.items()
        if extended_resources(deployment_of(parts))
    }
    if not asking:
        return
    plan = plan_servers(session, asking, refresh=False)
    server_of_resource = {
        resource: server
        for server, parts in plan.objects.items()
        for resource in extended_resources(deployment_of(parts))
        if plan.replicas(server)
    }
    if not server_of_resource:
        return
    try:
        nodes = session.cluster.list("Node")
    except ForbiddenError:
        return
    for resource, server in server_of_resource.items():
        if not is_offered(nodes, resource):
            reason = (
                f"no node of this cluster offers {resource}: its pods cannot start before one does"
            )
            session.tell(Awaiting(f"server {server}", reason))


def extended_resources(deployment: Object) -> frozenset[str]:
    """The resources besides processor, memory and disk that a Deployment's pods ask for. Pure."""
    limits = [
        (container.get("resources") or {}).get("limits") or {}
        for container in deployment["spec"]["template"]["spec"]["containers"]
    ]
    return frozenset(
        name for part in limits for name, count in part.items() if "/" in name and str(count) != "0"
    )


def is_offered(nodes: Collection[Object], resource: str) -> bool:
    """Whether any node has a resource. Pure."""
    return any(
        str((node.get("status", {}).get("allocatable") or {}).get(resource, "0")) != "0"
        for node in nodes
    )
