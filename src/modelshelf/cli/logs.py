"""`modelshelf logs`: what pods say."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def logs(  # noqa: PLR0913 - one for each option
    run: FileRun,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A key of `servers` or `models`.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="N", help="The last lines of each pod.")
    ] = None,
    pod: Annotated[str | None, typer.Option("--pod", help="Of one pod alone.")] = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Show what a server's pods say, or what a model's pull said.

    With several pods, each line begins with its pod's name.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(run, context, kubeconfig) as it:
        choice = kubernetes.LogChoice(follow, tail, pod)
        for line in kubernetes.logs(it.site(run.output.event), name, choice):
            if run.output.json:
                run.output.line({"name": line.name, "pod": line.pod, "line": line.text})
            else:
                run.output.data(f"{line.pod}  {line.text}" if line.several else line.text)
