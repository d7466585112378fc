"""`modelshelf down`: remove the objects of a modelshelf.yaml from its cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import formats, kube
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes


@file_verb
def down(  # noqa: PLR0913 - one for each option
    run: FileRun,
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the models' files on the share.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Remove the objects of modelshelf.yaml from the cluster.

    Servers are removed first. The models' files stay on the share, where the next `up` finds them,
    unless --purge is given.
    """
    with kube.opened(run, context, kubeconfig) as it:
        site = it.site(run.output.event, timeout)
        found = kubernetes.list_removals(site)
        namespace, name = it.config.namespace, it.config.name
        run.output.note(
            f"{it.cluster.server} (context {it.cluster.context}), namespace {namespace}: "
            f"{formats.count(len(found), 'object')} of the file named {name}"
        )
        for key in found:
            run.output.note(f"  {key}")
        expected, question = "y", "Remove them? [y/N] "
        if purge:
            models = ", ".join(kubernetes.repo_ids(it.config, it.lock)) or "no models"
            run.output.note(f"and their files on the share: {models}")
            expected, question = name, f"Type {name} to remove them and delete the files: "
        if not kube.confirmed(run, question, expected=expected, yes=yes):
            run.output.note("nothing was removed")
            raise typer.Exit(1)
        kubernetes.down(site, it.lock, purge=purge)
