"""The shelf in the cluster: its volumes and claims, and that the claims have their volumes."""

from __future__ import annotations

from collections.abc import Mapping

from modelshelf.config.lock import Lock
from modelshelf.config.quantity import bytes_of
from modelshelf.render.names import Object
from modelshelf.render.storage import claims
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes import applying, why
from modelshelf.targets.kubernetes.events import Applied, ClaimBound
from modelshelf.targets.kubernetes.site import Deadline, Site, Told

_MANY = "ReadWriteMany"
_USUAL = 3.0  # seconds that binding may take before its reason is of interest


def needed(lock: Lock) -> int:
    """Bytes that all models take together; a file that several have is there once. Pure."""
    sizes: dict[str, int] = {}
    for locked in lock.models.values():
        for file in locked.snapshot.files:
            sizes[file.checksum or f"{locked.snapshot.id}/{file.path}"] = file.size
    return sum(sizes.values())


def unfit(claim: Object, needed_bytes: int) -> str:
    """Why an existing claim cannot be the shelf, ending a sentence; empty if it can. Pure."""
    modes = claim.get("spec", {}).get("accessModes") or []
    if _MANY not in modes:
        return f"has access mode {', '.join(modes) or 'none'}, and a shelf needs {_MANY}"
    capacity = (claim.get("status", {}).get("capacity") or {}).get("storage")
    if capacity and bytes_of(capacity) < needed_bytes:
        return f"has {capacity}, and the models need {needed_bytes:,} bytes"
    return ""


def released(volume: Object | None) -> bool:
    """Whether a volume is kept for a claim that was deleted, so that no other can have it. Pure."""
    if volume is None or volume.get("status", {}).get("phase") != "Released":
        return False
    return bool((volume.get("spec", {}).get("claimRef") or {}).get("uid"))


def apply_storage(site: Site, objects: list[Object], lock: Lock, *, force: bool) -> None:
    """Apply volumes and claims, and wait until the claims are bound.

    Raises:
        TargetError: The claim is not there or unfit, or does not get its volume.
    """
    if site.config.shelf.claim is not None:
        _look_at_claim(site, site.config.shelf.claim, needed(lock))
        return
    for obj in objects:
        live = applying.apply(site, obj, force=force)
        if obj["kind"] == "PersistentVolume" and released(live):
            _mend(site, live)
    told = Told(site.tell)
    for name in dict.fromkeys((claims(site.config).rw, claims(site.config).ro)):
        _until_bound(site, told, name)


def _look_at_claim(site: Site, name: str, needed_bytes: int) -> None:
    claim = site.cluster.get("PersistentVolumeClaim", name, site.namespace)
    if claim is None:
        raise TargetError(
            f"there is no claim {name} in namespace {site.namespace}, which shelf.claim names",
            hint="create it, or let up make one by shelf.nfs or shelf.storageClass",
        )
    if problem := unfit(claim, needed_bytes):
        raise TargetError(
            f"claim {site.namespace}/{name} {problem}",
            hint="use a claim that many nodes may mount, large enough for all models",
        )
    _until_bound(site, Told(site.tell), name)


def _mend(site: Site, volume: Object) -> None:
    """Let a volume whose claim was deleted be bound again: its files are still there."""
    name = volume["metadata"]["name"]
    forget: Mapping[str, object] = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
    site.cluster.patch("PersistentVolume", name, None, forget)
    site.tell(Applied("PersistentVolume", name, "mended"))


def _until_bound(site: Site, told: Told, name: str) -> None:
    deadline = Deadline(site.pace, site.timeouts.bound)
    patience = Deadline(site.pace, _USUAL)
    waited = False
    while True:
        claim = site.cluster.get("PersistentVolumeClaim", name, site.namespace)
        if claim is not None and claim.get("status", {}).get("phase") == "Bound":
            if waited:
                site.tell(ClaimBound(name, claim["spec"].get("volumeName", "")))
            return
        waited = True
        reason, late = why.claim(site, name, claim)
        if late:
            return
        if patience.passed:
            told.awaiting(f"claim {name}", reason)
        if deadline.passed:
            raise TargetError(
                f"claim {site.namespace}/{name} has no volume after {deadline.seconds:g} s"
                + (f": {reason}" if reason else ""),
                hint=f"kubectl -n {site.namespace} describe pvc {name}",
            )
        site.pace.sleep(site.pace.look)
