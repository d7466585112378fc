"""Timelines drawn with letters: a line for each phase, where it lies in its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelshelf.cli.output import Output
from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_chart import COLOURS, phase_details, total_seconds

if TYPE_CHECKING:
    from rich.text import Text

_WIDE = 30  # cells of a bar that is as long as the start
_BAR, _BESIDE = "█", "▄"


def draw(output: Output, title: str, start: Timeline) -> None:
    """Show one start."""
    if output.json:
        return
    from rich.table import Table  # noqa: PLC0415 - slow, and only drawings need it

    state = f"ready after {total_seconds(start):.1f} s"
    if start.ready is None:
        state = f"not ready yet, {total_seconds(start):.1f} s so far"
    how = ": ".join(filter(None, (start.how, start.reason)))
    output.data(f"{title}: {state}{f' ({how})' if how else ''}")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=15)
    grid.add_column(min_width=_WIDE, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for phase in start.phases:
        more = phase_details(phase).removeprefix(", ")
        seconds = f"{phase.seconds:.1f} s"
        grid.add_row(f"  {phase.name}", _bar(phase, total_seconds(start)), seconds, more)
    output.draw(grid)


def _bar(phase: Phase, whole: float) -> Text:
    from rich.text import Text  # noqa: PLC0415

    scale = _WIDE / (whole or 1.0)
    first = min(round(phase.began * scale), _WIDE - 1)
    last = min(round((phase.began + phase.seconds) * scale), _WIDE)
    cells = (_BESIDE if phase.runs_in_parallel else _BAR) * max(1, last - first)
    return Text(" " * first).append(cells, style=COLOURS[phase.name])
