"""`modelshelf prime`: let an engine compile once, for every later start."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.verb import DEFAULT_FILE, FileOption, FileRun, Run, verb


@verb
def prime(  # noqa: PLR0913 - one for each option
    run: Run,
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|SERVER", help="org/name of the shelf, or a key of `servers`."
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENTS", help="MODEL: behind --, those for the engine itself."),
    ] = None,
    *,
    engine: Annotated[str, typer.Option("--engine", help="MODEL: what compiles.")] = "vllm",
    engine_python: Annotated[
        str | None,
        typer.Option("--engine-python", metavar="PYTHON", help="MODEL: the Python that has it."),
    ] = None,
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="MODEL: as for serve.")] = 1,
    context_length: Annotated[
        int | None, typer.Option("--context-length", min=1, help="MODEL: as for serve.")
    ] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", min=1, help="MODEL: as for serve.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="MODEL: as for serve.")
    ] = None,
    file: FileOption = DEFAULT_FILE,
    locked: kube.LockedOption = False,
    token_file: kube.TokenFileOption = None,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Compile once, and keep what was made on the shelf for every later start.

    A MODEL has a slash in its name, and vLLM is started here for it. It fits starts with the same
    options, versions and kind of processor or GPU; others compile by themselves.

    For a SERVER of modelshelf.yaml a Job with what its pods have runs its engine once. Pods that
    serve go on; those that start later unpack what it made. up does so by itself for servers that
    say prime: true.
    """
    if "/" not in what:
        there = FileRun(file, run.output)
        from modelshelf.targets import kubernetes  # noqa: PLC0415 - slow, and only some verbs do

        with kube.opened(there, context, kubeconfig) as it:
            token = kube.token_for(it, token_file)
            lock = kube.resolved(there, it, locked=locked, token=token)
            with run.output.progress("") as listener:
                kubernetes.prime(it.site(listener, timeout), lock, what, token)
        return
    from modelshelf.targets import local  # noqa: PLC0415 - slow, and only some verbs need it

    local.prime(
        what,
        shelf=run.shelf,
        engine=engine,
        engine_python=engine_python,
        replicas=replicas,
        context_length=context_length,
        parallel=parallel,
        threads=threads,
        extra=arguments or (),
        on_event=run.output.event,
    )
