"""Why a PersistentVolumeClaim is not bound. Pure.

The conditions are those of the binder, k8s.io/kubernetes/pkg/controller/volume/persistentvolume,
which says less: this names the field and both of its values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelshelf.config.quantity import bytes_of
from modelshelf.kube.kinds import Object, describe_object
from modelshelf.kube.messages import event_about, one_line
from modelshelf.shelf.errors import UsageError

_FIRST_CONSUMER = "WaitForFirstConsumer"


def explain_claim(claim: Object, volume: Object | None, events: Iterable[Object] = ()) -> str:
    """Why a claim is not bound, in one sentence; empty if it is.

    Args:
        claim: The PersistentVolumeClaim.
        volume: The PersistentVolume that it names, if there is one.
        events: Those of its namespace.
    """
    thing = describe_object("claim", claim["metadata"]["name"], claim["metadata"].get("namespace"))
    phase = (claim.get("status") or {}).get("phase")
    wanted = claim["spec"].get("volumeName")
    if phase == "Bound":
        return ""
    if phase == "Lost":
        return f"{thing} has lost its volume {wanted}, which somebody deleted: delete the claim too"
    if wanted and volume is None:
        return f"{thing} waits for PersistentVolume {wanted}, which does not exist"
    if volume is not None and (problems := mismatches(claim, volume)):
        return f"{thing} cannot bind: {'; '.join(problems)}"
    return f"{thing} is not bound yet{_said(claim, events)}"


def _said(claim: Object, events: Iterable[Object]) -> str:
    event = event_about(claim, events)
    class_name = claim["spec"].get("storageClassName")
    if event and event.get("reason") == _FIRST_CONSUMER:
        return f": its storage class {class_name} waits for the first pod that uses it"
    if event:
        return f": {one_line(event.get('message'))}"
    if class_name:
        return f": nothing was heard of storage class {class_name} yet"
    return ""


def mismatches(claim: Object, volume: Object) -> tuple[str, ...]:
    """What keeps a claim and the volume that it names apart, a sentence for each field."""
    spec, offer = claim["spec"], volume["spec"]
    name = volume["metadata"]["name"]
    found = [*_claimed(claim, volume)]
    wanted_class, class_name = spec.get("storageClassName"), offer.get("storageClassName")
    if (wanted_class or "") != (class_name or ""):
        found.append(
            f"storageClassName is {wanted_class or ''!r} in the claim and {class_name or ''!r} in "
            f"{name}"
        )
    modes = [mode for mode in spec.get("accessModes") or [] if mode not in offer["accessModes"]]
    if modes:
        found.append(
            f"accessModes of {name} are {', '.join(offer['accessModes'])}, without "
            f"{', '.join(modes)}"
        )
    need = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    size = (offer.get("capacity") or {}).get("storage")
    if _bytes(need) > _bytes(size):
        found.append(f"{name} has a capacity of {size}, and the claim asks for {need}")
    kind, other = spec.get("volumeMode", "Filesystem"), offer.get("volumeMode", "Filesystem")
    if kind != other:
        found.append(f"volumeMode is {kind} in the claim and {other} in {name}")
    return tuple(found)


def _claimed(claim: Object, volume: Object) -> Iterable[str]:
    about, name = claim["metadata"], volume["metadata"]["name"]
    ref: dict[str, Any] = volume["spec"].get("claimRef") or {}
    if not ref:
        return
    if (ref.get("namespace"), ref.get("name")) != (about.get("namespace"), about["name"]):
        yield f"spec.claimRef of {name} is for {ref.get('namespace')}/{ref.get('name')}"
    elif ref.get("uid") and ref["uid"] != about.get("uid"):
        yield (
            f"spec.claimRef.uid of {name} is a deleted claim's, so that it stays Released: remove "
            "that field"
        )


def _bytes(quantity: Any) -> int:  # noqa: ANN401
    try:
        return bytes_of(str(quantity or "0"))
    except UsageError:
        return 0
