"""Lines of JSON that our code printed in a pod or a process, read as events. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from modelshelf.shelf import events as shelf_events
from modelshelf.shelf.events import Event, name_of
from modelshelf.shelf.values import LeftOut
from modelshelf.start import events as start_events
from modelshelf.transfer import events as transfer_events

_KINDS: Mapping[str, type[Event]] = {
    name_of(kind): kind
    for module in (shelf_events, transfer_events, start_events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}


def said(line: str) -> dict[str, Any]:
    """A line that our code printed; empty if it is something else."""
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
