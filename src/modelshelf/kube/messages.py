"""Kubernetes' events and messages, in a form that fits into one sentence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from modelshelf.kube.kinds import Object

_MAX_CHARACTERS = 600  # of a text from Kubernetes or a container in one sentence


def one_line(text: Any) -> str:  # noqa: ANN401
    """Join a text's lines, drop repeated blanks, and cut it where it gets too long to read."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]}…"


def last_seen(event: Object) -> str:
    """When an event was seen last, as RFC 3339. Such texts sort by time.

    The field depends on the component that wrote the event.
    """
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(
        series
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or (event.get("metadata") or {}).get("creationTimestamp")
        or ""
    )


def event_about(
    obj: Object, events: Iterable[Object], reasons: Collection[str] = ()
) -> Object | None:
    """Find the newest event about an object.

    Args:
        obj: The object.
        events: The events of its namespace, in any order.
        reasons: The reasons that count; empty for any reason.
    """
    about = obj["metadata"]
    matching = [
        event
        for event in events
        if _is_about(event.get("involvedObject") or {}, about, obj.get("kind"))
        and (not reasons or event.get("reason") in reasons)
    ]
    return max(matching, key=last_seen, default=None)


def _is_about(ref: Object, about: Object, kind: Any) -> bool:  # noqa: ANN401
    if ref.get("name") != about["name"] or ref.get("kind") != kind:
        return False
    # An object that was deleted and created again has the same name, but another uid: events about
    # the old one say nothing about it.
    return not ref.get("uid") or not about.get("uid") or ref["uid"] == about["uid"]
