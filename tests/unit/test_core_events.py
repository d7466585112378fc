"""What happens, as frozen values and as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

import pytest

from modelshelf.core import events
from modelshelf.core.events import Event, FileDone, LeftOut, Planned, ignore, name_of

_NAMES = {
    "planned",
    "progressed",
    "retrying",
    "file-done",
    "waiting",
    "published",
    "hashed",
    "damaged",
    "verified",
    "gate-waiting",
    "gate-open",
    "engine-starting",
    "engine-ready",
    "engine-ended",
    "warmed",
    "unpacked",
    "unprimed",
    "primed",
    "drained",
    "replica-starting",
    "replica-ready",
    "replica-died",
    "serving",
    "draining",
    "mirror-listening",
}


def _kinds() -> list[type[Event]]:
    found: list[Any] = [kind for _, kind in inspect.getmembers(events, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, Event) and kind is not Event]


def test_the_names_are_those_that_are_documented() -> None:
    """Scripts read them from JSON lines, so each is written down once more here."""
    assert {name_of(kind) for kind in _kinds()} >= _NAMES


@pytest.mark.parametrize("kind", _kinds(), ids=name_of)
def test_events_are_frozen_values(kind: type[Event]) -> None:
    """A listener may keep an event, since nothing changes it; none has a field called `event`."""
    fields = [field.name for field in dataclasses.fields(kind)]
    made = kind(**dict.fromkeys(fields, 0))
    assert made == kind(**dict.fromkeys(fields, 0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, fields[0], 1)
    assert made.to_json() == {"event": name_of(kind), **dict.fromkeys(fields, 0)}


def test_an_event_is_one_json_object() -> None:
    """Its name stands beside its fields, and what it is made of becomes objects too."""
    assert FileDone("a/b", 7, "fetched").to_json() == {
        "event": "file-done",
        "path": "a/b",
        "size": 7,
        "how": "fetched",
    }
    planned = Planned("o/n", "main", "c-f", 1, 2, 3, 4, (LeftOut("pickles", 5, 6),), 7)
    left_out = json.loads(json.dumps(planned.to_json()))["left_out"]
    assert left_out == [{"reason": "pickles", "files": 5, "bytes": 6}]


def test_nobody_has_to_listen() -> None:
    """The default listener takes everything and does nothing."""
    assert ignore(FileDone("a", 1, "fetched")) is None  # type: ignore[func-returns-value]
