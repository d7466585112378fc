"""`modelshelf prime`: let an engine compile once, for every later start."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def prime(  # noqa: PLR0913 - one for each option
    run: FileRun,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="A key of `servers`.")],
    *,
    locked: kube.LockedOption = False,
    token_file: kube.TokenFileOption = None,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Compile once, and keep what was made on the shelf for every later start.

    A Job with what the server's pods have runs its engine once. Pods that serve go on; those that
    start later unpack what it made. up does so by itself for servers that say prime: true.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(run, context, kubeconfig) as it:
        token = kube.token_for(it, token_file)
        lock = kube.resolved(run, it, locked=locked, token=token)
        with run.output.progress("") as listener:
            kubernetes.prime(it.site(listener, timeout), lock, server, token)
