"""`modelshelf up`: bring a cluster to what modelshelf.yaml says."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def up(  # noqa: PLR0913 - one for each option
    run: FileRun,
    *,
    locked: kube.LockedOption = False,
    token_file: kube.TokenFileOption = None,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over objects that are not ours.")
    ] = False,
    refresh_code: Annotated[
        bool,
        typer.Option("--refresh-code", help="Give servers this version's code: restarts them."),
    ] = False,
    no_ask: Annotated[bool, typer.Option("--no-ask", help="Ask servers nothing at the end.")] = (
        False
    ),
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Bring a cluster to what modelshelf.yaml says: models on the shelf, servers that answer.

    Models that are not in modelshelf.lock yet are resolved and written there. Run twice, it
    changes nothing; interrupted, it goes on where it stopped.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(run, context, kubeconfig) as it:
        token = kube.token_for(it, token_file)
        lock = kube.resolved(run, it, locked=locked, token=token)
        options = kubernetes.Options(token, force_conflicts, refresh_code, ask=not no_ask)
        with run.output.progress("") as listener:
            kubernetes.up(it.site(listener, timeout), lock, options)
