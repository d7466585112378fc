"""`modelshelf up`: change a cluster to what modelshelf.yaml says."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.bars import progress
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def up(  # noqa: PLR0913 - one for each option
    run: FileRun,
    *,
    locked: kube.LockedOption = False,
    token_file: kube.TokenFileOption = None,
    force_conflicts: Annotated[
        bool,
        typer.Option(
            "--force-conflicts",
            help="Take over objects that do not belong to this modelshelf.yaml.",
        ),
    ] = False,
    refresh_code: Annotated[
        bool,
        typer.Option(
            "--refresh-code",
            help="Give running servers the code of this version, which restarts them.",
        ),
    ] = False,
    no_ask: Annotated[
        bool, typer.Option("--no-ask", help="Do not send a test question to the servers.")
    ] = False,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Change the cluster to what modelshelf.yaml says.

    Models that are not on the shelf are pulled, then servers are started and asked one question.
    Models that modelshelf.lock lacks are added to it. A second run changes nothing. A run after an
    interruption continues where the last one stopped.
    """
    with kube.opened(run, context, kubeconfig) as it:
        token = kube.token_for(it, token_file)
        lock = kube.resolved(run, it, locked=locked, token=token)
        options = kubernetes.Options(token, force_conflicts, refresh_code, ask=not no_ask)
        with progress(run.output) as listener:
            kubernetes.up(it.site(listener, timeout), lock, options)
