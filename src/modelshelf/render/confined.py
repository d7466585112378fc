"""What all pods of ours have: Pod Security *restricted*, and no waiting on dead nodes. Pure."""

from modelshelf.render.names import Object

SHELF_PATH = "/shelf"  # where our own code sees the whole shelf
_AWAY_SECONDS = 30  # how long a node may be away before its pods are started elsewhere


def identity(user: int, group: int, *others: int) -> Object:
    """A pod's security context; it reads what any of the other groups may read, too.

    Without an fsGroup: it would change the owner of every file, or, on NFS, do nothing.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        **({"supplementalGroups": list(others)} if others else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted(*, read_only_root: bool = True) -> Object:
    """A container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only_root,
        "capabilities": {"drop": ["ALL"]},
    }


def away() -> list[Object]:
    """The tolerations by which a pod leaves a node that does not answer."""
    return [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _AWAY_SECONDS,
        }
        for what in ("not-ready", "unreachable")
    ]
