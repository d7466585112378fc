"""`modelshelf scale`: set how many pods a server has."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def scale(  # noqa: PLR0913 - one for each option
    run: FileRun,
    server: kube.ServerArgument,
    replicas: Annotated[int, typer.Argument(min=0, metavar="REPLICAS", help="How many pods.")],
    *,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Set how many pods a server has, and wait until they are ready.

    Nothing is downloaded: new pods load from the shelf. The next up keeps the number.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(run, context, kubeconfig) as it:
        kubernetes.scale(it.site(run.output.event, timeout), server, replicas)
