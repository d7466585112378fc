"""Events and numbers in words."""

from __future__ import annotations

import pytest

from modelshelf.cli import event_text, formats
from modelshelf.shelf.events import Event, Hashed, Verified
from modelshelf.shelf.values import LeftOut
from modelshelf.start.events import EngineStarting, Prefetched, Primed
from modelshelf.targets.kubernetes import events as kubernetes_events
from modelshelf.targets.local.events import ReplicaReady
from modelshelf.transfer.events import Planned, Progressed, Published, Retrying
from scripts.reference import event_kinds

ID = "0123456789abcdef0123456789abcdef01234567-89abcdef"
PLAN = """\
o/n at main: 0123456789ab-89abcdef, 2 files, 3.0 kB
  to fetch 1.0 kB, here already 2.0 kB, free after it 10.0 kB
  left out: 1 file, 5 B: not needed to serve"""


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (98_362_432, "98.4 MB"),
        (999_999_999, "1000 MB"),
        (14_496_047_104, "14.5 GB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """Bytes are told in decimal units, with a digit behind the point where it says something."""
    assert formats.size(count) == expected


def test_ids_are_shortened_and_stay_distinct() -> None:
    """A short id keeps the digits of the choice of files."""
    assert formats.short_id(ID) == "0123456789ab-89abcdef"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Planned(
                "o/n",
                "main",
                ID,
                files=2,
                bytes=3_000,
                fetch=1_000,
                here=2_000,
                left_out=(LeftOut("not needed to serve", 1, 5),),
                free_after=10_000,
            ),
            PLAN,
        ),
        (
            Published("o/n", ID, "/s", 3_000, 1_000, 2.0, "pulled"),
            "o/n@0123456789ab-89abcdef: 3.0 kB verified, 1.0 kB fetched in 2.0 s at 500 B/s\n  /s",
        ),
        (
            Published("o/n", ID, "/s/x", 3_000, 0, 0.0, "pulled"),
            "o/n@0123456789ab-89abcdef: 3.0 kB verified, 0 B fetched in 0.0 s\n  /s/x",
        ),
        (
            Published("o/n", ID, "/s/x", 3_000, 0, 0.0, "present"),
            "o/n@0123456789ab-89abcdef is on the shelf already\n  /s/x",
        ),
        (
            Published("o/n", ID, "/s/x", 3_000, 0, 4.0, "waited"),
            "o/n@0123456789ab-89abcdef was pulled by another\n  /s/x",
        ),
        (
            Retrying("a.bin", "connection reset by peer", 0.5),
            "a.bin: connection reset by peer; trying again in 0.5 s",
        ),
        (Progressed(1, 2, 1, 4), ""),
        (ReplicaReady(0, 8000, 8.04), "replica 0: ready after 8.0 s"),
        (
            ReplicaReady(0, 8000, 8.0, (("import", 7.0), ("weights", 1.0)), "stock", "why"),
            "replica 0: ready after 8.0 s (stock: why): import 7.0 s, weights 1.0 s",
        ),
        (
            Verified("o/n", ID, 2, 3_000, 1),
            "o/n@0123456789ab-89abcdef: 2 files, 3.0 kB: 1 file damaged",
        ),
        (EngineStarting(("vllm",), "stock", "a GPU"), "starting the engine (stock): a GPU"),
        (EngineStarting(("vllm",), "fast", ""), "starting the engine (fast)"),
        (Prefetched(3_000, 2.0, ""), "read 3.0 kB ahead in 2.0 s at 1.5 kB/s"),
        (Prefetched(0, 0.0, "no memory"), "read 0 B ahead in 0.0 s; no memory"),
        (Primed("k", "/s/k", 3_000, 90.0, "made"), "primed in 90 s: 3.0 kB\n  /s/k"),
        (Primed("k", "/s/k", 3_000, 0.1, "present"), "primed already\n  /s/k"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sentences(event: Event, expected: str) -> None:
    """Each event has its words; those that only a bar can show have none."""
    assert event_text.sentence(event) == expected


def test_every_event_has_words() -> None:
    """No kind of event is forgotten: it is in words, or shown by a bar."""
    shown_by_bars = {Progressed, Hashed}
    wordless = {
        kind
        for kind in event_kinds()
        if kind.__module__ != kubernetes_events.__name__
        and event_text.sentence.dispatch(kind) is event_text.sentence.dispatch(Event)
    }
    assert wordless == shown_by_bars
