"""`modelshelf mirror`: the shelf as a Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.verb import Run, verb
from modelshelf.mirror.server import run as run_mirror
from modelshelf.shelf.shelf import Shelf


@verb
def mirror(
    run: Run,
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="The port to listen on; 0 chooses a free one.")
    ] = 8090,
) -> None:
    """Serve the shelf to Hub clients, as a read-only Hugging Face Hub.

    Clients download models from it if their variable HF_ENDPOINT has its URL.
    """
    run_mirror(Shelf(run.shelf), host, port, run.output.event)
