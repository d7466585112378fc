"""What a start took, phase by phase, read from what was said during it. Pure.

Lines come with the moment they were seen. Those of `start` and `gate` are JSON and carry
a better moment of their own; the rest are the engine's. A log that begins too late, or of an engine
that is not known, gives fewer phases, never wrong ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelshelf.shelf.events import GateOpen, name_of
from modelshelf.start.events import (
    CacheMissing,
    CacheUnpacked,
    EngineReady,
    EngineStarting,
    Prefetched,
)

Stamped = tuple[float, str]  # seconds since 1970, and a line

GATE, UNPACK, PREFETCH, IMPORT = "gate", "unpack", "prefetch", "import"
WEIGHTS, COMPILE, CAPTURE, INIT, READY = "weights", "compile", "graph capture", "init", "ready"
# `scheduled` and `image` are a pod's own, `download` is that of pods without a shelf; every drawing
# has the phases in this order.
PHASES = (
    *("scheduled", "image", "download", GATE, UNPACK, PREFETCH),
    *(IMPORT, WEIGHTS, COMPILE, CAPTURE, INIT, READY),
)

# A line, and the phase that begins with it: vLLM 0.30 to 0.33, then llama.cpp.
_BEGINS = (
    (re.compile(r"Starting to load model "), WEIGHTS),
    (re.compile(r"Loading weights took "), INIT),
    (re.compile(r"Warming up model for the compilation"), COMPILE),
    (re.compile(r"Warming up done\."), INIT),
    (re.compile(r"init engine \(profile, create kv cache, warmup model\) took "), READY),
    (re.compile(r" load_model: loading model '"), WEIGHTS),
    (re.compile(r"^\S+ I srv +\w+: model loaded$"), READY),
)
# A line that says how long the phase was that ends with it.
_TOOK = (
    (re.compile(r"Model loading took .* and ([\d.]+) seconds"), WEIGHTS),
    (re.compile(r"torch\.compile (?:took|takes) ([\d.]+) s in total"), COMPILE),
    (re.compile(r"Graph capturing finished in ([\d.]+) secs"), CAPTURE),
)
_ANSWERS = re.compile(r"Application startup complete\.$|^\S+ I srv +\w+: listening on http")
# What becomes of what an earlier start compiled.
_CACHED = (
    (re.compile(r"Directly load (?:AOT compilation|the compiled graph)"), "from the cache"),
    (re.compile(r"Compiling model again due to a load failure"), "again: the cache did not load"),
)
# What an import is made of: each process that says something has imported all it needs.
_IMPORTED = (
    (re.compile(r"^\(ApiServer|^\(APIServer"), "API server"),
    (re.compile(r"Resolved architecture: "), "model class"),
    (re.compile(r"^\(EngineCore"), "engine core"),
    (re.compile(r"^\((?:Vllm)?Worker"), "worker"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """A part of a start.

    Attributes:
        name: One of `PHASES`.
        began: Seconds after the timeline's beginning.
        seconds: How long it was.
        bytes: What it read, if it counts.
        detail: More about it; may be empty.
    """

    name: str
    began: float
    seconds: float
    bytes: int = 0
    detail: str = ""

    @property
    def beside(self) -> bool:
        """Whether it goes on while other phases do: only reading ahead does."""
        return self.name == PREFETCH


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """One start.

    Attributes:
        began: When, in seconds since 1970.
        ready: Seconds until it answered; None if it has not.
        how: `stock`, `mended` or `fast`; empty where nothing says so.
        reason: Why it was not faster; may be empty.
        phases: In the order in which they began.
    """

    began: float
    ready: float | None
    how: str
    reason: str
    phases: tuple[Phase, ...]

    @property
    def lengths(self) -> tuple[tuple[str, float], ...]:
        """The phases' names and seconds, to the millisecond."""
        return tuple((phase.name, round(phase.seconds, 3)) for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        """The timeline as JSON, to the millisecond."""
        value: dict[str, Any] = _rounded(dataclasses.asdict(self))
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Timeline:
        """What `to_json` gave."""
        phases = tuple(Phase(**phase) for phase in value["phases"])
        return cls(**{**value, "phases": phases})


def timeline(
    lines: Iterable[Stamped],
    *,
    began: float | None = None,
    ready: float | None = None,
    now: float | None = None,
    before: Sequence[Phase] = (),
) -> Timeline | None:
    """The timeline of one start.

    Args:
        lines: What a gate and then an engine said, from the beginning.
        began: When it began, where the lines do not say it.
        ready: When it answered, where the lines do not say it.
        now: Up to when its last phase goes on, where it has not answered.
        before: What was over before the first line; `began` of each in seconds since 1970.

    Returns:
        None where there is nothing to tell.
    """
    read = _Read()
    for at, line in lines:
        read.take(at, line)
    answered = ready if read.answered is None else read.answered
    start = _first_known(read.began, began, *(at for at, _ in read.marks[:1]))
    if start is None and not read.beside and not before:
        return None
    if start is not None and not any(name == IMPORT for _, name in read.marks):
        read.marks.insert(0, (start, IMPORT))
    spans = [*before, *read.beside, *_spans(read, answered, now)]
    first = min([*(span.began for span in spans), *([] if start is None else [start])])
    phases = [dataclasses.replace(span, began=span.began - first) for span in spans]
    phases.sort(key=lambda phase: (phase.began, PHASES.index(phase.name)))
    reason = "; ".join(filter(None, (read.reason, read.unprimed)))
    took = None if answered is None else answered - first
    return Timeline(first, took, read.how, reason, tuple(phases))


class _Read:
    """What was found in the lines so far.

    Attributes:
        marks: Moments, and the phase that begins then.
        beside: Phases that say themselves how long they were; `began` in seconds since 1970.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.answered: float | None = None
        self.marks: list[tuple[float, str]] = []
        self.beside: list[Phase] = []
        self.imported: dict[str, float] = {}
        self.how = self.cached = self.reason = self.unprimed = ""

    def take(self, at: float, line: str) -> None:
        """Read one line."""
        if line.startswith("{"):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                event = json.loads(line)
                self._event(float(event.get("time", at)), event)
        elif self.answered is None:
            self._line(at, line)

    def _event(self, at: float, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case _Names.OPEN:
                self._past(GATE, at, event)
            case _Names.UNPACKED:
                self._past(UNPACK, at, event)
            case _Names.PREFETCHED:
                self._past(PREFETCH, at, event)
            case _Names.CACHE_MISSING:
                self.unprimed = f"not primed: {event['reason']}"
            case _Names.STARTING:
                self.how, self.reason = event["how"], event["reason"]
                self.marks.append((at, IMPORT))
            case _Names.READY:
                self.answered = at
                self.began = at - event["seconds"]
                # Whoever stamps lines may see them late; what was said before came before.
                self.marks = [(min(said, at), name) for said, name in self.marks]

    def _past(self, name: str, at: float, event: Mapping[str, Any]) -> None:
        seconds = float(event["seconds"])
        detail = str(event.get("reason", ""))
        self.beside.append(Phase(name, at - seconds, seconds, int(event.get("bytes", 0)), detail))

    def _line(self, at: float, line: str) -> None:
        for pattern, part in _IMPORTED:
            if pattern.search(line):
                self.imported.setdefault(part, at)
        for pattern, cached in _CACHED:
            self.cached = cached if pattern.search(line) else self.cached
        for pattern, phase in _TOOK:
            if found := pattern.search(line):
                since = at - float(found[1])
                # It knows better than what was said in between.
                self.marks = [mark for mark in self.marks if mark[0] <= since]
                self.marks += [(since, phase), (at, INIT)]
        for pattern, phase in _BEGINS:
            if pattern.search(line):
                self.marks.append((at, phase))
        if _ANSWERS.search(line):
            self.answered = at


class _Names:
    """The events that matter here, by their names in JSON."""

    OPEN = name_of(GateOpen)
    UNPACKED = name_of(CacheUnpacked)
    CACHE_MISSING = name_of(CacheMissing)
    PREFETCHED = name_of(Prefetched)
    STARTING = name_of(EngineStarting)
    READY = name_of(EngineReady)


def _first_known(*moments: float | None) -> float | None:
    return next((each for each in moments if each is not None), None)


def _spans(read: _Read, answered: float | None, now: float | None) -> list[Phase]:
    """The engine's phases, one after another, up to its answer or the present."""
    last = _first_known(answered, now, 0.0) or 0.0
    known = [mark for mark in read.marks if answered is None or mark[0] <= answered]
    marks = sorted(known, key=operator.itemgetter(0))
    spans: list[Phase] = []
    for i, (at, name) in enumerate(marks):
        end = marks[i + 1][0] if i + 1 < len(marks) else max(at, last)
        if spans and spans[-1].name == name:
            spans[-1] = dataclasses.replace(spans[-1], seconds=end - spans[-1].began)
        else:
            spans.append(Phase(name, at, end - at, detail=_detail(read, name, at, end)))
    return [span for span in spans if span.seconds or span is spans[-1]]


def _detail(read: _Read, name: str, at: float, end: float) -> str:
    if name == COMPILE:
        return read.cached
    if name != IMPORT:
        return ""
    parts = []
    for part, done in sorted(read.imported.items(), key=lambda item: item[1]):
        if at <= done <= end:
            parts.append(f"{part} {done - at:.1f} s")
            at = done
    return ", ".join(parts)


def _rounded(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
