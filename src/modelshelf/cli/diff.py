"""`modelshelf diff`: what `up` would change."""

from __future__ import annotations

import dataclasses

from modelshelf.cli import kube
from modelshelf.cli.verb import FileRun, file_verb


@file_verb
def diff(
    run: FileRun,
    *,
    locked: kube.LockedOption = False,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Show what up would change in the cluster, as the API server says in a dry run.

    modelshelf.lock is not written. The exit code is 0 whether there are changes or not.
    """
    from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs need it

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
