"""`modelshelf bench coldstart`: what several starts of a model consist of, as text and files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from modelshelf.cli import kube
from modelshelf.cli.formats import count
from modelshelf.cli.output import Output
from modelshelf.cli.serve import (
    ArgumentsArgument,
    ContextLengthOption,
    EngineOption,
    EnginePythonOption,
    FastStartOption,
    ParallelOption,
    ThreadsOption,
)
from modelshelf.cli.timelines import draw
from modelshelf.cli.verb import DEFAULT_FILE, FileOption, FileRun, Run, verb
from modelshelf.engines import engine_named, timeline_chart
from modelshelf.engines.timeline import Timeline
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.files import explain_os_errors
from modelshelf.shelf.shelf import Shelf
from modelshelf.targets import kubernetes, local

LabelledStart = tuple[str, Timeline]


@verb
def coldstart(  # noqa: PLR0913 - one for each option
    run: Run,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A model on the shelf, to be started here."),
    ] = None,
    arguments: ArgumentsArgument = None,
    *,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="SERVER",
            help="A key of `servers` in modelshelf.yaml, whose pods are started instead.",
        ),
    ] = None,
    starts: Annotated[int, typer.Option("--starts", min=1, help="The number of starts.")] = 3,
    chart: Annotated[
        str | None, typer.Option("--chart", metavar="SVG", help="A file to write a chart to.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="MD", help="A file to write a Markdown table to."),
    ] = None,
    cold: Annotated[
        bool,
        typer.Option("--cold", help="Drop the MODEL from this machine's memory before each start."),
    ] = False,
    engine: EngineOption = "llamacpp",
    engine_python: EnginePythonOption = None,
    context_length: ContextLengthOption = None,
    parallel: ParallelOption = None,
    threads: ThreadsOption = None,
    fast_start: FastStartOption = None,
    file: FileOption = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Start a model several times and show what each start consists of.

    A MODEL is started on this machine and ended each time. With --server, a pod of the server is
    deleted each time, and the start of the pod that replaces it is shown.
    """
    _require_one_of(model, server)
    _require_writable(chart, table)
    if model is not None:
        options = {
            "engine": engine,
            "engine_python": engine_python,
            "context_length": context_length,
            "parallel": parallel,
            "threads": threads,
            "fast_start": fast_start,
            "extra": arguments or (),
        }
        found = _local_starts(_LocalModel(run.shelf, model, options), starts, cold=cold)
    else:
        pods = _Pods(FileRun(file, run.output), str(server), context, kubeconfig, timeout)
        found = _pod_starts(pods, starts, yes=yes)
    rows = list(_shown(run.output, found))
    markdown = timeline_chart.format_table(rows)
    run.output.data(f"\n{markdown}")
    title = f"{server or model}: {count(len(rows), 'start')}"
    _write(chart, timeline_chart.draw_chart(title, rows))
    _write(table, markdown)


@dataclasses.dataclass(frozen=True, slots=True)
class _LocalModel:
    """A model on this machine, and the options to serve it with.

    Attributes:
        shelf: The shelf's folder.
        model: The model's name on the shelf.
        options: Arguments for `targets.local.serve`.
    """

    shelf: str
    model: str
    options: dict[str, Any]

    def serve(self, log_dir: str) -> local.Server:
        return local.serve(
            self.model, shelf=self.shelf, port=0, log_dir=log_dir, drain=0.0, **self.options
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Pods:
    """The pods of a server in a cluster, and how to reach them.

    Attributes:
        run: Names the modelshelf.yaml, and prints messages.
        server: A key of `servers` in it.
        context: The kubeconfig's context; None for the default.
        kubeconfig: The kubeconfig; None for the default.
        timeout: The longest time for each wait, in seconds; None for the default.
    """

    run: FileRun
    server: str
    context: str | None
    kubeconfig: str | None
    timeout: float | None


def _local_starts(served: _LocalModel, starts: int, *, cold: bool) -> Iterator[LabelledStart]:
    accepts = engine_named(served.options["engine"]).accepts
    snapshot = Shelf(served.shelf).find(served.model, accept=accepts)
    logs = tempfile.mkdtemp(prefix="modelshelf-")
    found = local.coldstarts(served.serve, starts, logs, snapshot if cold else None)
    yield from ((f"start {number}", start) for number, start in enumerate(found, 1))
    # After an error the logs stay, because the error names them.
    shutil.rmtree(logs, ignore_errors=True)


def _pod_starts(pods: _Pods, starts: int, *, yes: bool) -> Iterator[LabelledStart]:
    with kube.opened(pods.run, pods.context, pods.kubeconfig) as it:
        question = f"Delete {count(starts, 'pod')} of {pods.server}, one after another? [y/N] "
        if not kube.confirmed(pods.run, question, expected="y", yes=yes):
            pods.run.output.note("nothing was deleted")
            raise typer.Exit(1)
        site = it.site(pods.run.output.event, pods.timeout)
        for each in kubernetes.coldstarts(site, pods.server, starts):
            yield each.pod.removeprefix(f"{pods.server}-"), each.timeline


def _shown(output: Output, starts: Iterable[LabelledStart]) -> Iterator[LabelledStart]:
    """Pass starts on, and print each as soon as it is known."""
    for label, start in starts:
        output.line({"start": label, **start.to_json()})
        draw(output, label, start)
        yield label, start


def _require_one_of(model: str | None, server: str | None) -> None:
    if (model is None) == (server is None):
        raise UsageError(
            "coldstart takes a MODEL of the shelf or a --server", hint="give one of the two"
        )


def _require_writable(*paths: str | None) -> None:
    """Refuse files that cannot be written before the first start rather than after the last."""
    for path in filter(None, paths):
        folder = os.path.dirname(os.path.abspath(path))
        if not os.access(folder, os.W_OK):
            raise UsageError(
                f"{path} cannot be written", hint=f"check that you may write to {folder}"
            )


def _write(path: str | None, text: str) -> None:
    if path is not None:
        with explain_os_errors(path), open(path, "w", encoding="utf-8") as file:
            file.write(text)
