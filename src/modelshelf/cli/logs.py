"""`modelshelf logs`: the logs of pods."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def logs(  # noqa: PLR0913 - one for each option
    run: FileRun,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A key of `servers` or `models` in modelshelf.yaml."),
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Print new lines until Ctrl-C.")] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", min=0, metavar="N", help="Print the last N lines of each pod only."),
    ] = None,
    pod: Annotated[
        str | None, typer.Option("--pod", metavar="POD", help="Print the lines of this pod only.")
    ] = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Show the logs of a server's pods, or of a model's pull.

    If there are several pods, each line begins with the name of its pod.
    """
    with kube.opened(run, context, kubeconfig) as it:
        choice = kubernetes.LogChoice(follow, tail, pod)
        for line in kubernetes.logs(it.site(run.output.event), name, choice):
            if run.output.json:
                run.output.line({"name": line.name, "pod": line.pod, "line": line.text})
            else:
                run.output.data(f"{line.pod}  {line.text}" if line.several else line.text)
