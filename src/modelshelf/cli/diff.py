"""`modelshelf diff`: the changes that `up` would make."""

from __future__ import annotations

import dataclasses

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def diff(
    run: FileRun,
    *,
    locked: kube.LockedOption = False,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Show what `up` would change in the cluster.

    The API server computes the changes in a dry run. modelshelf.lock is not written. The exit code
    is 0 whether there are changes or not.
    """
    with kube.opened(run, context, kubeconfig) as it:
        lock = kube.resolved(run, it, locked=locked, write=False)
        changes = kubernetes.diff(it.site(run.output.event), lock)
    run.output.document([dataclasses.asdict(change) for change in changes])
    for change in changes:
        run.output.data(f"{change.how:<8} {change.kind}/{change.name}")
        for line in change.diff:
            run.output.data(f"    {line}")
    if not changes:
        run.output.note("up would change nothing")
