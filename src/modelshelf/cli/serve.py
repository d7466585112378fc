"""`modelshelf serve`: an engine that serves a model on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.show import ModelArgument
from modelshelf.cli.verb import Run, verb
from modelshelf.targets import local

ArgumentsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGUMENTS", help="Arguments after -- are passed to the engine."),
]
EngineOption = Annotated[
    str, typer.Option("--engine", metavar="ENGINE", help="The engine: llamacpp or vllm.")
]
EnginePythonOption = Annotated[
    str | None,
    typer.Option(
        "--engine-python",
        metavar="PYTHON",
        help="The Python interpreter that vLLM is installed in.",
    ),
]
ContextLengthOption = Annotated[
    int | None,
    typer.Option("--context-length", min=1, help="The most tokens of a request and its answer."),
]
ParallelOption = Annotated[
    int | None,
    typer.Option(
        "--parallel", min=1, help="The number of requests that a replica processes at once."
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="The number of CPU threads of each replica.")
]
FastStartOption = Annotated[
    bool | None,
    typer.Option(
        "--fast-start/--no-fast-start",
        help="Import vLLM once for all its processes; by default on machines without a GPU.",
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
        int, typer.Option("--replicas", min=1, help="The number of engine processes.")
    ] = 1,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="The port to listen on; 0 chooses a free one.")
    ] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The model's name in the API.")
    ] = None,
    context_length: ContextLengthOption = None,
    parallel: ParallelOption = None,
    threads: ThreadsOption = None,
    fast_start: FastStartOption = None,
    drain: Annotated[
        float,
        typer.Option(
            "--drain", min=0, help="The seconds that open requests have to finish after Ctrl-C."
        ),
    ] = 30.0,
) -> None:
    """Serve a model on this machine through an OpenAI-compatible API.

    It runs until Ctrl-C. Replicas have no token and do not use the Hub. A replica that dies is
    started again while the others keep answering.
    """
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
