"""The page docs/benchmarks-vllm.md, its charts and promises, made of measurements. Pure."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench import bars
from bench.prefetch import CAT, FAR, OURS, RATE, VLLM, Reading
from bench.report import Promise, spread, table
from bench.vllm_starts import Run
from modelshelf.engines import timeline_chart

NAIVE, UNCOMPILED = "plain pod", "plain pod, no bytecode"
MENDED, FAST = "second replica", "second replica, fastStart"
BARE, BELOW, QUICK = "stock", "stock, below `start`", "fastStart"
CHARTS = ("vllm-compiled.svg", "vllm-eager.svg", "vllm-prefetch.svg")
_MB = 1e6


@dataclasses.dataclass(slots=True)
class Measured:
    """The measurements so far; a part that failed or is still to come is missing.

    Attributes:
        compiled: One start for each of `NAIVE`, `UNCOMPILED`, `MENDED`, `FAST`.
        pulled: Seconds of `modelshelf pull`, which runs once for all replicas.
        primed: Seconds of `modelshelf prime`, which runs once for all replicas.
        eager: One start a round for each of `BARE`, `BELOW`, `QUICK`.
        readings: Every way of reading from every share.
        failures: The parts that could not be measured, and why.
    """

    compiled: dict[str, Run] = dataclasses.field(default_factory=dict)
    pulled: float = 0.0
    primed: float = 0.0
    eager: dict[str, list[Run]] = dataclasses.field(default_factory=dict)
    readings: list[Reading] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """The circumstances: the command, the date as YYYY-MM-DD, and the machine."""

    command: str
    date: str
    machine: Mapping[str, str]


def promises(measured: Measured) -> list[Promise]:
    """Compare what is promised with what was measured; missing parts have no promise."""
    return [
        *_of_compiled(measured),
        *_of_eager(measured),
        *_of_prefetch(measured),
        *_of_us(measured),
    ]


def _of_compiled(measured: Measured) -> Iterator[Promise]:
    for title, least, how in ((MENDED, 3.5, "without"), (FAST, 7.0, "with")):
        if NAIVE in measured.compiled and title in measured.compiled:
            times = measured.compiled[NAIVE].seconds / measured.compiled[title].seconds
            text = f"a second replica, compiled, {how} `fastStart`: at least {least:g} times faster"
            yield Promise(f"{text} than a plain pod", f"{times:.2f}", times >= least)


def _of_eager(measured: Measured) -> Iterator[Promise]:
    bare, quick = measured.eager.get(BARE), measured.eager.get(QUICK)
    if not bare or not quick:
        return
    times = _seconds(bare) / _seconds(quick)
    yield Promise(
        "an eager start with `fastStart`: at least 2.5 times faster than stock",
        f"{times:.2f}",
        times >= 2.5,
    )
    tokens = {str(run.tokens) for run in (*bare, *quick)}
    same = len(tokens) == 1
    yield Promise("and the same greedy tokens", "the same" if same else "others", same)
    ratio = _speed(quick) / _speed(bare)
    yield Promise(
        "and the same tokens per second under load, within 10 %", f"{ratio:.2f}", ratio >= 0.9
    )


def _of_prefetch(measured: Measured) -> Iterator[Promise]:
    far = [each for each in measured.readings if each.delay == FAR]
    ours = {each.files: each for each in far if each.contender == OURS}
    if not ours:
        return
    share = min(each.speed for each in ours.values()) / RATE
    yield Promise("prefetch: at least 90 % of the line", f"{share:.0%}", share >= 0.9)
    for name in (CAT, VLLM):
        others = [each for each in far if each.contender == name]
        times = min(each.seconds / ours[each.files].seconds for each in others)
        yield Promise(f"prefetch: faster than {name}", f"{times:.2f} times", times > 1)


def _of_us(measured: Measured) -> Iterator[Promise]:
    runs = [measured.compiled[title] for title in (MENDED, FAST) if title in measured.compiled]
    if runs:
        longest = max(run.ours for run in runs)
        text = "gate, unpacking and wrapper before a primed start: less than 1 s"
        yield Promise(text, f"{longest:.2f} s", longest < 1)


def page(measured: Measured, setting: Setting) -> str:
    """The text of the page."""
    kept = [(each.text, each.value, "yes" if each.met else "**no**")
            for each in promises(measured)]  # fmt: skip
    parts = [
        "# Benchmarks with vLLM",
        _ABOUT.format(command=setting.command, date=setting.date),
        table(("what", "value"), setting.machine.items()),
        "## What was promised",
        table(("promise", "measured", "kept"), kept),
        *(f"**Not measured:** {failure}" for failure in measured.failures),
        *_compiled(measured),
        *_eager(measured),
        *_readings(measured),
    ]
    return "\n\n".join(parts) + "\n"


def _compiled(measured: Measured) -> Iterator[str]:
    if not measured.compiled:
        return
    yield "## A compiled start"
    yield _ABOUT_COMPILED.format(pulled=measured.pulled, primed=measured.primed)
    yield "![Timelines of compiled starts](charts/vllm-compiled.svg)"
    yield table(_HEADINGS, [_row(title, [run]) for title, run in measured.compiled.items()])


def _eager(measured: Measured) -> Iterator[str]:
    if not measured.eager:
        return
    yield "## An eager start"
    yield _ABOUT_EAGER
    yield "![Timelines of eager starts](charts/vllm-eager.svg)"
    rows = [(*_row(title, runs), _speeds(runs)) for title, runs in measured.eager.items()]
    yield table((*_HEADINGS, "tokens per second under load"), rows)


def _readings(measured: Measured) -> Iterator[str]:
    if not measured.readings:
        return
    yield "## Prefetching from a share into the page cache"
    yield _ABOUT_PREFETCH.format(size=measured.readings[0].bytes / _MB, rate=RATE / _MB)
    yield "![Bytes per second of each way of reading](charts/vllm-prefetch.svg)"
    headings = ("a request takes", "files", "read by", "seconds", "MB/s", "of the line")
    yield table(headings, [_reading_row(each) for each in _in_order(measured.readings)])


def charts(measured: Measured) -> dict[str, str]:
    """The name and content of each chart."""
    drawn = {}
    compiled = [(t, run.timeline) for t, run in measured.compiled.items() if run.timeline]
    eager = [(t, run.timeline) for t, runs in measured.eager.items() for run in runs[:1]
             if run.timeline]  # fmt: skip
    for name, title, rows in (
        (CHARTS[0], "Compiled starts", compiled),
        (CHARTS[1], "Eager starts", eager),
    ):
        if rows:
            drawn[name] = timeline_chart.draw_chart(title, rows)
    if measured.readings:
        speeds = [
            (_without_code(f"{each.delay * 1000:.0f} ms, files: {each.files}, {each.contender}"),
             each.speed / _MB)
            for each in _in_order(measured.readings)
        ]  # fmt: skip
        drawn[CHARTS[2]] = bars.chart(
            "Reading from a share", "MB/s", speeds, RATE / _MB, _without_code(OURS)
        )
    return drawn


def _row(title: str, runs: Sequence[Run]) -> tuple[str, ...]:
    names = dict.fromkeys(name for run in runs for name, _ in run.parts)
    parts = [
        f"{name} {statistics.median(dict(run.parts).get(name, 0.0) for run in runs):.2f}"
        for name in names
    ]
    reasons = dict.fromkeys(run.reason for run in runs if run.reason)
    how = ": ".join((*dict.fromkeys(run.how for run in runs if run.how), *reasons))
    before = f"{_middle([run.ours for run in runs]):.2f}" if runs[0].how else ""
    return title, spread([run.seconds for run in runs]), how, before, ", ".join(parts)


def _without_code(text: str) -> str:
    """Text without the marks that make it code in Markdown."""
    return text.replace("`", "")


def _in_order(readings: Sequence[Reading]) -> list[Reading]:
    """The readings from the far share first; those of the same files stay together."""
    return sorted(readings, key=lambda each: (-each.delay, each.files))


def _reading_row(each: Reading) -> tuple[str, ...]:
    share = each.speed / RATE
    about = (f"{each.delay * 1000:.0f} ms", str(each.files), each.contender)
    return (*about, f"{each.seconds:.2f}", f"{each.speed / _MB:.1f}", f"{share:.0%}")


def _speeds(runs: Sequence[Run]) -> str:
    return spread([speed for run in runs for speed in run.speeds])


def _speed(runs: Sequence[Run]) -> float:
    return _middle([speed for run in runs for speed in run.speeds])


def _seconds(runs: Sequence[Run]) -> float:
    return _middle([run.seconds for run in runs])


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values)


_HEADINGS = (
    "start",
    "ready after, seconds: median (min, max)",
    "how",
    "until the engine began, seconds",
    "of it and beside it, seconds",
)
_ABOUT = """\
Written by `{command}` on {date}: one machine, one run, real vLLM on its processor. **All of these \
are figures of a CPU**: what a start on a GPU takes was not measured. Times run from the first \
step until `/health` answers. Before each start the model and all else that lies on the shelf is \
dropped from the page cache; the programs of vLLM and torch stay in it, for all alike, as on a \
node that has their image.

