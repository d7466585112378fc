"""A command whose module is imported when the command is called.

`modelshelf --help` and shell completion need the names and summaries of all commands, but none of
their modules. Those import pydantic, an HTTP client and more, which takes longer than everything
else that a short command does.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


class LazyCommand(TyperCommand):
    """A command of which only the name and the summary are known before it is called.

    Args:
        name: The command's name, which is also the name of the function in its module.
        module: The module's full dotted name.
        summary: One sentence for the list of commands.
    """

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, short_help=summary, rich_markup_mode=None)
        self.function = name
        self.module = module

    def make_context(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's types are private in typer
        """Parse the command's arguments, as its own module declares them.

        Everything that needs more than name and summary starts here: a call, the command's own
        `--help` and the completion of its options.
        """
        return self.load().make_context(*args, **extra)

    def load(self) -> Any:  # noqa: ANN401 - click's types are private in typer
        """Import the module and return the whole command."""
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(self.function)(getattr(importlib.import_module(self.module), self.function))
        return get_command(app)
