"""Events that modelshelf's own code printed as JSON lines, in a pod or in a process. Pure."""

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


def parse_event_line(line: str) -> dict[str, Any]:
    """Parse a line of a log as the JSON of an event.

    Returns:
        The JSON object; empty if the line is something else.
    """
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and "event" in value else {}


def event_from_json(data: Mapping[str, Any]) -> Event | None:
    """Make an event from its JSON.

    Args:
        data: The JSON object, as `parse_event_line` returns it.

    Returns:
        None if this version does not know the kind of event, or not in this form. A pod may run the
        code of another version.
    """
    kind = _KINDS.get(str(data.get("event")))
    if kind is None:
        return None
    known_fields = {field.name for field in dataclasses.fields(kind)}
    values = {name: value for name, value in data.items() if name in known_fields}
    try:
        if "left_out" in values:
            values["left_out"] = tuple(LeftOut(**part) for part in values["left_out"])
        return kind(**values)
    except TypeError:
        return None
