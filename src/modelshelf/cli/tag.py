"""`modelshelf tag`: names for snapshots that can be moved."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import formats
from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.shelf import Shelf


@verb
def tag(
    run: Run,
    model: ModelArgument,
    name: Annotated[str, typer.Argument(metavar="TAG", help="The tag, such as prod.")],
) -> None:
    """Point a tag at a snapshot; a tag is a name that can be moved."""
    shelf = Shelf(run.shelf)
    snapshot = shelf.find(model)
    shelf.tag(snapshot, name)
    run.output.document({"id": snapshot.id, "repo_id": snapshot.repo_id, "tag": name})
    run.output.note(f"{snapshot.repo_id}@{name} is {formats.short_id(snapshot.id)}")
