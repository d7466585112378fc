"""Timelines, read from logs that were recorded from real starts."""

from __future__ import annotations

import json
import pathlib

import pytest

from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_reader import TimedLine, read_timeline
from modelshelf.shelf.events import Event, GateOpen
from modelshelf.start.events import (
    CacheMissing,
    CacheUnpacked,
    EngineReady,
    EngineStarting,
    Prefetched,
)

LOGS = pathlib.Path(__file__).parent / "starts"


def _recorded_lines(name: str, start: float = 0.0) -> list[TimedLine]:
    """The lines of a recorded log, moved to a start at `start`."""
    split_lines = (line.partition(" ") for line in (LOGS / name).read_text().splitlines())
    return [(start + float(seconds), line) for seconds, _, line in split_lines]


def _event_line(moment: float, event: Event) -> TimedLine:
    """An event's line, seen a little later than it was written."""
    return moment + 0.3, json.dumps(event.to_json() | {"time": moment})


def _rounded_phases(found: Timeline | None) -> list[tuple[str, float, float]]:
    assert found
    return [(phase.name, round(phase.began, 1), round(phase.seconds, 1)) for phase in found.phases]


def test_a_stock_eager_start_of_vllm() -> None:
    """The phases follow each other without a gap; the detail of the import has its steps."""
    found = read_timeline(_recorded_lines("vllm-eager.log"), began=0.0)
    assert found
    assert _rounded_phases(found) == [
        ("import", 0.0, 62.3),
        ("weights", 62.3, 2.2),
        ("init", 64.5, 5.8),
        ("ready", 70.4, 4.9),
    ]
    assert found.ready == pytest.approx(75.322)
    assert found.phases[0].detail == (
        "API server 18.7 s, model class 13.1 s, engine core 12.7 s, worker 17.8 s"
    )


def test_a_stock_compiled_start_of_vllm() -> None:
    """Compiling has its own phase; its detail says if the engine could not load its cache."""
    lines = _recorded_lines("vllm-compiled.log")
    found = read_timeline(lines, began=0.0)
    assert _rounded_phases(found) == [
        ("import", 0.0, 51.3),
        ("weights", 51.3, 1.2),
        ("init", 52.5, 1.5),
        ("compile", 54.0, 314.5),
        ("init", 368.4, 1.0),
        ("ready", 369.4, 2.7),
    ]
    assert found
    assert found.phases[3].detail == ""
    failed = (60.0, "WARNING [x.py:1] Compiling model again due to a load failure from /c, reason:")
    again = read_timeline(sorted([*lines, failed]), began=0.0)
    assert again
    assert again.phases[3].detail == "again: the cache did not load"


def test_a_fast_start_of_vllm() -> None:
    """The import is done once, so its later steps are short; the prefetch ends long before it."""
    found = read_timeline(_recorded_lines("vllm-fast.log", 1795805468.4))
    assert found
    assert (found.how, found.reason) == ("fast", "")
    assert found.ready == pytest.approx(16.818)
    assert _rounded_phases(found) == [
        ("import", 0.0, 13.6),
        ("prefetch", 0.1, 0.3),
        ("weights", 13.6, 0.6),
        ("init", 14.2, 1.0),
        ("ready", 15.2, 1.7),
    ]
    assert found.phases[0].detail == (
        "API server 11.7 s, model class 0.2 s, engine core 1.2 s, worker 0.5 s"
    )


@pytest.mark.parametrize("program", ["init", "llama_server"])
def test_a_start_of_llamacpp(program: str) -> None:
    """Both forms of llama.cpp, the library and the program, have import, weights and ready."""
    lines = _recorded_lines("llamacpp.log")
    lines = [(at, line.replace("        init: ", f"{program}: ".rjust(14))) for at, line in lines]
    found = read_timeline(lines, began=0.0)
    assert _rounded_phases(found) == [
        ("import", 0.0, 0.6),
        ("weights", 0.6, 1.5),
        ("ready", 2.1, 0.0),
    ]


