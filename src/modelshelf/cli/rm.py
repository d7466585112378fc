"""`modelshelf rm`: remove a snapshot from the shelf."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import formats
from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.trash import TRASH_GRACE_SECONDS
from modelshelf.shelf.values import ModelRef


@verb
def rm(
    run: Run,
    model: ModelArgument,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it although tags point at it.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Delete the files at once.")] = False,
) -> None:
    """Remove a snapshot from the shelf.

    Its files are moved to the trash. The first pull or rm after an hour deletes them. A snapshot
    that is being served is refused, and so is one with tags unless --force is given.
    """
    shelf = Shelf(run.shelf)
    ref = ModelRef.parse(model)
    snapshots = shelf.snapshots(ref.repo_id)
    if ref.at is None and len(snapshots) > 1:
        raise UsageError(
            f"{ref.repo_id} has several snapshots: {', '.join(s.id for s in snapshots)}",
            hint="name one: modelshelf rm org/name@first-digits-of-its-id",
        )
    snapshot = shelf.find(ref)
    shelf.remove(snapshot, force=force)
    shelf.empty_trash(0 if now else TRASH_GRACE_SECONDS)
    run.output.document({"id": snapshot.id, "repo_id": snapshot.repo_id, "bytes": snapshot.size})
    when = "were deleted" if now else "are in the trash, deleted in an hour by the next pull or rm"
    run.output.note(
        f"{snapshot.repo_id}@{formats.short_id(snapshot.id)}: {formats.size(snapshot.size)} {when}"
    )
