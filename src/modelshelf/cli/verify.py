"""`modelshelf verify`: hash the files on the shelf again."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.bars import progress
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.verify import verify as verify_snapshots


@verb
def verify(
    run: Run,
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Models to verify; all by default."),
    ] = None,
) -> None:
    """Hash the files on the shelf again and name those that are damaged.

    A file is damaged if its checksum is not the one that was published.
    """
    shelf = Shelf(run.shelf)
    snapshots = [shelf.find(model) for model in models] if models else shelf.snapshots()
    with progress(run.output, "verifying") as listener:
        faults = verify_snapshots(snapshots, listener=listener)
    if faults:
        first = faults[0]
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise IntegrityError(
            f"{first.file.path} of {first.snapshot.repo_id} is damaged{more}: {first.problem}",
            hint=f"modelshelf rm {first.snapshot.repo_id}@{first.snapshot.id[:12]}, then pull it "
            "again",
        )
    if not snapshots:
        run.output.note("nothing to verify: the shelf is empty")
