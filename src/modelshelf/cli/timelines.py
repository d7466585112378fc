"""A start's timeline as text: one line for each phase, with a bar that shows when it happened."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelshelf.cli.output import Output
from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_chart import COLOURS, phase_details, total_seconds

_CELLS = 30  # the width of a bar that takes the whole start
_PHASE, _PHASE_BESIDE_OTHERS = "█", "▄"


def draw(output: Output, title: str, start: Timeline) -> None:
    """Print a start's timeline on stdout, as wide as the terminal.

    Args:
        output: Where to print; with JSON output nothing is drawn.
        title: The text before the first line.
        start: The start.
    """
    if output.json:
        return
    state = f"ready after {total_seconds(start):.1f} s"
    if start.ready is None:
        state = f"not ready yet, {total_seconds(start):.1f} s so far"
    how = ": ".join(filter(None, (start.how, start.reason)))
    output.data(f"{title}: {state}{f' ({how})' if how else ''}")
    console = Console(file=sys.stdout, no_color=not output.color, highlight=False)
    console.print(_grid(start))


def _grid(start: Timeline) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=15)
    grid.add_column(min_width=_CELLS, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for phase in start.phases:
        more = phase_details(phase).removeprefix(", ")
        seconds = f"{phase.seconds:.1f} s"
        grid.add_row(f"  {phase.name}", _bar(phase, total_seconds(start)), seconds, more)
    return grid


def _bar(phase: Phase, whole: float) -> Text:
    scale = _CELLS / (whole or 1.0)
    first = min(round(phase.began * scale), _CELLS - 1)
    last = min(round((phase.began + phase.seconds) * scale), _CELLS)
    cells = (_PHASE_BESIDE_OTHERS if phase.runs_in_parallel else _PHASE) * max(1, last - first)
    return Text(" " * first).append(cells, style=COLOURS[phase.name])
