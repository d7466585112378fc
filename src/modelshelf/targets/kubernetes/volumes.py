"""The shelf in the cluster: its volumes and claims, and the wait until the claims are bound."""

from __future__ import annotations

from collections.abc import Mapping

from modelshelf.config.lock import Lock
from modelshelf.config.quantity import bytes_of
from modelshelf.render.names import Object
from modelshelf.render.storage import claims
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes import applying, diagnosis
from modelshelf.targets.kubernetes.change_reporter import ChangeReporter
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import Applied, ClaimBound
from modelshelf.targets.kubernetes.session import Session

_MANY_NODES = "ReadWriteMany"
_USUAL_BIND_SECONDS = 3.0  # binding that takes no longer is not worth a message


def total_bytes(lock: Lock) -> int:
    """Bytes that all models take on the shelf together. Pure.

    A file that several models have is on the shelf once.
    """
    sizes: dict[str, int] = {}
    for locked in lock.models.values():
        for file in locked.snapshot.files:
            sizes[file.checksum or f"{locked.snapshot.id}/{file.path}"] = file.size
    return sum(sizes.values())


def unfit_reason(claim: Object, needed_bytes: int) -> str:
    """Why an existing claim cannot be the shelf, as the end of a sentence. Pure.

    Args:
        claim: The PersistentVolumeClaim.
        needed_bytes: How much the shelf has to hold.

    Returns:
        An empty text if the claim can be the shelf.
    """
    modes = claim.get("spec", {}).get("accessModes") or []
    if _MANY_NODES not in modes:
        return f"has access mode {', '.join(modes) or 'none'}, and a shelf needs {_MANY_NODES}"
    capacity = (claim.get("status", {}).get("capacity") or {}).get("storage")
    if capacity and bytes_of(capacity) < needed_bytes:
        return f"has {capacity}, and the models need {needed_bytes:,} bytes"
    return ""


def is_released(volume: Object | None) -> bool:
    """Whether a volume is reserved for a claim that was deleted. No other claim gets it. Pure."""
    if volume is None or volume.get("status", {}).get("phase") != "Released":
        return False
    return bool((volume.get("spec", {}).get("claimRef") or {}).get("uid"))


def apply_storage(session: Session, objects: list[Object], lock: Lock, *, force: bool) -> None:
    """Apply volumes and claims, and wait until the claims are bound.

    Args:
        session: The file, the cluster, and how long to wait.
        objects: Volumes and claims; not used where the file names a claim of the user's.
        lock: The models that the shelf has to hold.
        force: Take over volumes and claims that are not ours.

    Raises:
        TargetError: The claim does not exist, is unfit, or does not get its volume.
    """
    if session.config.shelf.claim is not None:
        _check_claim(session, session.config.shelf.claim, total_bytes(lock))
        return
    for obj in objects:
        live = applying.apply(session, obj, force=force)
        if obj["kind"] == "PersistentVolume" and is_released(live):
            _make_bindable(session, live)
    reporter = ChangeReporter(session.tell)
    for name in dict.fromkeys((claims(session.config).rw, claims(session.config).ro)):
        _wait_until_bound(session, reporter, name)


def _check_claim(session: Session, name: str, needed_bytes: int) -> None:
    claim = session.cluster.get("PersistentVolumeClaim", name, session.namespace)
    if claim is None:
        raise TargetError(
            f"there is no claim {name} in namespace {session.namespace}, which shelf.claim names",
            hint="create it, or let up make one by shelf.nfs or shelf.storageClass",
        )
    if reason := unfit_reason(claim, needed_bytes):
        raise TargetError(
            f"claim {session.namespace}/{name} {reason}",
            hint="use a claim that many nodes may mount, large enough for all models",
        )
    _wait_until_bound(session, ChangeReporter(session.tell), name)


def _make_bindable(session: Session, volume: Object) -> None:
    """Let a new claim have a volume whose claim was deleted: the files are still there."""
    name = volume["metadata"]["name"]
    change: Mapping[str, object] = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
    session.cluster.patch("PersistentVolume", name, None, change)
    session.tell(Applied("PersistentVolume", name, "mended"))


def _wait_until_bound(session: Session, reporter: ChangeReporter, name: str) -> None:
    deadline = Deadline(session.clock, session.timeouts.claim)
    usual_time = Deadline(session.clock, _USUAL_BIND_SECONDS)
    waited = False
    while True:
        claim = session.cluster.get("PersistentVolumeClaim", name, session.namespace)
        if claim is not None and claim.get("status", {}).get("phase") == "Bound":
            if waited:
                session.tell(ClaimBound(name, claim["spec"].get("volumeName", "")))
            return
        waited = True
        reason, waits_for_pod = diagnosis.explain_claim(session, name, claim)
        if waits_for_pod:
            return
        if usual_time.passed:
            reporter.report_wait(f"claim {name}", reason)
        if deadline.passed:
            raise TargetError(
                f"claim {session.namespace}/{name} has no volume after {deadline.seconds:g} s"
                + (f": {reason}" if reason else ""),
                hint=f"kubectl -n {session.namespace} describe pvc {name}",
            )
        session.clock.pause()
