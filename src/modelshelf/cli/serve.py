"""`modelshelf serve`: answer from the shelf, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.core.shelf import Shelf


@verb
def serve(  # noqa: PLR0913 - one for each option
    run: Run,
    model: ModelArgument,
    *,
    engine: Annotated[str, typer.Option("--engine", help="The engine that serves it.")] = (
        "llamacpp"
    ),
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="Processes behind the port.")
    ] = 1,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 finds a free one.")] = 8000,
    context_length: Annotated[
        int | None,
        typer.Option("--context-length", help="Tokens of a request and its answer."),
    ] = None,
) -> None:
    """Serve a model through an OpenAI-compatible API until Ctrl-C.

    Replicas run offline and without a token. One that dies is started again; the others keep
    answering.
    """
    from modelshelf.targets import local  # noqa: PLC0415 - slow, and only this verb needs it

    with local.serve(
        Shelf(run.shelf),
        model,
        engine=engine,
        replicas=replicas,
        host=host,
        port=port,
        context_length=context_length,
        on_event=run.output.event,
    ) as server:
        server.wait()
