"""Remove what the file does not ask for any more, and only what carries this file's labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.names import Key, Object
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import Kept, Removing
from modelshelf.targets.kubernetes.site import Site

# In the order of removal: a claim is gone only when no pod has it, a volume when no claim does.
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
_GLOBAL = "PersistentVolume"


def found(site: Site, kinds: Iterable[str] = KINDS) -> list[Object]:
    """The objects of this file that the cluster has, in the order of removal."""
    every = [each for kind in kinds for each in _of_kind(site, kind)]
    return [each for each in every if _in_this_namespace(site, each)]


def _of_kind(site: Site, kind: str) -> list[Object]:
    labels = names.of_file(site.config)
    if kind != _GLOBAL:
        return site.cluster.list(kind, site.namespace, labels)
    try:
        return site.cluster.list(kind, None, labels)
    except ForbiddenError:
        # Whoever has a claim need not have rights to the whole cluster.
        if site.config.shelf.kind in {"nfs", "hostPath"}:
            raise
        return []


def _in_this_namespace(site: Site, obj: Object) -> bool:
    if obj["kind"] != _GLOBAL:
        return True
    claim = obj.get("spec", {}).get("claimRef") or {}
    return claim.get("namespace") == site.namespace


def goes_with(obj: Object, gone: Collection[Key]) -> bool:
    """Whether an object is removed, or owned by one that is. Pure."""
    namespace = obj["metadata"].get("namespace", "")
    owners = obj["metadata"].get("ownerReferences") or ()
    return names.key(obj) in gone or any(
        Key(owner.get("kind", ""), namespace, owner.get("name", "")) in gone for owner in owners
    )


def maps_in_use(holders: Iterable[Object]) -> frozenset[str]:
    """The ConfigMaps that ReplicaSets and Jobs name: what a rollback or a new pod needs. Pure."""
    return frozenset(
        name
        for each in holders
        for name in _maps(each.get("spec", {}).get("template", {}).get("spec", {}))
    )


def _maps(pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or ():
        if name := (volume.get("configMap") or {}).get("name"):
            yield name
        for source in (volume.get("projected") or {}).get("sources") or ():
            if name := (source.get("configMap") or {}).get("name"):
                yield name


def stale(
    there: Iterable[Object], wanted: Collection[Key], in_use: Collection[str]
) -> list[Object]:
    """What is to be removed. Pure.

    Args:
        there: What the cluster has of this file.
        wanted: What the file asks for.
        in_use: Names of ConfigMaps that stay.
    """
    return [
        obj
        for obj in there
        if names.key(obj) not in wanted
        and not (obj["kind"] == "ConfigMap" and obj["metadata"]["name"] in in_use)
    ]


def dynamic(claim: Object) -> bool:
    """Whether deleting a claim may delete its files: its volume was made for it. Pure."""
    spec = claim.get("spec", {})
    return claim["kind"] == "PersistentVolumeClaim" and bool(spec.get("storageClassName"))


def left_over(site: Site, wanted: Collection[Key]) -> list[Object]:
    """What of this file's objects is not wanted any more, in the order of removal."""
    there = found(site)
    gone = frozenset(names.key(obj) for obj in there) - frozenset(wanted)
    holders = [
        obj
        for kind in ("ReplicaSet", "Job")
        for obj in site.cluster.list(kind, site.namespace)
        if not goes_with(obj, gone)
    ]
    return stale(there, wanted, maps_in_use(holders))


def prune(site: Site, wanted: Collection[Key]) -> None:
    """Remove what the file does not ask for any more, after showing it.

    A claim whose deletion may delete the files stays, and is named.
    """
    left = left_over(site, wanted)
    for obj in left:
        if dynamic(obj):
            why = "deleting it may delete the files; kubectl can"
            site.tell(Kept(obj["metadata"]["name"], "the claim", why))
    left = [obj for obj in left if not dynamic(obj)]
    if left:
        site.tell(Removing(tuple(str(names.key(obj)) for obj in left)))
    for obj in left:
        applying.delete(site, names.key(obj))
