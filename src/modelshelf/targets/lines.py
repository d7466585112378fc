"""The JSON lines of core, in a pod or a process, as the events they were there. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from modelshelf.core import events
from modelshelf.core.events import Event, LeftOut

_KINDS: Mapping[str, type[Event]] = {
    events.name_of(kind): kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}


def said(line: str) -> dict[str, Any]:
    """A line that core printed; empty if it is something else."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and "event" in value else {}


def event_of(told: Mapping[str, Any]) -> Event | None:
    """The event that a line tells of.

    Args:
        told: A line as JSON.

    Returns:
        None for a kind of event, or a form of one, that this version does not know: a pod may run
        the code of another.
    """
    kind = _KINDS.get(str(told.get("event")))
    if kind is None:
        return None
    known = {field.name for field in dataclasses.fields(kind)}
    values = {name: value for name, value in told.items() if name in known}
    try:
        if "left_out" in values:
            values["left_out"] = tuple(LeftOut(**part) for part in values["left_out"])
        return kind(**values)
    except TypeError:
        return None
