"""What all verbs share: common options, and the way from an error to an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import os
import signal
import traceback
from collections.abc import Callable, Iterator
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
        "--shelf",
        envvar="MODELSHELF_DIR",
        metavar="DIR",
        help="The shelf's folder.",
        show_envvar=True,
    ),
]
FileOption = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE", help="The modelshelf.yaml to read.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print no messages but errors.")]
NoColorOption = Annotated[
    bool, typer.Option("--no-color", help="Use no colours; NO_COLOR does the same.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "json_": (JsonOption, False),
    "quiet_": (QuietOption, False),
    "no_color_": (NoColorOption, False),
    "debug_": (DebugOption, False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of a verb that works on a shelf.

    Attributes:
        shelf: The shelf's folder.
        output: Where results and messages are printed.
    """

    shelf: str
    output: Output


@dataclasses.dataclass(frozen=True, slots=True)
class FileRun:
    """One run of a verb that works from a modelshelf.yaml.

    Attributes:
        file: The path of the modelshelf.yaml.
        output: Where results and messages are printed.
    """

    file: str
    output: Output


def verb(function: Callable[Concatenate[Run, _P], None]) -> Callable[..., None]:
    """Make a command of a function that takes a `Run` first: it gets --shelf and common options.

    The command prints an `Error` and exits with the error's own code. Ctrl-C exits with 130. Any
    other exception is a bug: it exits with 1, and --debug shows its traceback.
    """
    return _command(function, ShelfOption, DEFAULT_SHELF, _shelf_run)


def file_verb(function: Callable[Concatenate[FileRun, _P], None]) -> Callable[..., None]:
    """Make a command of a function that takes a `FileRun` first: `verb` with --file."""
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
    def command(**options: Any) -> None:  # noqa: ANN401 - as typer parsed them
        path = options.pop("path_")
        common = {name: options.pop(name) for name in _COMMON}
        output = Output(json=common["json_"], quiet=common["quiet_"], color=not common["no_color_"])
        with _errors_reported(output, debug=common["debug_"]):
            function(make_run(path, output), **options)  # type: ignore[call-arg]

    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=value)
        for name, (kind, value) in {"path_": (option, default), **_COMMON}.items()
    ]
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in keyword_only}
    return command


@contextlib.contextmanager
def _errors_reported(output: Output, *, debug: bool) -> Iterator[None]:
    try:
        yield
    except Error as error:
        _print_traceback(debug=debug)
        output.error(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except BrokenPipeError:
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 - nothing above this could explain it
        _print_traceback(debug=debug)
        output.error(
            Error(
                f"unexpected: {type(error).__name__}: {error}",
                hint="this is a bug; --debug shows where it happened",
            )
        )
        raise typer.Exit(1) from None


def _print_traceback(*, debug: bool) -> None:
    if debug:
        traceback.print_exc()
