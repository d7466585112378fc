"""`modelshelf prime`: fill an engine's compile cache once, for every later start."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.bars import progress
from modelshelf.cli.verb import DEFAULT_FILE, FileOption, FileRun, Run, verb
from modelshelf.targets import kubernetes, local


@verb
def prime(  # noqa: PLR0913 - one for each option
    run: Run,
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|SERVER",
            help="A model on the shelf as org/name, or a key of `servers` in modelshelf.yaml.",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARGUMENTS", help="For a MODEL: arguments after -- are the engine's own."
        ),
    ] = None,
    *,
    engine: Annotated[
        str, typer.Option("--engine", metavar="ENGINE", help="For a MODEL: the engine to run.")
    ] = "vllm",
    engine_python: Annotated[
        str | None,
        typer.Option(
            "--engine-python",
            metavar="PYTHON",
            help="For a MODEL: the Python interpreter that vLLM is installed in.",
        ),
    ] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="For a MODEL: the same as for `serve`.")
    ] = 1,
    context_length: Annotated[
        int | None,
        typer.Option("--context-length", min=1, help="For a MODEL: the same as for `serve`."),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option("--parallel", min=1, help="For a MODEL: the same as for `serve`."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="For a MODEL: the same as for `serve`."),
    ] = None,
    file: FileOption = DEFAULT_FILE,
    locked: kube.LockedOption = False,
    token_file: kube.TokenFileOption = None,
    timeout: kube.TimeoutOption = None,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Fill an engine's compile cache once, for every later start.

    For a MODEL, which has a slash in its name, vLLM runs on this machine, and the cache is
    published on the shelf. A start uses it if it has the same options, versions and kind of
    processor or GPU. Any other start compiles by itself.

    For a SERVER of modelshelf.yaml, a Job runs the engine in a pod like the server's own. Running
    pods are not touched; pods that start later unpack the cache. `up` does the same for servers
    with `prime: true`.
    """
    if "/" not in what:
        file_run = FileRun(file, run.output)
        with kube.opened(file_run, context, kubeconfig) as it:
            token = kube.token_for(it, token_file)
            lock = kube.resolved(file_run, it, locked=locked, token=token)
            with progress(run.output) as listener:
                kubernetes.prime(it.site(listener, timeout), lock, what, token)
        return
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
