"""`modelshelf mirror`: the shelf as a Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.shelf import Shelf


@verb
def mirror(
    run: Run,
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 finds a free one.")] = 8090,
) -> None:
    """Serve the shelf read-only as a Hub: clients pull from it with HF_ENDPOINT."""
    from modelshelf.mirror.server import run as run_mirror  # noqa: PLC0415 - slow

    run_mirror(Shelf(run.shelf), host, port, run.output.event)