All are given the same arguments. Every compiled start computes one batch of as many tokens as a \
batch may have, and a processor without AVX-512 multiplies bfloat16 many times slower than \
float32: with vLLM's own choice of both, that batch takes most of a start there, whatever else is \
made shorter."""
_ABOUT_COMPILED = """\
With `torch.compile`, as vLLM starts by default.

- `plain pod`: `snapshot_download` of the model from a hub that sends 100 MB/s, then vLLM with \
empty caches, as in a pod without a volume. Without bytecode it compiles torch and itself from \
source as well: in containers with `PYTHONDONTWRITEBYTECODE=1` whose image has none that is so at \
every start.
- `second replica`: the model is on the shelf and primed. `gate`, then `start`, which unpacks what \
`prime` published and reads the model ahead while the engine imports. On the CPU, vLLM 0.32 \
compiles again what it finds in its cache; a plugin that `start` adds mends it, and while \
processes import, Python seldom looks for garbage.
- with `fastStart` the processes of vLLM are forked from one that has imported it.

What comes once for all replicas: `modelshelf pull` took {pulled:.1f} s, `modelshelf prime` \
{primed:.1f} s."""
_ABOUT_EAGER = """\
With `--enforce-eager` nothing is compiled. All of these find bytecode, and the description of the \
model's class that an earlier start left: without that, stock starts a fourth process. The load is \
8 requests at a time of 64 tokens each; the first 8 are not counted. `stock, below start` shows \
what our gate, our wrapper and its reading ahead cost or save where nothing else is made \
faster."""
_ABOUT_PREFETCH = """\
A checkpoint of {size:.0f} MB on an emulated share: a read-only filesystem in userland (FUSE), \
mounted anew for each reader, on which every request takes a delay and all bytes one line of \
{rate:.0f} MB/s. Its read-ahead is 128 KiB a file, the default of Linux, for NFS too. A request \
of 20 ms is that of a share in another zone, or of an object store behind a filesystem; 5 ms that \
of a busy one nearby, where several files read at once fill the line, too.

- `start`'s prefetch is what `start` does while the engine imports.
- vLLM's prefetch is the function that `--safetensors-load-strategy=prefetch` calls: a thread for \
each file."""
