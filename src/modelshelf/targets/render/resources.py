"""Requests and limits: ours under the user's. Pure."""

from collections.abc import Mapping
from typing import Any

from modelshelf.targets.render.names import Object

_SIDES = ("requests", "limits")


def merged(ours: Mapping[str, Mapping[str, str]], given: Mapping[str, Any] | None) -> Object:
    """Resources as the API takes them: no request is above its limit because only one was given.

    Args:
        ours: Requests and limits that were computed.
        given: What modelshelf.yaml says; it wins, and null takes one of ours away. A limit alone is
            the request too, as Kubernetes has it. A request alone is the limit too where we have
            one, since memory that is only promised is memory that others may have taken.
    """
    given = dict(given or {})
    requests, limits = (dict(given.pop(side, None) or {}) for side in _SIDES)
    for name, value in tuple(limits.items()):
        requests.setdefault(name, value)
    for name, value in tuple(requests.items()):
        if name in ours["limits"]:
            limits.setdefault(name, value)
    return given | {
        "requests": _present({**ours["requests"], **requests}),
        "limits": _present({**ours["limits"], **limits}),
    }


def _present(values: Mapping[str, Any]) -> Object:
    return {name: str(value) for name, value in sorted(values.items()) if value is not None}
