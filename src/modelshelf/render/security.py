"""Security contexts for Pod Security *restricted*, and tolerations, of all our pods. Pure."""

from modelshelf.render.names import Object

SHELF_PATH = "/shelf"  # where our own code finds the whole shelf
_EVICTION_SECONDS = 30  # that a node may be unreachable before its pods are replaced elsewhere


def pod_security(user: int, group: int, *supplemental: int) -> Object:
    """A pod's security context.

    It has no fsGroup. That would change the group of every file on a volume, and on NFS it does
    nothing.

    Args:
        user: The uid of its processes.
        group: Their gid.
        supplemental: Further groups whose files they may read.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        **({"supplementalGroups": list(supplemental)} if supplemental else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(*, read_only_root: bool = True) -> Object:
    """A container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only_root,
        "capabilities": {"drop": ["ALL"]},
    }


def node_failure_tolerations() -> list[Object]:
    """Tolerations that let a pod be replaced soon after its node stops answering.

    Kubernetes adds the same tolerations with five minutes where a pod has none of its own.
    """
    return [
        {
            "key": f"node.kubernetes.io/{condition}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _EVICTION_SECONDS,
        }
        for condition in ("not-ready", "unreachable")
    ]
