"""Remove objects that the file does not ask for any more; only those with the file's labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.names import Key, Object
from modelshelf.render.rendered import Rendered
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import Kept, Removing
from modelshelf.targets.kubernetes.prime_jobs import PrimePlan
from modelshelf.targets.kubernetes.servers import ServerPlan
from modelshelf.targets.kubernetes.session import Session

# In the order of removal. Kubernetes keeps a claim while a pod uses it, and a volume while a claim
# is bound to it.
KINDS = (
    "Deployment",
    "Service",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Job",
    "ConfigMap",
    "PersistentVolumeClaim",
    "PersistentVolume",
)
_CLUSTER_WIDE = "PersistentVolume"


def list_objects(session: Session, kinds: Iterable[str] = KINDS) -> list[Object]:
    """List the objects of this file that the cluster has, in the order of removal."""
    objects = [obj for kind in kinds for obj in _list_kind(session, kind)]
    return [obj for obj in objects if _is_of_this_namespace(session, obj)]


def _list_kind(session: Session, kind: str) -> list[Object]:
    labels = names.of_file(session.config)
    if kind != _CLUSTER_WIDE:
        return session.cluster.list(kind, session.namespace, labels)
    try:
        return session.cluster.list(kind, None, labels)
    except ForbiddenError:
        # A user who brings a claim needs no rights to the whole cluster, and has no volumes of
        # ours.
        if session.config.shelf.kind in {"nfs", "hostPath"}:
            raise
        return []


def _is_of_this_namespace(session: Session, obj: Object) -> bool:
    if obj["kind"] != _CLUSTER_WIDE:
        return True
    claim = obj.get("spec", {}).get("claimRef") or {}
    return claim.get("namespace") == session.namespace


def wanted_keys(
    rendered: Rendered, server_plan: ServerPlan, prime_plan: PrimePlan
) -> frozenset[Key]:
    """The keys of all objects that stay. Pure.

    ConfigMaps that a Deployment keeps are among them; prime Jobs that were complete before, too.
    """
    objects = [rendered.namespace, *rendered.storage, *rendered.code.values()]
    objects += prime_plan.complete_jobs.values()
    for parts in (
        *rendered.pulls.values(),
        *prime_plan.objects_to_run.values(),
        *server_plan.objects.values(),
    ):
        objects += parts
    namespace = rendered.namespace["metadata"]["name"]
    mounted = {Key("ConfigMap", namespace, name) for name in server_plan.code_map_names}
    return frozenset(names.key(obj) for obj in objects) | mounted


def is_removed_with(obj: Object, removed: Collection[Key]) -> bool:
    """Whether an object is removed, or is owned by one that is removed. Pure."""
    namespace = obj["metadata"].get("namespace", "")
    owners = obj["metadata"].get("ownerReferences") or ()
    return names.key(obj) in removed or any(
        Key(owner.get("kind", ""), namespace, owner.get("name", "")) in removed for owner in owners
    )


def config_maps_in_use(workloads: Iterable[Object]) -> frozenset[str]:
    """Names of the ConfigMaps that ReplicaSets and Jobs mount. Pure.

    A rollback needs those of an older ReplicaSet, and a new pod of a Job those of its Job.
    """
    return frozenset(
        name
        for workload in workloads
        for name in _config_maps(workload.get("spec", {}).get("template", {}).get("spec", {}))
    )


def _config_maps(pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or ():
        if name := (volume.get("configMap") or {}).get("name"):
            yield name
        for source in (volume.get("projected") or {}).get("sources") or ():
            if name := (source.get("configMap") or {}).get("name"):
                yield name


def select_stale(
    objects: Iterable[Object], wanted: Collection[Key], in_use: Collection[str]
) -> list[Object]:
    """Select what is to be removed. Pure.

    Args:
        objects: The objects of this file that the cluster has.
        wanted: The keys of the objects that the file asks for.
        in_use: Names of ConfigMaps that stay.
    """
    return [
        obj
        for obj in objects
        if names.key(obj) not in wanted
        and not (obj["kind"] == "ConfigMap" and obj["metadata"]["name"] in in_use)
    ]


def may_delete_files(obj: Object) -> bool:
    """Whether an object is a claim whose deletion may delete the files in its volume. Pure.

    That is so if a storage class made the volume for the claim.
    """
    is_claim = obj["kind"] == "PersistentVolumeClaim"
    return is_claim and bool(obj.get("spec", {}).get("storageClassName"))


def find_stale(session: Session, wanted: Collection[Key]) -> list[Object]:
    """Find the objects of this file that are not wanted any more, in the order of removal."""
    objects = list_objects(session)
    removed = frozenset(names.key(obj) for obj in objects) - frozenset(wanted)
    workloads = [
        obj
        for kind in ("ReplicaSet", "Job")
        for obj in session.cluster.list(kind, session.namespace)
        if not is_removed_with(obj, removed)
    ]
    return select_stale(objects, wanted, config_maps_in_use(workloads))


def prune(session: Session, wanted: Collection[Key]) -> None:
    """Remove what the file does not ask for any more, after telling what that is.

    A claim whose deletion may delete the files stays, and is named.

    Args:
        session: The file and the cluster.
        wanted: The keys of the objects that the file asks for.
    """
    stale = find_stale(session, wanted)
    for obj in stale:
        if may_delete_files(obj):
            why = "deleting it may delete the files; kubectl can"
            session.tell(Kept(obj["metadata"]["name"], "the claim", why))
    removable = [obj for obj in stale if not may_delete_files(obj)]
    if removable:
        session.tell(Removing(tuple(str(names.key(obj)) for obj in removable)))
    for obj in removable:
        applying.delete(session, names.key(obj))
