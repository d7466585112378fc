"""`modelshelf tag`: movable names for snapshots."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import words
from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.shelf import Shelf


@verb
def tag(
    run: Run, model: ModelArgument, name: Annotated[str, typer.Argument(metavar="TAG")]
) -> None:
    """Point a tag at a snapshot."""
    shelf = Shelf(run.shelf)
    snapshot = shelf.find(model)
    shelf.tag(snapshot, name)
    run.output.document({"id": snapshot.id, "repo_id": snapshot.repo_id, "tag": name})
    run.output.note(f"{snapshot.repo_id}@{name} is {words.short(snapshot.id)}")
