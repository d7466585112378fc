"""`modelshelf rm`: take a snapshot from the shelf."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import words
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
    force: Annotated[bool, typer.Option("--force", help="Although tags name it.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Delete the bytes at once.")] = False,
) -> None:
    """Take a snapshot from the shelf; its bytes are deleted an hour later, by the next pull or rm.

    A model that is being served, or that tags name, stays.
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
        f"{snapshot.repo_id}@{words.short(snapshot.id)}: {words.size(snapshot.size)} {when}"
    )
