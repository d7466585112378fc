"""What every verb has: the common options, and errors that become exit codes."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from modelshelf.cli.output import Output
from modelshelf.shelf.errors import Error

DEFAULT_SHELF = "~/.local/share/modelshelf"
DEFAULT_FILE = "modelshelf.yaml"
_P = ParamSpec("_P")
_R = TypeVar("_R", "Run", "FileRun")

ShelfOption = Annotated[
    str,
    typer.Option(
        "--shelf", envvar="MODELSHELF_DIR", metavar="DIR", help="The shelf.", show_envvar=True
    ),
]
FileOption = Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="modelshelf.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No words but errors.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="No colours; also NO_COLOR.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "json_": (JsonOption, False),
    "quiet_": (QuietOption, False),
    "no_color_": (NoColorOption, False),
    "debug_": (DebugOption, False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of a verb: which shelf it means, and where its words go."""

    shelf: str
    output: Output


@dataclasses.dataclass(frozen=True, slots=True)
class FileRun:
    """One run of a verb that works from a modelshelf.yaml, and where its words go."""

    file: str
    output: Output


def verb(function: Callable[Concatenate[Run, _P], None]) -> Callable[..., None]:
    """Make a function that takes a `Run` first into a command with the common options.

    An `Error` is shown and becomes the exit code; Ctrl-C exits with 130; anything else is
    unexpected, exits with 1, and shows its traceback with --debug.
    """
    return _command(function, ShelfOption, DEFAULT_SHELF, _shelf_run)


def file_verb(function: Callable[Concatenate[FileRun, _P], None]) -> Callable[..., None]:
    """Make a function that takes a `FileRun` first into a command; as `verb`, with --file."""
    return _command(function, FileOption, DEFAULT_FILE, FileRun)


def _shelf_run(shelf: str, output: Output) -> Run:
    return Run(os.path.expanduser(shelf), output)


def _command(
    function: Callable[Concatenate[_R, _P], None],
    option: Any,  # noqa: ANN401 - an annotation
    default: str,
    make_run: Callable[[str, Output], _R],
) -> Callable[..., None]:
    @functools.wraps(function)
    def command(**options: Any) -> None:  # noqa: ANN401 - whatever typer read
        where = options.pop("where_")
        common = {name: options.pop(name) for name in _COMMON}
        output = Output(json=common["json_"], quiet=common["quiet_"], color=not common["no_color_"])
        _explained(lambda: function(make_run(where, output), **options), output, common)  # type: ignore[call-arg]

    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=value)
        for name, (kind, value) in {"where_": (option, default), **_COMMON}.items()
    ]
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in keyword_only}
    return command


def _explained(work: Callable[[], None], output: Output, common: Mapping[str, Any]) -> None:
    try:
        work()
    except Error as error:
        _trace(common)
        output.error(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except BrokenPipeError:
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 - the last place where it can be explained
        _trace(common)
        output.error(
            Error(f"unexpected: {type(error).__name__}: {error}", hint="--debug shows where")
        )
        raise typer.Exit(1) from None


def _trace(common: Mapping[str, Any]) -> None:
    if common["debug_"]:
        traceback.print_exc()
