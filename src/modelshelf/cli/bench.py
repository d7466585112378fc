"""`modelshelf bench coldstart`: what starts are made of, again and again, as table and chart."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelshelf.cli import kube
from modelshelf.cli.serve import (
    ArgumentsArgument,
    ContextLengthOption,
    EngineOption,
    EnginePythonOption,
    FastStartOption,
    ParallelOption,
    ThreadsOption,
)
from modelshelf.cli.verb import DEFAULT_FILE, FileOption, FileRun, Run, verb
from modelshelf.cli.words import count
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.files import explained
from modelshelf.shelf.shelf import Shelf

if TYPE_CHECKING:
    from modelshelf.engines.timeline import Timeline

app = typer.Typer(
    name="bench", no_args_is_help=True, help="Measure what is served.", rich_markup_mode=None
)


@verb
def coldstart(  # noqa: PLR0913 - one for each option
    run: Run,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of the shelf, started here.")
    ] = None,
    arguments: ArgumentsArgument = None,
    *,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="SERVER", help="Of modelshelf.yaml: its pods instead."),
    ] = None,
    starts: Annotated[int, typer.Option("--starts", min=1, help="How many.")] = 3,
    chart: Annotated[
        str | None, typer.Option("--chart", metavar="SVG", help="Write a chart there.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="MD", help="Write a table there.")
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Drop the model from memory before each start here.")
    ] = False,
    engine: EngineOption = "llamacpp",
    engine_python: EnginePythonOption = None,
    context_length: ContextLengthOption = None,
    parallel: ParallelOption = None,
    threads: ThreadsOption = None,
    fast_start: FastStartOption = None,
    file: FileOption = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Start a model again and again, and show what each start was made of.

    Here a process is started and ended each time. On Kubernetes a pod of --server is deleted each
    time, and the one that comes in its place is looked at.
    """
    from modelshelf.cli.timelines import draw  # noqa: PLC0415 - slow, and only some verbs need it
    from modelshelf.engines import timeline_chart  # noqa: PLC0415

    if (model is None) == (server is None):
        raise UsageError("coldstart takes a MODEL of the shelf or a --server", hint="one of them")
    _require_folders(chart, table)
    if server is None:
        options = {
            "engine": engine,
            "engine_python": engine_python,
            "context_length": context_length,
            "parallel": parallel,
            "threads": threads,
            "fast_start": fast_start,
            "extra": arguments or (),
        }
        found = _here(run, str(model), starts, options, cold=cold)
    else:
        where = _Where(FileRun(file, run.output), context, kubeconfig, timeout, yes)
        found = _on_kubernetes(where, server, starts)
    rows = []
    for label, start in found:
        rows.append((label, start))
        run.output.line({"start": label, **start.to_json()})
        draw(run.output, label, start)
    told = timeline_chart.format_table(rows)
    run.output.data(f"\n{told}")
    title = f"{server or model}: {count(len(rows), 'start')}"
    _write(((chart, timeline_chart.draw_chart(title, rows)), (table, told)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Where:
    """Which cluster, and whether its pods may be deleted without a question."""

    run: FileRun
    context: str | None
    kubeconfig: str | None
    timeout: float | None
    yes: bool


def _here(
    run: Run, model: str, starts: int, options: Mapping[str, Any], *, cold: bool
) -> Iterator[tuple[str, Timeline]]:
    from modelshelf.engines import engine_named  # noqa: PLC0415 - slow, only some verbs need it
    from modelshelf.targets import local  # noqa: PLC0415

    shelf = Shelf(run.shelf)
    snapshot = shelf.find(model, accept=engine_named(options["engine"]).accepts)

    def serve(folder: str) -> local.Server:
        return local.serve(model, shelf=shelf, port=0, log_dir=folder, drain=0.0, **options)

    # What a start said is kept where it failed: the error names it.
    folder = tempfile.mkdtemp(prefix="modelshelf-")
    found = local.coldstarts(serve, starts, folder, snapshot if cold else None)
    yield from ((f"start {number}", start) for number, start in enumerate(found, 1))
    shutil.rmtree(folder, ignore_errors=True)


def _on_kubernetes(where: _Where, server: str, starts: int) -> Iterator[tuple[str, Timeline]]:
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(where.run, where.context, where.kubeconfig) as it:
        question = f"Delete {count(starts, 'pod')} of {server}, one after another? [y/N] "
        if not kube.confirmed(where.run, question, expected="y", yes=where.yes):
            where.run.output.note("nothing was deleted")
            raise typer.Exit(1)
        site = it.site(where.run.output.event, where.timeout)
        for each in kubernetes.coldstarts(site, server, starts):
            yield each.pod.removeprefix(f"{server}-"), each.timeline


def _require_folders(*paths: str | None) -> None:
    """Find out before the first start whether what comes of it can be written."""
    for path in filter(None, paths):
        folder = os.path.dirname(os.path.abspath(path))
        if not os.access(folder, os.W_OK):
            raise UsageError(f"{path} cannot be written", hint=f"is {folder} a folder of yours?")


def _write(pages: Iterable[tuple[str | None, str]]) -> None:
    for path, text in pages:
        if path:
            with explained(path), open(path, "w", encoding="utf-8") as file:
                file.write(text)


app.command()(coldstart)
