"""A chart of bars as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BAR = 860, 330, 110, 40, 30, 18  # pixels
_STYLE = """\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.bound { stroke: #cf222e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } }
</style>"""


def chart(
    title: str, unit: str, rows: Sequence[tuple[str, float]], max_value: float, ours: str
) -> str:
    """Draw a bar for each row, and a line at the value that cannot be exceeded.

    Args:
        title: Shown above the bars.
        unit: Shown behind each value.
        rows: A label and a value for each bar.
        max_value: The bound.
        ours: The end of the labels of our bars, which have another colour.
    """
    scale = (_WIDTH - _LEFT - _RIGHT) / max([max_value, *(value for _, value in rows)])
    bottom = _TOP + _ROW * len(rows)
    box = f'viewBox="0 0 {_WIDTH} {bottom + 34}" width="{_WIDTH}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(title)}">',
        _STYLE,
        f'<text x="8" y="22" font-weight="600">{escape(title)}</text>',
    ]
    for n, (label, value) in enumerate(rows):
        y, wide = _TOP + _ROW * n, value * scale
        colour = "#f28e2b" if label.endswith(ours) else "#4e79a7"
        parts += [
            f'<text x="8" y="{y + 14}">{escape(label)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{wide:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LEFT + wide + 6:.1f}" y="{y + 14}">{value:.1f} {unit}</text>',
        ]
    x = _LEFT + max_value * scale
    bound = f"the line: {max_value:g} {unit}"
    parts += [
        f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>',
        f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="end">{bound}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
