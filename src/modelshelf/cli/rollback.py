"""`modelshelf rollback`: give a server the snapshot that it had before."""

from __future__ import annotations

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def rollback(
    run: FileRun,
    server: kube.ServerArgument,
    *,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Give a server the snapshot that it had before; modelshelf.lock says so, too.

    Nothing is downloaded and no hub is asked: the shelf has it still.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

    with kube.opened(run, context, kubeconfig) as it:
        kubernetes.rollback(it.site(run.output.event, timeout), it.lock, server, keep=it.keep)