def test_events_add_what_the_engine_does_not_log() -> None:
    """Events add gate, unpack and prefetch, the start method, and the beginning of the start."""
    lines = [
        _event_line(101.0, GateOpen("o/n@1", "/models/n", 1.0)),
        _event_line(102.5, CacheUnpacked("k", 118_000_000, 0.5)),
        _event_line(102.5, EngineStarting(("vllm",), "mended", "fork is off")),
        _event_line(103.5, Prefetched(269_000_000, 0.9, "2 files do not fit the memory")),
        *_recorded_lines("vllm-eager.log", 102.5),
        _event_line(178.0, EngineReady(76.1)),
    ]
    found = read_timeline(lines)
    assert found
    assert (found.began, found.how, found.reason) == (100.0, "mended", "fork is off")
    assert found.ready == pytest.approx(78.0)
    assert _rounded_phases(found)[:4] == [
        ("gate", 0.0, 1.0),
        ("unpack", 2.0, 0.5),
        ("import", 2.5, 62.3),
        ("prefetch", 2.6, 0.9),
    ]
    prefetch = found.phases[3]
    assert (prefetch.bytes, prefetch.detail) == (269_000_000, "2 files do not fit the memory")
    assert [phase.name for phase in found.phases if phase.runs_in_parallel] == ["prefetch"]


def test_a_line_that_is_seen_late_is_no_later_than_the_answer() -> None:
    """A phase that began before the answer is kept, even if its line was seen after the answer."""
    found = read_timeline(
        [
            _event_line(0.0, EngineStarting(("llama-server",), "stock", "")),
            (0.4, "0.01.2 I srv load_model: loading model '/m'"),
            (0.9, "0.02.3 I srv  main: model loaded"),
            _event_line(0.8, EngineReady(0.8)),
        ]
    )
    assert _rounded_phases(found) == [
        ("import", 0.0, 0.4),
        ("weights", 0.4, 0.4),
        ("ready", 0.8, 0.0),
    ]


def test_the_reason_says_why_no_cache_was_unpacked() -> None:
    """The reason has why no cache was unpacked, after why the start was not faster."""
    lines = [
        _event_line(0.0, CacheMissing("k", "nothing was made for this CPU")),
        _event_line(0.0, EngineStarting(("vllm",), "stock", "vLLM 0.29 was not tried")),
    ]
    found = read_timeline(lines, now=5.0)
    assert found
    assert found.reason == "vLLM 0.29 was not tried; not primed: nothing was made for this CPU"
    assert (found.ready, _rounded_phases(found)) == (None, [("import", 0.0, 5.0)])


def test_a_line_that_states_its_seconds_corrects_earlier_lines() -> None:
    """A phase whose last line states its length replaces what earlier lines suggested."""
    lines = [
        (10.0, "(Worker pid=1) INFO [x.py:1] Starting to load model m..."),
        (13.0, "(Worker pid=1) INFO [x.py:1] Loading weights took 2.90 seconds"),
        (14.0, "(Worker pid=1) INFO [x.py:1] Model loading took 1.2 GiB memory and 4.000 seconds"),
        (15.0, "(Worker pid=1) INFO [x.py:1] Directly load AOT compilation from path /c"),
        (16.0, "(Worker pid=1) INFO [x.py:1] torch.compile took 1.50 s in total"),
        (20.0, "(Worker pid=1) INFO [x.py:1] Graph capturing finished in 3 secs, took 0.5 GiB"),
    ]
    found = read_timeline(lines, began=0.0, ready=21.0)
    assert found
    assert _rounded_phases(found) == [
        ("import", 0.0, 10.0),
        ("weights", 10.0, 4.0),
        ("init", 14.0, 0.5),
        ("compile", 14.5, 1.5),
        ("init", 16.0, 1.0),
        ("graph capture", 17.0, 3.0),
        ("init", 20.0, 1.0),
    ]
    assert found.phases[3].detail == "from the cache"


def test_earlier_phases_come_first_and_an_empty_log_has_no_timeline() -> None:
    """A pod's own phases come before the engine's; lines without meaning give no timeline."""
    found = read_timeline([], began=104.0, now=105.0, earlier_phases=[Phase("image", 100.0, 4.0)])
    assert _rounded_phases(found) == [("image", 0.0, 4.0), ("import", 4.0, 1.0)]
    assert read_timeline([]) is None
    assert read_timeline([(1.0, "INFO: 127.0.0.1 GET /health"), (2.0, "{not json")]) is None


def test_a_timeline_survives_json() -> None:
    """A timeline that was saved as JSON is the same when it is read, to the millisecond."""
    found = read_timeline(_recorded_lines("vllm-eager.log", 1e9), began=1e9)
    assert found
    again = Timeline.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    assert again.phases[0] == Phase("import", 0.0, 62.326, detail=found.phases[0].detail)
