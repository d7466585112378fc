"""Why a PersistentVolumeClaim is not bound. Pure.

The conditions are those by which Kubernetes itself binds claims:
k8s.io/kubernetes/pkg/controller/volume/persistentvolume. Its own messages say less: the texts here
name the field, and its value in the claim and in the volume.
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
    """Why a claim is not bound, in one sentence; empty if it is bound.

    Args:
        claim: The PersistentVolumeClaim.
        volume: The PersistentVolume that it names; None if it does not exist or names none.
        events: The events of its namespace.
    """
    subject = describe_object(
        "claim", claim["metadata"]["name"], claim["metadata"].get("namespace")
    )
    phase = (claim.get("status") or {}).get("phase")
    wanted = claim["spec"].get("volumeName")
    if phase == "Bound":
        return ""
    if phase == "Lost":
        return (
            f"{subject} has lost its volume {wanted}, which somebody deleted: delete the claim too"
        )
    if wanted and volume is None:
        return f"{subject} waits for PersistentVolume {wanted}, which does not exist"
    if volume is not None and (problems := mismatches(claim, volume)):
        return f"{subject} cannot bind: {'; '.join(problems)}"
    return f"{subject} is not bound yet{_explain_by_events(claim, events)}"


def _explain_by_events(claim: Object, events: Iterable[Object]) -> str:
    event = event_about(claim, events)
    class_name = claim["spec"].get("storageClassName")
    if event and event.get("reason") == _FIRST_CONSUMER:
        return f": its storage class {class_name} waits for the first pod that uses it"
    if event:
        return f": {one_line(event.get('message'))}"
    if class_name:
        return f": storage class {class_name} has not reported anything yet"
    return ""


def mismatches(claim: Object, volume: Object) -> tuple[str, ...]:
    """Why a claim and the volume that it names do not fit, a sentence for each field."""
    spec, offered = claim["spec"], volume["spec"]
    name = volume["metadata"]["name"]
    problems = [*_reference_problems(claim, volume)]
    wanted_class, class_name = spec.get("storageClassName"), offered.get("storageClassName")
    if (wanted_class or "") != (class_name or ""):
        problems.append(
            f"storageClassName is {wanted_class or ''!r} in the claim and {class_name or ''!r} in "
            f"{name}"
        )
    modes = [mode for mode in spec.get("accessModes") or [] if mode not in offered["accessModes"]]
    if modes:
        problems.append(
            f"accessModes of {name} are {', '.join(offered['accessModes'])}, without "
            f"{', '.join(modes)}"
        )
    requested = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    capacity = (offered.get("capacity") or {}).get("storage")
    if _bytes(requested) > _bytes(capacity):
        problems.append(f"{name} has a capacity of {capacity}, and the claim asks for {requested}")
    mode, offered_mode = (
        spec.get("volumeMode", "Filesystem"),
        offered.get("volumeMode", "Filesystem"),
    )
    if mode != offered_mode:
        problems.append(f"volumeMode is {mode} in the claim and {offered_mode} in {name}")
    return tuple(problems)


def _reference_problems(claim: Object, volume: Object) -> Iterable[str]:
    """Whether the volume is reserved for another claim."""
    metadata, name = claim["metadata"], volume["metadata"]["name"]
    ref: dict[str, Any] = volume["spec"].get("claimRef") or {}
    if not ref:
        return
    if (ref.get("namespace"), ref.get("name")) != (metadata.get("namespace"), metadata["name"]):
        yield f"spec.claimRef of {name} is for {ref.get('namespace')}/{ref.get('name')}"
    elif ref.get("uid") and ref["uid"] != metadata.get("uid"):
        yield (
            f"spec.claimRef.uid of {name} is a deleted claim's, so that it stays Released: remove "
            "that field"
        )


def _bytes(quantity: Any) -> int:  # noqa: ANN401
    try:
        return bytes_of(str(quantity or "0"))
    except UsageError:
        return 0
