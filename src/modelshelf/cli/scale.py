"""`modelshelf scale`: set how many pods a server has."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def scale(  # noqa: PLR0913 - one for each option
    run: FileRun,
    server: kube.ServerArgument,
    replicas: Annotated[int, typer.Argument(min=0, metavar="REPLICAS", help="The number of pods.")],
    *,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Set how many pods a server has, and wait until they are ready.

    Nothing is downloaded, since new pods load the model from the shelf. The next `up` keeps the
    number.
    """
    with kube.opened(run, context, kubeconfig) as it:
        kubernetes.scale(it.site(run.output.event, timeout), server, replicas)
