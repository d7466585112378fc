"""Requests and limits: ours under the user's. Pure."""

from collections.abc import Mapping

from modelshelf.render.names import Object

Amounts = Mapping[str, Mapping[str, str]]
"""`requests` and `limits`, each resource → quantity."""


def merged(ours: Amounts, given: Amounts | None) -> Object:
    """Resources as the API takes them: no request is above its limit because only one was given.

    Args:
        ours: Requests and limits that were computed.
        given: What modelshelf.yaml says, which wins. A limit alone is the request too, as
            Kubernetes has it. A request alone is the limit too where we have one, since memory
            that is only promised is memory that others may have taken.
    """
    requests, limits = (dict((given or {}).get(side, {})) for side in ("requests", "limits"))
    asked = {**ours["requests"], **limits, **requests}
    capped = {name: amount for name, amount in requests.items() if name in ours["limits"]}
    return {
        "requests": dict(sorted(asked.items())),
        "limits": dict(sorted({**ours["limits"], **capped, **limits}.items())),
    }
