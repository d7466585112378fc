"""The only printer: text for people, JSON for programs, bars for terminals."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelshelf.cli import words
from modelshelf.shelf.errors import Error
from modelshelf.shelf.events import Event, Hashed, Listener
from modelshelf.transfer.events import FileDone, Planned, Progressed, Published

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Output:
    """Where a verb's words go.

    Args:
        json: Programs read stdout: documents and JSON lines only, people's words on stderr.
        quiet: People's words are left out, errors excepted.
        color: False for none; NO_COLOR counts too.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.json = json
        self.quiet = quiet
        self._color = color and not os.environ.get("NO_COLOR")

    def document(self, value: object) -> None:
        """One JSON document, where programs read."""
        if self.json:
            _write(sys.stdout, json.dumps(value, indent=2, ensure_ascii=False))

    def data(self, text: str) -> None:
        """What was asked for, on stdout, as plain text."""
        if not self.json:
            _write(sys.stdout, text)

    def line(self, value: Mapping[str, Any]) -> None:
        """One JSON line, where programs read."""
        if self.json:
            _write(sys.stdout, json.dumps(value, ensure_ascii=False))

    def can_ask(self) -> bool:
        """Whether somebody is there who could answer."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> str:
        """What somebody types; empty if they end the input."""
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    def note(self, text: str) -> None:
        """A word for people, on stderr."""
        if not self.quiet and not self.json:
            _write(sys.stderr, text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under headings, in columns as wide as they need; numbers to the right.

        A column's heading ends in `>` if it is to be set to the right.
        """
        if self.json or not rows:
            return
        right = [column.endswith(">") for column in columns]
        lines = [[column.removesuffix(">") for column in columns], *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            cells = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            ]
            _write(sys.stdout, "  ".join(cells).rstrip())

    def draw(self, drawing: Any) -> None:  # noqa: ANN401 - whatever rich can draw
        """A drawing by rich, on stdout, as wide as the terminal."""
        if self.json:
            return
        from rich.console import Console  # noqa: PLC0415 - slow, and only drawings need it

        Console(file=sys.stdout, no_color=not self._color, highlight=False).print(drawing)

    def error(self, error: Error) -> None:
        """An error: one sentence, and what to do; for programs, an object on stdout."""
        if self.json:
            _write(sys.stdout, json.dumps(error_json(error), ensure_ascii=False))
            return
        red, reset = ("\x1b[31m", "\x1b[0m") if self._painted() else ("", "")
        _write(sys.stderr, f"{red}modelshelf: {error}{reset}")
        if error.hint:
            _write(sys.stderr, f"  {error.hint}")

    def event(self, event: Event) -> None:
        """An event as a JSON line, or as text."""
        if self.json:
            _write(sys.stdout, json.dumps(event.to_json(), ensure_ascii=False))
        elif text := words.sentence(event):
            self.note(text)

    @contextmanager
    def progress(self, verb: str) -> Iterator[Listener]:
        """A listener that draws bars on a terminal, and writes lines elsewhere.

        Args:
            verb: What the bar says, such as `pulling`; empty for one bar for each model that tells
                how far it is.
        """
        if self.json or self.quiet or not sys.stderr.isatty():
            yield self.event
            return
        from rich.console import Console  # noqa: PLC0415 - slow, and only bars need it
        from rich.progress import Progress  # noqa: PLC0415

        console = Console(stderr=True, no_color=not self._color)
        with Progress(*_columns(), console=console, transient=True) as progress:
            yield _Bars(progress, verb, console.print).on_event

    def _painted(self) -> bool:
        return self._color and sys.stderr.isatty()


def error_json(error: Error) -> Mapping[str, Any]:
    """The form of an error that programs read."""
    return {
        "event": "error",
        "message": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


class _Bars:
    """Draws a bar for each thing at work, and the lines above them."""

    def __init__(self, progress: Progress, verb: str, say: Any) -> None:  # noqa: ANN401
        self._progress = progress
        self._tasks = {"": self._add(verb)} if verb else {}
        self._say = say

    def on_event(self, event: Event) -> None:
        of, told = words.told_by(event)
        if isinstance(told, Progressed):
            connections = f"{told.connections} connections" if told.connections else ""
            self._update(of, completed=told.done, total=told.total, connections=connections)
        elif isinstance(told, Hashed):
            self._update(of, completed=told.done, total=told.total)
        elif not isinstance(told, FileDone) and (text := words.sentence(event)):
            if isinstance(told, Planned):
                self._update(of, total=told.bytes)
            elif of and isinstance(told, Published) and of in self._tasks:
                self._progress.remove_task(self._tasks.pop(of))
            self._say(text, highlight=False, markup=False, soft_wrap=True)

    def _update(self, of: str, **fields: Any) -> None:  # noqa: ANN401 - as rich has it
        if of not in self._tasks:
            self._tasks[of] = self._add(of)
        self._progress.update(self._tasks[of], **fields)

    def _add(self, name: str) -> TaskID:
        return self._progress.add_task(name, total=None, connections="")


def _columns() -> Sequence[Any]:
    from rich import progress  # noqa: PLC0415 - slow, and only bars need it

    return (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[connections]}"),
    )


def _write(stream: Any, text: str) -> None:  # noqa: ANN401 - sys.stdout and sys.stderr
    stream.write(text + "\n")
    stream.flush()
