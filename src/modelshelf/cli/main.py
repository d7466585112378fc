"""`modelshelf`: the list of commands, and the way from arguments to an exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from modelshelf.cli.lazy import LazyCommand
from modelshelf.shelf.version import __version__

# Name → module and summary. The summary is the first sentence of the command's own help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "pull": (
        "modelshelf.cli.pull",
        "Download a model to the shelf and verify every byte of it.",
    ),
    "ls": (
        "modelshelf.cli.ls",
        "List the snapshots on the shelf, the newest first.",
    ),
    "show": (
        "modelshelf.cli.show",
        "Show a snapshot's source, its files and the model's other snapshots.",
    ),
    "path": (
        "modelshelf.cli.path",
        "Print the folder of a model, for use in other commands.",
    ),
    "verify": (
        "modelshelf.cli.verify",
        "Hash the files on the shelf again and name those that are damaged.",
    ),
    "tag": (
        "modelshelf.cli.tag",
        "Point a tag at a snapshot; a tag is a name that can be moved.",
    ),
    "rm": (
        "modelshelf.cli.rm",
        "Remove a snapshot from the shelf.",
    ),
    "serve": (
        "modelshelf.cli.serve",
        "Serve a model on this machine through an OpenAI-compatible API.",
    ),
    "mirror": (
        "modelshelf.cli.mirror",
        "Serve the shelf to Hub clients, as a read-only Hugging Face Hub.",
    ),
    "init": (
        "modelshelf.cli.init",
        "Write a first modelshelf.yaml with one model and one server.",
    ),
    "lock": (
        "modelshelf.cli.lock",
        "Write the commit and the checksums of each model to modelshelf.lock.",
    ),
    "render": (
        "modelshelf.cli.render",
        "Write the Kubernetes objects as YAML, without a cluster.",
    ),
    "diff": (
        "modelshelf.cli.diff",
        "Show what `up` would change in the cluster.",
    ),
    "up": (
        "modelshelf.cli.up",
        "Change the cluster to what modelshelf.yaml says.",
    ),
    "prime": (
        "modelshelf.cli.prime",
        "Fill an engine's compile cache once, for every later start.",
    ),
    "status": (
        "modelshelf.cli.status",
        "Show the state of each server and model in the cluster.",
    ),
    "scale": (
        "modelshelf.cli.scale",
        "Set how many pods a server has, and wait until they are ready.",
    ),
    "rollback": (
        "modelshelf.cli.rollback",
        "Return a server to the snapshot that it served before.",
    ),
    "logs": (
        "modelshelf.cli.logs",
        "Show the logs of a server's pods, or of a model's pull.",
    ),
    "down": (
        "modelshelf.cli.down",
        "Remove the objects of modelshelf.yaml from the cluster.",
    ),
}
BENCH: Mapping[str, tuple[str, str]] = {
    "coldstart": (
        "modelshelf.cli.bench",
        "Start a model several times and show what each start consists of.",
    ),
}


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"modelshelf {__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Download a model once. Serve it from every pod."""


def program() -> TyperGroup:
    """The whole command line; no command's module is imported yet."""
    app = typer.Typer(
        name="modelshelf",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    group = get_command(app)
    assert isinstance(group, TyperGroup)  # noqa: S101 - an app with a callback is a group
    _add(group, COMMANDS)
    bench = TyperGroup(
        name="bench",
        help="Measure how servers start.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    _add(bench, BENCH)
    group.add_command(bench)
    return group


def _add(group: TyperGroup, commands: Mapping[str, tuple[str, str]]) -> None:
    for name, (module, summary) in commands.items():
        group.add_command(LazyCommand(name, module, summary))


def main(argv: list[str]) -> int:
    """Run a command line.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        The exit code.
    """
    try:
        program()(argv, prog_name="modelshelf")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def entry() -> None:
    """The installed program."""
    # By default, Python searches for unreachable objects after every 700 new ones. A start creates
    # some hundred thousand objects and hardly any that become unreachable.
    gc.set_threshold(50_000)
    sys.exit(main(sys.argv[1:]))
