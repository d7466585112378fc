"""`modelshelf serve`: answer from the shelf, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb

ArgumentsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGUMENTS", help="Behind --: arguments for the engine itself."),
]
EngineOption = Annotated[str, typer.Option("--engine", help="The engine that serves it.")]
EnginePythonOption = Annotated[
    str | None,
    typer.Option(
        "--engine-python", metavar="PYTHON", help="The Python that has the engine (vLLM)."
    ),
]
ContextLengthOption = Annotated[
    int | None,
    typer.Option("--context-length", min=1, help="Tokens of a request and its answer."),
]
ParallelOption = Annotated[
    int | None,
    typer.Option("--parallel", min=1, help="Requests that a replica works on at once."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads for each replica.")
]
FastStartOption = Annotated[
    bool | None,
    typer.Option(
        "--fast-start/--no-fast-start",
        help="Import vLLM once for all its processes.  [default: on a CPU]",
    ),
]


@verb
def serve(  # noqa: PLR0913 - one for each option
    run: Run,
    model: ModelArgument,
    arguments: ArgumentsArgument = None,
    *,
    engine: EngineOption = "llamacpp",
    engine_python: EnginePythonOption = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="Processes behind the port.")
    ] = 1,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 finds a free one.")] = 8000,
    name: Annotated[str | None, typer.Option("--name", help="The model's name in the API.")] = None,
    context_length: ContextLengthOption = None,
    parallel: ParallelOption = None,
    threads: ThreadsOption = None,
    fast_start: FastStartOption = None,
    drain: Annotated[
        float, typer.Option("--drain", min=0, help="Seconds for requests under way at the end.")
    ] = 30.0,
) -> None:
    """Serve a model through an OpenAI-compatible API until Ctrl-C.

    Replicas run offline and without a token. One that dies is started again; the others keep
    answering.
    """
    from modelshelf.targets import local  # noqa: PLC0415 - slow, and only this verb needs it

    with local.serve(
        model,
        shelf=run.shelf,
        engine=engine,
        engine_python=engine_python,
        replicas=replicas,
        host=host,
        port=port,
        name=name,
        context_length=context_length,
        parallel=parallel,
        threads=threads,
        extra=arguments or (),
        drain=drain,
        fast_start=fast_start,
        on_event=run.output.event,
    ) as server:
        server.wait()
