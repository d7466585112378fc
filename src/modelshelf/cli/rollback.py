"""`modelshelf rollback`: return a server to its snapshot before."""

from __future__ import annotations

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def rollback(
    run: FileRun,
    server: kube.ServerArgument,
    *,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Return a server to the snapshot that it served before.

    modelshelf.lock is changed accordingly. Nothing is downloaded and no Hub is asked, since the
    snapshot is still on the shelf.
    """
    with kube.opened(run, context, kubeconfig) as it:
        kubernetes.rollback(it.site(run.output.event, timeout), it.lock, server, keep=it.keep)
