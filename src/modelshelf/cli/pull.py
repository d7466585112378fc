"""`modelshelf pull`: bring a model to the shelf."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli.verb import Run, verb


@verb
def pull(  # noqa: PLR0913 - one for each option
    run: Run,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="hf://org/name[@revision], a file or a folder.")
    ],
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="ORG/NAME", help="Its name on the shelf.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="A tag to point at it.")] = None,
    engine: Annotated[
        str | None,
        typer.Option("--for", metavar="ENGINE", help="Files for vllm or llamacpp alone."),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="GLOB", help="Narrow the choice.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave files out.")
    ] = None,
    all_files: Annotated[
        bool, typer.Option("--all-files", help="Everything that is allowed.")
    ] = False,
    allow_unsafe: Annotated[
        bool, typer.Option("--allow-unsafe", help="Allow pickles and Python code.")
    ] = False,
    adopt: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR", help="An earlier download to take files from."),
    ] = None,
) -> None:
    """Bring a model to the shelf, whole and verified, or leave the shelf as it was.

    What is on the shelf already is not fetched again; a pull that was cut off goes on where it
    stopped. HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count as for huggingface_hub.
    """
    from modelshelf import api  # noqa: PLC0415 - slow, and only this verb needs it

    with run.output.progress("pulling") as listener:
        api.pull(
            source,
            shelf=run.shelf,
            name=name,
            tag=tag,
            engine=engine,
            include=include or (),
            exclude=exclude or (),
            all_files=all_files,
            allow_unsafe=allow_unsafe,
            adopt=adopt,
            on_event=listener,
        )
