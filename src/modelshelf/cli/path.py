"""`modelshelf path`: the folder of a model, for other commands."""

from __future__ import annotations

from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.missing_files import require_whole
from modelshelf.shelf.shelf import Shelf


@verb
def path(run: Run, model: ModelArgument) -> None:
    """Print the folder of a model, for use in other commands.

    For example: vllm serve $(modelshelf path org/name)

    If a file of the model is missing, nothing is printed and the exit code is 14.
    """
    snapshot = Shelf(run.shelf).find(model)
    require_whole(snapshot)
    run.output.document({"id": snapshot.id, "path": snapshot.path})
    run.output.data(snapshot.path or "")
