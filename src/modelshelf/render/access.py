"""The objects that decide who reaches a server and what may evict its pods. Pure."""

from collections.abc import Sequence

from modelshelf.render.names import Object

SERVICE_PORT = 80
_NAMESPACE = "kubernetes.io/metadata.name"


def service(metadata: Object, selector: Object) -> Object:
    """The Service: one address inside the cluster for all ready pods of a server."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [
                {
                    "name": "http",
                    "port": SERVICE_PORT,
                    "protocol": "TCP",
                    "targetPort": "http",
                    "appProtocol": "http",
                }
            ],
        },
    }


def disruption_budget(metadata: Object, selector: Object) -> Object:
    """The PodDisruptionBudget: a drain of nodes evicts one pod of a server at a time.

    A pod that is not ready may be evicted at any time, since it serves nobody.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(selector)},
        },
    }


def network_policy(
    metadata: Object, selector: Object, port: int, namespaces: Sequence[str] | None
) -> Object:
    """The NetworkPolicy: connections come in on the serving port alone, and none go out.

    A pod needs no egress for its model, because the kubelet mounts the share on the node.

    Args:
        metadata: Of the object.
        selector: The labels of the pods.
        port: The port that they listen on.
        namespaces: The namespaces whose pods may connect; None for all of them.
    """
    rule: Object = {"ports": [{"port": port, "protocol": "TCP"}]}
    if namespaces:
        rule["from"] = [
            {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}} for name in namespaces
        ]
    # A rule with an empty list of peers allows every peer. To allow none, there must be no rule.
    allows_none = namespaces is not None and not namespaces
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            # A policy type without rules allows nothing. An empty list of rules means the same, but
            # the API server drops it, so that each apply would count as a change.
            "policyTypes": ["Ingress", "Egress"],
            **({} if allows_none else {"ingress": [rule]}),
        },
    }
