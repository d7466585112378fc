"""Requests and limits of a container: the user's where given, else ours. Pure."""

from collections.abc import Mapping

from modelshelf.render.names import Object

Resources = Mapping[str, Mapping[str, str]]
"""`requests` and `limits`, each resource → quantity."""


def merged(ours: Resources, given: Resources | None) -> Object:
    """Merge what modelshelf.yaml says into what we computed.

    Kubernetes refuses a request that is above its limit. That must not happen because the file
    gives only one of the two.

    Args:
        ours: Requests and limits that were computed.
        given: What modelshelf.yaml says, which wins. A limit alone counts as the request too, as it
            does in Kubernetes. A request alone counts as the limit too, where we set one: an engine
            that uses more memory than it requested may be killed when the node runs short.
    """
    requests, limits = (dict((given or {}).get(side, {})) for side in ("requests", "limits"))
    requested = {**ours["requests"], **limits, **requests}
    capped = {name: amount for name, amount in requests.items() if name in ours["limits"]}
    return {
        "requests": dict(sorted(requested.items())),
        "limits": dict(sorted({**ours["limits"], **capped, **limits}.items())),
    }
