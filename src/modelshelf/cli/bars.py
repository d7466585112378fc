"""Progress bars on a terminal, drawn from events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from modelshelf.cli.event_text import sentence, unwrap
from modelshelf.cli.output import Output
from modelshelf.shelf.events import Event, Hashed, Listener
from modelshelf.transfer.events import FileDone, Planned, Progressed, Published


@contextmanager
def progress(output: Output, label: str = "") -> Iterator[Listener]:
    """A listener that draws bars if stderr is a terminal, and otherwise prints each event.

    Args:
        output: Where bars and events are printed.
        label: The text beside the only bar, such as `pulling`. Without it, each model has a bar
            that is labelled with its name.
    """
    if not output.shows_bars():
        yield output.event
        return
    console = Console(stderr=True, no_color=not output.color)
    with Progress(*_columns(), console=console, transient=True) as bars:
        yield _Bars(bars, label, console.print).on_event


class _Bars:
    """Draws a bar for each model at work, and prints other events above the bars."""

    def __init__(self, bars: Progress, label: str, print_line: Callable[..., None]) -> None:
        self._bars = bars
        self._tasks = {"": self._add(label)} if label else {}
        self._print_line = print_line

    def on_event(self, event: Event) -> None:
        name, inner = unwrap(event)
        if values := _values(inner):
            self._update(name, values)
        elif not isinstance(inner, FileDone) and (text := sentence(event)):
            if isinstance(inner, Planned):
                self._update(name, {"total": inner.bytes})
            elif name and isinstance(inner, Published) and name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            self._print_line(text, highlight=False, markup=False, soft_wrap=True)

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._add(name)
        self._bars.update(self._tasks[name], **values)

    def _add(self, label: str) -> TaskID:
        return self._bars.add_task(label, total=None, connections="")


def _values(event: Event) -> Mapping[str, Any]:
    """What an event says about its bar; empty if it is not about progress."""
    if isinstance(event, Progressed):
        connections = f"{event.connections} connections" if event.connections else ""
        return {"completed": event.done, "total": event.total, "connections": connections}
    if isinstance(event, Hashed):
        return {"completed": event.done, "total": event.total}
    return {}


def _columns() -> Sequence[ProgressColumn]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[connections]}"),
    )
