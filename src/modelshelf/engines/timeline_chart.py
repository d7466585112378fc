"""Timelines as a chart (SVG) and as a table (Markdown). Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from html import escape

from modelshelf.engines.timeline import PHASES, Phase, Timeline

# Most people can tell these colours from each other, from white, and from black.
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
# All lengths of the drawing are in pixels.
_WIDTH, _LEFT_MARGIN, _RIGHT_MARGIN = 860, 190, 70
_ROW_HEIGHT, _BAR_HEIGHT, _PARALLEL_BAR_HEIGHT = 40, 20, 5
_LETTER_WIDTH = 8.2  # an estimate
_MIN_LABELLED_WIDTH = 46  # of a bar that has its seconds written on it
_MAX_TICKS = 8
_CENTRED = 'text-anchor="middle"'
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
"""The label of each start, and its timeline."""


def total_seconds(start: Timeline) -> float:
    """The seconds until the engine answered, or until the end of the last known phase."""
    ends = [phase.began + phase.seconds for phase in start.phases if not phase.runs_in_parallel]
    return max(ends, default=0.0) if start.ready is None else start.ready


def draw_chart(title: str, rows: Rows) -> str:
    """Draw an SVG image with a bar for each start.

    The bar shows the phases one after another. A thin bar below it shows the prefetch, which runs
    at the same time.
    """
    longest = max([total_seconds(start) for _, start in rows] or [0.0]) or 1.0
    scale = (_WIDTH - _LEFT_MARGIN - _RIGHT_MARGIN) / longest
    legend, top = _legend({phase.name for _, start in rows for phase in start.phases})
    bottom = top + _ROW_HEIGHT * len(rows)
    size = f'viewBox="0 0 {_WIDTH} {bottom + 44}" width="{_WIDTH}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        _STYLE,
        _text(8, 22, title, 'font-weight="600"'),
        *legend,
        *_axis(longest, scale, top, bottom),
    ]
    for i, (label, start) in enumerate(rows):
        parts += _row(label, start, scale, top + _ROW_HEIGHT * i)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(names: Iterable[str]) -> tuple[list[str], int]:
    """The meaning of the colours, and the y coordinate below it."""
    parts, x, y = [], 8.0, 46
    for name in sorted(names, key=PHASES.index):
        width = 26 + _LETTER_WIDTH * len(name)
        if x + width > _WIDTH:
            x, y = 8.0, y + 20
        parts.append(_box(x, y - 10, 12, 12, name, name))
        parts.append(_text(x + 17, y, name))
        x += width
    return parts, y + 16


def _axis(longest: float, scale: float, top: int, bottom: int) -> list[str]:
    min_step = longest / _MAX_TICKS
    power = 10.0 ** math.floor(math.log10(min_step))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= min_step)
    parts = []
    for i in range(int(longest / step) + 1):
        x = _LEFT_MARGIN + i * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom + 4}"/>')
        parts.append(_text(x, bottom + 18, f"{i * step:g}", _CENTRED, "small"))
    middle = (_LEFT_MARGIN + _WIDTH - _RIGHT_MARGIN) / 2
    parts.append(_text(middle, bottom + 36, "seconds since the start began", _CENTRED, "small"))
    return parts


def _row(label: str, start: Timeline, scale: float, y: int) -> list[str]:
    parts = [_text(8, y + 18, label), _text(8, y + 32, start.how, css_class="small")]
    for phase in start.phases:
        x, width = _LEFT_MARGIN + phase.began * scale, max(phase.seconds * scale, 0.5)
        tooltip = f"{phase.name}: {phase.seconds:.1f} s{phase_details(phase)}"
        if phase.runs_in_parallel:
            below = y + 4 + _BAR_HEIGHT + 2
            parts.append(_box(x, below, width, _PARALLEL_BAR_HEIGHT, phase.name, tooltip))
            continue
        parts.append(_box(x, y + 4, width, _BAR_HEIGHT, phase.name, tooltip))
        if width >= _MIN_LABELLED_WIDTH:
            parts.append(_text(x + width / 2, y + 18, f"{phase.seconds:.1f}", _CENTRED, "on"))
    seconds = total_seconds(start)
    total = f"{seconds:.1f} s" + ("" if start.ready is not None else " …")
    end = _LEFT_MARGIN + seconds * scale + 6
    return [*parts, _text(end, y + 18, total, 'font-weight="600"')]


def _text(x: float, y: float, text: str, attributes: str = "", css_class: str = "") -> str:
    class_attribute = f' class="{css_class}"' if css_class else ""
    return f'<text{class_attribute} x="{x:.1f}" y="{y:.0f}" {attributes}>{escape(text)}</text>'


def _box(  # noqa: PLR0913, PLR0917 - the attributes of one SVG element
    x: float, y: float, width: float, height: float, name: str, tooltip: str
) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{height:.0f}" '
        f'fill="{COLOURS[name]}"><title>{escape(tooltip)}</title></rect>'
    )


def phase_details(phase: Phase) -> str:
    """What else is known of a phase, each behind a comma: bytes, their rate, and its `detail`."""
    parts = []
    if phase.bytes:
        rate = f" at {phase.bytes / phase.seconds / _MB:,.0f} MB/s" if phase.seconds else ""
        parts.append(f"{phase.bytes / _MB:,.1f} MB{rate}")
    return "".join(f", {part}" for part in (*parts, phase.detail) if part)


def format_table(rows: Rows) -> str:
    """Format a Markdown table: a row for each start, a column for each phase, and the medians."""
    present = {phase.name for _, start in rows for phase in start.phases}
    names = [name for name in PHASES if name in present]
    lines = [["start", "ready after", *names, "how"], ["---", *("---:" for _ in names), "---:"]]
    lines[1].append("---")
    for label, start in rows:
        how = ": ".join(filter(None, (start.how, start.reason)))
        lines.append([label, *_cells([(label, start)], names), how])
    if len(rows) > 1:
        lines.append(["median", *_cells(rows, names), ""])
    return "".join("| " + " | ".join(_escape(text) for text in line) + " |\n" for line in lines)


def _cells(rows: Rows, names: Sequence[str]) -> list[str]:
    """The median of the total, then of each phase, among the starts that have the phase."""
    cells = [f"{statistics.median(total_seconds(start) for _, start in rows):.1f} s"]
    for name in names:
        per_start = [phases for _, start in rows if (phases := _phases_named(start, name))]
        sums = [sum(phase.seconds for phase in phases) for phases in per_start]
        cells.append(f"{statistics.median(sums):.1f} s" if sums else "")
    return cells


def _phases_named(start: Timeline, name: str) -> list[Phase]:
    return [phase for phase in start.phases if phase.name == name]


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
