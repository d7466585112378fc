"""What Kubernetes says in events and messages, made fit for one sentence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from modelshelf.kube.kinds import Object

_MOST = 600  # characters of somebody else's text in one sentence


def one_line(text: Any) -> str:  # noqa: ANN401
    """A text without line ends and repeated blanks, cut where nobody would read on."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def moment(event: Object) -> str:
    """When an event was seen last, as RFC 3339, which sorts; three writers use three fields."""
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
    """The newest event about an object.

    Args:
        obj: The object.
        events: Those of its namespace, in any order.
        reasons: Which reasons count; none for any.
    """
    about = obj["metadata"]
    found = [
        event
        for event in events
        if _is_about(event.get("involvedObject") or {}, about, obj.get("kind"))
        and (not reasons or event.get("reason") in reasons)
    ]
    return max(found, key=moment, default=None)


def _is_about(ref: Object, about: Object, kind: Any) -> bool:  # noqa: ANN401
    if ref.get("name") != about["name"] or ref.get("kind") != kind:
        return False
    # An object that was made anew has the same name, and nothing of its predecessor's trouble.
    return not ref.get("uid") or not about.get("uid") or ref["uid"] == about["uid"]
