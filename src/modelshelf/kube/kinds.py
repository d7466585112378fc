"""Where the objects of each kind live in the Kubernetes API. Pure."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as plain JSON. Fields that this code does not know are kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object.

    Attributes:
        api_version: `v1`, `apps/v1`.
        plural: Its name in paths and in RBAC rules.
        namespaced: Whether its objects live in a namespace.
    """

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path of an object, or of all objects of this kind if no name is given.

        Args:
            namespace: The namespace; None for all namespaces, and for kinds without namespaces.
            name: The object's name; empty for all objects.
            subresource: `status`, `scale`, `log`.
        """
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, name, subresource]
        return "/" + "/".join(urllib.parse.quote(part, safe="/") for part in parts if part)


KINDS: Mapping[str, Resource] = {
    "ConfigMap": Resource("v1", "configmaps"),
    "CSIDriver": Resource("storage.k8s.io/v1", "csidrivers", namespaced=False),
    "Deployment": Resource("apps/v1", "deployments"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "Event": Resource("v1", "events"),
    "HorizontalPodAutoscaler": Resource("autoscaling/v2", "horizontalpodautoscalers"),
    "Job": Resource("batch/v1", "jobs"),
    "Namespace": Resource("v1", "namespaces", namespaced=False),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
    "Node": Resource("v1", "nodes", namespaced=False),
    "PersistentVolume": Resource("v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": Resource("v1", "persistentvolumeclaims"),
    "Pod": Resource("v1", "pods"),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets"),
    "ReplicaSet": Resource("apps/v1", "replicasets"),
    "ResourceQuota": Resource("v1", "resourcequotas"),
    "Role": Resource("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Resource("rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Resource("v1", "secrets"),
    "SelfSubjectAccessReview": Resource(
        "authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False
    ),
    "Service": Resource("v1", "services"),
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "StorageClass": Resource("storage.k8s.io/v1", "storageclasses", namespaced=False),
}


def label_selector(labels: Mapping[str, str | None]) -> str:
    """Write a selector of objects that have all these labels; None stands for any value."""
    return ",".join(
        name if value is None else f"{name}={value}" for name, value in sorted(labels.items())
    )


def describe_object(kind: str, name: str = "", namespace: str | None = None) -> str:
    """Name an object in a message: `Deployment llm/mistral`."""
    where = f"{namespace}/{name}" if namespace and name else name or namespace or ""
    return f"{kind} {where}".rstrip()
