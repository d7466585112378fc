"""What happens in a cluster, in words."""

from __future__ import annotations

import pytest

import modelshelf.cli.kubernetes_event_text  # noqa: F401 - registers the events
from modelshelf.cli import event_text, formats
from modelshelf.shelf.events import Event
from modelshelf.targets.kubernetes import events
from modelshelf.transfer.events import Progressed, Published

ID = "0123456789abcdef0123456789abcdef01234567-89abcdef"


def test_every_event_has_words() -> None:
    """Each event of a cluster has a sentence."""
    wordless = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type)
        and issubclass(kind, Event)
        and event_text.sentence.dispatch(kind) is event_text.sentence.dispatch(Event)
    }
    assert wordless == {Event}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.Applied("Service", "front", "created"), "Service/front created"),
        (events.Applied("Service", "front", "unchanged"), ""),
        (
            events.TakenBack("Deployment", "front", (".spec.paused",), ("kubectl-edit",)),
            "Deployment/front: set back what kubectl-edit set: .spec.paused",
        ),
        (
            events.Kept("front", "3 replicas", "modelshelf.yaml says 1"),
            "kept: front, 3 replicas (modelshelf.yaml says 1)",
        ),
        (events.LoadChosen("front", "as it says"), "front reads its model as it says"),
        (
            events.PullEvent("tiny", Published("o/n", ID, "/shelf/x", 3000, 0, 0.0, "present")),
            "tiny: o/n@0123456789ab-89abcdef is on the shelf already\n  /shelf/x",
        ),
        (events.PullEvent("tiny", Progressed(1, 2, 1, 4)), ""),
        (
            events.PodPhased("front", "front-1", "weights", "restarted 2 times", 150.0),
            "front: pod front-1 loads the model: restarted 2 times (2 min)",
        ),
        (
            events.ServerReady("front", 2, "http://front.llm.svc"),
            "front: 2 replicas ready at http://front.llm.svc",
        ),
        (events.ServerReady("front", 0, "http://x"), "front: no replicas, as asked"),
        (
            events.Answered("front", "tiny", "Name it.", " Paris.\nYes ", 0.81),
            "front answers as tiny in 0.8 s\n  Name it.\n  Paris. Yes",
        ),
        (
            events.RolledBack("front", "tiny", f"o/n@{ID}", f"o/n@{ID}"),
            "front: o/n@0123456789ab-89abcdef → o/n@0123456789ab-89abcdef",
        ),
        (
            events.Done("up", 0, 3.0),
            "nothing changed: the cluster is as modelshelf.yaml says (3 s)",
        ),
        (events.Done("up", 1, 30.0), "1 object changed in 30 s"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sentences(event: Event, expected: str) -> None:
    """Each event has one sentence; an event that changed nothing has none."""
    assert event_text.sentence(event) == expected


def test_a_pulls_event_is_told_by_its_model() -> None:
    """An event of a pull keeps its model's name, in JSON and for progress bars."""
    event = events.PullEvent("tiny", Progressed(1, 2, 1, 4))
    assert event_text.unwrap(event) == ("tiny", event.event)
    assert event.to_json() == {
        "event": "progressed", "done": 1, "total": 2, "fetched": 1, "connections": 4,
        "model": "tiny",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7300, "2 h"), (180_000, "2 d")],
)
def test_ages(seconds: float, expected: str) -> None:
    """An age has one unit."""
    assert formats.age(seconds) == expected
