"""`modelshelf show`: one model's snapshots, tags and files."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import formats
from modelshelf.cli.ls import summary, tags_of
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.missing_files import find_missing_files
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A model as org/name, org/name@tag or org/name@id."),
]


@verb
def show(run: Run, model: ModelArgument) -> None:
    """Show a snapshot's source, its files and the model's other snapshots."""
    shelf = Shelf(run.shelf)
    snapshot = shelf.find(model)
    tags = shelf.tags(snapshot.repo_id)
    missing = find_missing_files(snapshot)
    run.output.document(
        {
            **summary(snapshot, tags, missing),
            "files": [file.to_json() for file in snapshot.files],
            "tags": tags,
            "snapshots": [s.id for s in shelf.snapshots(snapshot.repo_id)],
        }
    )
    lines = {
        "model": snapshot.repo_id,
        "snapshot": snapshot.id,
        "source": f"{snapshot.source}, revision {snapshot.revision}",
        "pulled": f"{formats.date(snapshot.created)} by {snapshot.tool}",
        "path": snapshot.path or "",
        "tags": ", ".join(tags_of(snapshot, tags)) or "none",
    }
    for name, value in lines.items():
        run.output.data(f"{name:<10}{value}")
    run.output.data("")
    run.output.table(
        ("FILE", "SIZE>", "SHA256"),
        [
            (
                f.path,
                formats.size(f.size),
                "missing" if f in missing else (f.sha256 or "")[:16],
            )
            for f in snapshot.files
        ],
    )
    if ModelRef.parse(model).at is None:
        others = [s for s in shelf.snapshots(snapshot.repo_id) if s.id != snapshot.id]
        for other in others:
            tagged = ", ".join(tags_of(other, tags))
            run.output.data(
                f"also here: {other.id} {formats.date(other.created)} {tagged}".rstrip()
            )
