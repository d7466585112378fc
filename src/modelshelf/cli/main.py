"""`modelshelf`: from arguments to an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelshelf.cli import (
    bench,
    diff,
    down,
    init,
    lock,
    logs,
    ls,
    mirror,
    path,
    prime,
    pull,
    render,
    rm,
    rollback,
    scale,
    serve,
    show,
    status,
    tag,
    up,
    verify,
)
from modelshelf.shelf.version import __version__

app = typer.Typer(
    name="modelshelf",
    help="Download a model once. Serve it from every pod.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"modelshelf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Download a model once. Serve it from every pod."""


for command in (
    pull.pull,
    ls.ls,
    show.show,
    path.path,
    verify.verify,
    tag.tag,
    rm.rm,
    serve.serve,
    mirror.mirror,
    init.init,
    lock.lock,
    render.render,
    diff.diff,
    up.up,
    prime.prime,
    status.status,
    scale.scale,
    rollback.rollback,
    logs.logs,
    down.down,
):
    app.command()(command)
app.add_typer(bench.app)


def main(argv: list[str]) -> int:
    """Run a command line.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        The exit code.
    """
    try:
        app(argv, prog_name="modelshelf")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def entry() -> None:
    """The installed program."""
    sys.exit(main(sys.argv[1:]))
