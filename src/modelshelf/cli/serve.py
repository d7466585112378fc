"""`modelshelf serve`: answer from the shelf, on this machine."""

from __future__ import annotations
from modelshelf.cli.verb import Run, verb


@verb
def serve(run: Run, model: str) -> None:
    """Placeholder."""
