"""Who reaches a server, and what may take its pods away. Pure."""

from collections.abc import Sequence

from modelshelf.render.names import Object

SERVICE_PORT = 80
_NAMESPACE = "kubernetes.io/metadata.name"


def service(metadata: Object, selector: Object) -> Object:
    """One address for all ready pods, inside the cluster."""
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
    """Who drains nodes takes one pod at a time; one that does not work anyway, at any time."""
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
    """In on the serving port alone; out nowhere, for the kubelet mounts the share, not the pod.

    Args:
        metadata: Of the object.
        selector: The labels of the pods.
        port: Where they listen.
        namespaces: Whose pods may connect; None for anybody.
    """
    rule: Object = {"ports": [{"port": port, "protocol": "TCP"}]}
    if namespaces:
        rule["from"] = [
            {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}} for name in namespaces
        ]
    # An empty list of peers in a rule would let everybody in: for nobody there must be no rule.
    nobody = namespaces is not None and not namespaces
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            # A type without rules allows nothing. An empty list of them would say the same, but the
            # API server leaves it out, and takes each apply of it for a change.
            "policyTypes": ["Ingress", "Egress"],
            **({} if nobody else {"ingress": [rule]}),
        },
    }
