"""Timelines as a chart (SVG) and as a table (Markdown). Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from html import escape

from modelshelf.engines.timeline import PHASES, Phase, Timeline

# Apart from each other for most eyes, and from white and black alike.
COLOURS = {
    "scheduled": "#a0a8b4",
    "image": "#7b8794",
    "download": "#3f6b6f",
    "gate": "#b07aa1",
    "unpack": "#e377a2",
    "prefetch": "#f28e2b",
    "import": "#4e79a7",
    "weights": "#59a14f",
    "compile": "#e15759",
    "graph capture": "#b6992d",
    "init": "#5ab4ac",
    "ready": "#9c755f",
}
_MB = 1e6
_WIDTH, _LEFT, _RIGHT = 860, 190, 70  # pixels
_ROW, _BAR, _BESIDE = 40, 20, 5
_TICKS = 8
_LETTER = 8.2  # pixels of a letter, about
_SHOWN = 46  # pixels that a bar needs to have its seconds written on it
_MIDDLE = 'text-anchor="middle"'
_STYLE = """\
<style>
text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.on { font-size: 11px; fill: #fff }
.grid { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .grid { stroke: #3d444d }
}
</style>"""

Rows = Sequence[tuple[str, Timeline]]


def length(start: Timeline) -> float:
    """Seconds until it answered, or until its last phase that is known ends."""
    ends = [phase.began + phase.seconds for phase in start.phases if not phase.beside]
    return max(ends, default=0.0) if start.ready is None else start.ready


def chart(title: str, rows: Rows) -> str:
    """An SVG image: a bar for each start, its phases in a row, and reading ahead below them."""
    longest = max([length(start) for _, start in rows] or [0.0]) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    legend, top = _legend({phase.name for _, start in rows for phase in start.phases})
    bottom = top + _ROW * len(rows)
    size = f'viewBox="0 0 {_WIDTH} {bottom + 44}" width="{_WIDTH}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        _STYLE,
        _text(8, 22, title, 'font-weight="600"'),
        *legend,
        *_axis(longest, scale, top, bottom),
    ]
    for i, (label, start) in enumerate(rows):
        parts += _row(label, start, scale, top + _ROW * i)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(names: Iterable[str]) -> tuple[list[str], int]:
    """What the colours mean, and where what comes below it may begin."""
    parts, x, y = [], 8.0, 46
    for name in sorted(names, key=PHASES.index):
        wide = 26 + _LETTER * len(name)
        if x + wide > _WIDTH:
            x, y = 8.0, y + 20
        parts.append(_box(x, y - 10, 12, 12, name, name))
        parts.append(_text(x + 17, y, name))
        x += wide
    return parts, y + 16


def _axis(longest: float, scale: float, top: int, bottom: int) -> list[str]:
    rough = longest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    parts = []
    for i in range(int(longest / step) + 1):
        x = _LEFT + i * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom + 4}"/>')
        parts.append(_text(x, bottom + 18, f"{i * step:g}", _MIDDLE, "small"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, bottom + 36, "seconds since the start began", _MIDDLE, "small"))
    return parts


def _row(label: str, start: Timeline, scale: float, y: int) -> list[str]:
    parts = [_text(8, y + 18, label), _text(8, y + 32, start.how, kind="small")]
    for phase in start.phases:
        x, wide = _LEFT + phase.began * scale, max(phase.seconds * scale, 0.5)
        told = f"{phase.name}: {phase.seconds:.1f} s{detail(phase)}"
        if phase.beside:
            parts.append(_box(x, y + 4 + _BAR + 2, wide, _BESIDE, phase.name, told))
            continue
        parts.append(_box(x, y + 4, wide, _BAR, phase.name, told))
        if wide >= _SHOWN:
            parts.append(_text(x + wide / 2, y + 18, f"{phase.seconds:.1f}", _MIDDLE, "on"))
    end = _LEFT + length(start) * scale + 6
    total = f"{length(start):.1f} s" + ("" if start.ready is not None else " …")
    return [*parts, _text(end, y + 18, total, 'font-weight="600"')]


def _text(x: float, y: float, words: str, attributes: str = "", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.0f}" {attributes}>{escape(words)}</text>'


def _box(x: float, y: float, wide: float, high: float, name: str, told: str) -> str:  # noqa: PLR0913, PLR0917
    return (
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{wide:.1f}" height="{high:.0f}" '
        f'fill="{COLOURS[name]}"><title>{escape(told)}</title></rect>'
    )


def detail(phase: Phase) -> str:
    """What a phase read and how fast, and what else is known of it; empty if nothing is."""
    parts = []
    if phase.bytes:
        rate = f" at {phase.bytes / phase.seconds / _MB:,.0f} MB/s" if phase.seconds else ""
        parts.append(f"{phase.bytes / _MB:,.1f} MB{rate}")
    return "".join(f", {part}" for part in (*parts, phase.detail) if part)


def table(rows: Rows) -> str:
    """A Markdown table: a row for each start, a column for each phase, and the medians."""
    seen = {phase.name for _, start in rows for phase in start.phases}
    names = [name for name in PHASES if name in seen]
    lines = [["start", "ready after", *names, "how"], ["---", *("---:" for _ in names), "---:"]]
    lines[1].append("---")
    for label, start in rows:
        how = ": ".join(filter(None, (start.how, start.reason)))
        lines.append([label, *_cells([(label, start)], names), how])
    if len(rows) > 1:
        lines.append(["median", *_cells(rows, names), ""])
    return "".join("| " + " | ".join(_escaped(text) for text in line) + " |\n" for line in lines)


def _cells(rows: Rows, names: Sequence[str]) -> list[str]:
    """The median of the whole and of each phase; starts that had no such phase do not count."""
    cells = [f"{statistics.median(length(start) for _, start in rows):.1f} s"]
    for name in names:
        had = [phases for _, start in rows if (phases := _named(start, name))]
        sums = [sum(phase.seconds for phase in phases) for phases in had]
        cells.append(f"{statistics.median(sums):.1f} s" if sums else "")
    return cells


def _named(start: Timeline, name: str) -> list[Phase]:
    return [phase for phase in start.phases if phase.name == name]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
