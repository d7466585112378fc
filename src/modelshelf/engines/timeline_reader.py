"""Reads the timeline of a start from the lines that were logged during it. Pure.

Each line comes with the time at which somebody saw it. `modelshelf.start` and the gate print JSON
lines, which hold a more exact time. All other lines are the engine's. If the log begins too late,
or the engine is unknown, the timeline has fewer phases, but no wrong ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from modelshelf.engines.timeline import (
    CAPTURE,
    COMPILE,
    GATE,
    IMPORT,
    INIT,
    PHASES,
    PREFETCH,
    READY,
    UNPACK,
    WEIGHTS,
    Phase,
    StartMethod,
    Timeline,
)
from modelshelf.shelf.events import GateOpen, name_of
from modelshelf.start.events import (
    CacheMissing,
    CacheUnpacked,
    EngineReady,
    EngineStarting,
    Prefetched,
)

TimedLine = tuple[float, str]
"""When a line was seen, in seconds since 1970, and the line."""

# A line, and the phase that begins with it: first those of vLLM 0.30 to 0.33, then llama.cpp's.
_FIRST_LINES = (
    (re.compile(r"Starting to load model "), WEIGHTS),
    (re.compile(r"Loading weights took "), INIT),
    (re.compile(r"Warming up model for the compilation"), COMPILE),
    (re.compile(r"Warming up done\."), INIT),
    (re.compile(r"init engine \(profile, create kv cache, warmup model\) took "), READY),
    (re.compile(r" load_model: loading model '"), WEIGHTS),
    (re.compile(r"^\S+ I srv +\w+: model loaded$"), READY),
)
# A line that states how long the phase took that ends with it.
_LAST_LINES = (
    (re.compile(r"Model loading took .* and ([\d.]+) seconds"), WEIGHTS),
    (re.compile(r"torch\.compile (?:took|takes) ([\d.]+) s in total"), COMPILE),
    (re.compile(r"Graph capturing finished in ([\d.]+) secs"), CAPTURE),
)
_ANSWERS_LINE = re.compile(r"Application startup complete\.$|^\S+ I srv +\w+: listening on http")
# A line, and what it tells about the compiled code of an earlier start.
_COMPILE_DETAILS = (
    (re.compile(r"Directly load (?:AOT compilation|the compiled graph)"), "from the cache"),
    (re.compile(r"Compiling model again due to a load failure"), "again: the cache did not load"),
)
# The first line of each of vLLM's processes: by then the process has imported what it needs.
_IMPORT_STEPS = (
    (re.compile(r"^\(ApiServer|^\(APIServer"), "API server"),
    (re.compile(r"Resolved architecture: "), "model class"),
    (re.compile(r"^\(EngineCore"), "engine core"),
    (re.compile(r"^\((?:Vllm)?Worker"), "worker"),
)


def read_timeline(
    lines: Iterable[TimedLine],
    *,
    began: float | None = None,
    ready: float | None = None,
    now: float | None = None,
    earlier_phases: Sequence[Phase] = (),
) -> Timeline | None:
    """Read the timeline of one start. All times are seconds since 1970.

    Args:
        lines: The lines of a gate, then of an engine, from the beginning.
        began: When the start began, if the lines do not tell.
        ready: When the engine answered, if the lines do not tell.
        now: When the last phase ends for the timeline, if the engine has not answered.
        earlier_phases: The phases that were over before the first line; their `began` is in seconds
            since 1970.

    Returns:
        None if nothing is known about the start.
    """
    log = _LogReader()
    for seen, line in lines:
        log.read_line(seen, line)
    answered = ready if log.answered is None else log.answered
    start = _first_known(log.began, began, *(moment for moment, _ in log.phase_starts[:1]))
    if start is None and not log.stated_phases and not earlier_phases:
        return None
    if start is not None and not any(name == IMPORT for _, name in log.phase_starts):
        log.phase_starts.insert(0, (start, IMPORT))
    spans = [*earlier_phases, *log.stated_phases, *_engine_phases(log, answered, now)]
    first = min([*(span.began for span in spans), *([] if start is None else [start])])
    phases = [dataclasses.replace(span, began=span.began - first) for span in spans]
    phases.sort(key=lambda phase: (phase.began, PHASES.index(phase.name)))
    reason = "; ".join(filter(None, (log.reason, log.cache_missing)))
    seconds = None if answered is None else answered - first
    return Timeline(first, seconds, log.how, reason, tuple(phases))


class _LogReader:
    """Collects what the lines of a log tell about a start.

    Attributes:
        began: When the start began; None until a line tells.
        answered: When the engine first answered; None until a line tells.
        phase_starts: When each of the engine's phases begins, and its name.
        stated_phases: The phases whose own event states how long they took; `began` is in seconds
            since 1970.
        import_steps: A step of the import → when it was over.
        how: How the engine was started.
        reason: Why it was not started in a faster way.
        compile_detail: What became of the compiled code of an earlier start.
        cache_missing: Why no compile cache was unpacked.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.answered: float | None = None
        self.phase_starts: list[tuple[float, str]] = []
        self.stated_phases: list[Phase] = []
        self.import_steps: dict[str, float] = {}
        self.how: StartMethod = ""
        self.compile_detail = self.reason = self.cache_missing = ""

    def read_line(self, seen: float, line: str) -> None:
        """Read the next line, which was seen at a moment."""
        if line.startswith("{"):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                event = json.loads(line)
                self._read_event(float(event.get("time", seen)), event)
        elif self.answered is None:
            self._read_engine_line(seen, line)

    def _read_event(self, moment: float, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case _EventNames.GATE_OPEN:
                self._add_stated_phase(GATE, moment, event)
            case _EventNames.CACHE_UNPACKED:
                self._add_stated_phase(UNPACK, moment, event)
            case _EventNames.PREFETCHED:
                self._add_stated_phase(PREFETCH, moment, event)
            case _EventNames.CACHE_MISSING:
                self.cache_missing = f"not primed: {event['reason']}"
            case _EventNames.ENGINE_STARTING:
                self.how = event["how"] if event["how"] in get_args(StartMethod) else ""
                self.reason = event["reason"]
                self.phase_starts.append((moment, IMPORT))
            case _EventNames.ENGINE_READY:
                self.answered = moment
                self.began = moment - event["seconds"]
                # A line may be seen late. But a line before this one was also printed before it.
                self.phase_starts = [
                    (min(start, moment), name) for start, name in self.phase_starts
                ]

    def _add_stated_phase(self, name: str, end: float, event: Mapping[str, Any]) -> None:
        """Add a phase that ends at a moment, and whose event states how long it took."""
        seconds = float(event["seconds"])
        detail = str(event.get("reason", ""))
        size = int(event.get("bytes", 0))
        self.stated_phases.append(Phase(name, end - seconds, seconds, size, detail))

    def _read_engine_line(self, seen: float, line: str) -> None:
        for pattern, step in _IMPORT_STEPS:
            if pattern.search(line):
                self.import_steps.setdefault(step, seen)
        for pattern, detail in _COMPILE_DETAILS:
            self.compile_detail = detail if pattern.search(line) else self.compile_detail
        for pattern, phase in _LAST_LINES:
            if match := pattern.search(line):
                start = seen - float(match[1])
                # The line is exact, so it replaces the phases that seemed to begin in between.
                self.phase_starts = [item for item in self.phase_starts if item[0] <= start]
                self.phase_starts += [(start, phase), (seen, INIT)]
        for pattern, phase in _FIRST_LINES:
            if pattern.search(line):
                self.phase_starts.append((seen, phase))
        if _ANSWERS_LINE.search(line):
            self.answered = seen


class _EventNames:
    """The JSON names of the events that a timeline is read from.

    They are attributes, since `match` would take a plain name for a variable to assign to.
    """

    GATE_OPEN = name_of(GateOpen)
    CACHE_UNPACKED = name_of(CacheUnpacked)
    CACHE_MISSING = name_of(CacheMissing)
    PREFETCHED = name_of(Prefetched)
    ENGINE_STARTING = name_of(EngineStarting)
    ENGINE_READY = name_of(EngineReady)


def _first_known(*moments: float | None) -> float | None:
    return next((moment for moment in moments if moment is not None), None)


def _engine_phases(log: _LogReader, answered: float | None, now: float | None) -> list[Phase]:
    """The engine's phases, one after another, until it answers or until now."""
    last = _first_known(answered, now, 0.0) or 0.0
    starts = [item for item in log.phase_starts if answered is None or item[0] <= answered]
    starts.sort(key=operator.itemgetter(0))
    phases: list[Phase] = []
    for i, (start, name) in enumerate(starts):
        end = starts[i + 1][0] if i + 1 < len(starts) else max(start, last)
        if phases and phases[-1].name == name:
            phases[-1] = dataclasses.replace(phases[-1], seconds=end - phases[-1].began)
        else:
            phases.append(Phase(name, start, end - start, detail=_detail(log, name, start, end)))
    return [phase for phase in phases if phase.seconds or phase is phases[-1]]


def _detail(log: _LogReader, name: str, start: float, end: float) -> str:
    if name == COMPILE:
        return log.compile_detail
    if name != IMPORT:
        return ""
    parts = []
    for step, step_end in sorted(log.import_steps.items(), key=operator.itemgetter(1)):
        if start <= step_end <= end:
            parts.append(f"{step} {step_end - start:.1f} s")
            start = step_end
    return ", ".join(parts)
