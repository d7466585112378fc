"""What happens, as frozen values and as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from modelshelf.shelf.events import Event, ignore, name_of
from modelshelf.shelf.values import LeftOut
from modelshelf.targets.kubernetes.events import PrimeEvent, PullEvent
from modelshelf.transfer.events import FileDone, Planned
from scripts.reference import event_kinds

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
    "prefetched",
    "cache-unpacked",
    "cache-missing",
    "primed",
    "drained",
    "replica-starting",
    "replica-ready",
    "replica-died",
    "serving",
    "draining",
    "mirror-listening",
}


def test_the_names_are_those_that_are_documented() -> None:
    """Scripts read the names from JSON lines, so this test repeats each of them."""
    assert {name_of(kind) for kind in event_kinds()} >= _NAMES


@pytest.mark.parametrize(
    "kind", [kind for kind in event_kinds() if kind not in (PullEvent, PrimeEvent)], ids=name_of
)
def test_events_are_frozen_values(kind: type[Event]) -> None:
    """Events cannot be changed, and none has a field called `event`."""
    fields = [field.name for field in dataclasses.fields(kind)]
    made = kind(**dict.fromkeys(fields, 0))
    assert made == kind(**dict.fromkeys(fields, 0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, fields[0], 1)
    assert made.to_json() == {"event": name_of(kind), **dict.fromkeys(fields, 0)}


def test_an_event_is_one_json_object() -> None:
    """In JSON the event's name is a key beside its fields, and nested values become objects."""
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
    """The default listener accepts every event and does nothing."""
    assert ignore(FileDone("a", 1, "fetched")) is None  # type: ignore[func-returns-value]
