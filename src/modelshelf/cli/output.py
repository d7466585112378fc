"""What is printed: results on stdout as text or JSON, messages for people on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.cli.event_text import sentence
from modelshelf.shelf.errors import Error
from modelshelf.shelf.events import Event


class Output:
    """Prints what a verb has to say.

    Args:
        json: Print JSON documents and JSON lines for programs, and no text for people.
        quiet: Print no messages but errors.
        color: Whether colours may be used; the variable NO_COLOR forbids them, too.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.json = json
        self.quiet = quiet
        self.color = color and not os.environ.get("NO_COLOR")

    def document(self, value: object) -> None:
        """Print a result as one JSON document, if JSON was asked for."""
        if self.json:
            _write(sys.stdout, json.dumps(value, indent=2, ensure_ascii=False))

    def data(self, text: str) -> None:
        """Print a result as text on stdout, unless JSON was asked for."""
        if not self.json:
            _write(sys.stdout, text)

    def line(self, value: Mapping[str, Any]) -> None:
        """Print a part of a result as one JSON line, if JSON was asked for."""
        if self.json:
            _write(sys.stdout, json.dumps(value, ensure_ascii=False))

    def can_ask(self) -> bool:
        """Whether a question would reach a person at a terminal."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def shows_bars(self) -> bool:
        """Whether progress bars would reach a person at a terminal."""
        return not self.json and not self.quiet and sys.stderr.isatty()

    def ask(self, question: str) -> str:
        """Ask a question and return the typed line; empty at the end of the input."""
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    def note(self, text: str) -> None:
        """Print a message for people on stderr."""
        if not self.quiet and not self.json:
            _write(sys.stderr, text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows under headings on stdout, each column as wide as its widest cell.

        Args:
            columns: The headings. A heading that ends in `>` aligns its column to the right.
            rows: The cells of each row.
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

    def error(self, error: Error) -> None:
        """Print an error: its sentence and its hint on stderr, or one JSON object on stdout."""
        if self.json:
            _write(sys.stdout, json.dumps(error_json(error), ensure_ascii=False))
            return
        red, reset = ("\x1b[31m", "\x1b[0m") if self._uses_red() else ("", "")
        _write(sys.stderr, f"{red}modelshelf: {error}{reset}")
        if error.hint:
            _write(sys.stderr, f"  {error.hint}")

    def event(self, event: Event) -> None:
        """Print an event as a JSON line on stdout, or as a message for people."""
        if self.json:
            _write(sys.stdout, json.dumps(event.to_json(), ensure_ascii=False))
        elif text := sentence(event):
            self.note(text)

    def _uses_red(self) -> bool:
        return self.color and sys.stderr.isatty()


def error_json(error: Error) -> Mapping[str, Any]:
    """An error as the JSON object that programs read."""
    return {
        "event": "error",
        "message": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def _write(stream: Any, text: str) -> None:  # noqa: ANN401 - sys.stdout and sys.stderr
    stream.write(text + "\n")
    stream.flush()
