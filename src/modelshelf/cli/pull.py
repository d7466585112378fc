"""`modelshelf pull`: download a model to the shelf."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf import api
from modelshelf.cli.bars import progress
from modelshelf.cli.verb import Run, verb


@verb
def pull(  # noqa: PLR0913 - one for each option
    run: Run,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A repository as hf://org/name[@revision], a file or a folder."
        ),
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="ORG/NAME", help="The model's name on the shelf."),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="TAG", help="A tag to point at the snapshot."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="ENGINE", help="Choose the files for this engine: vllm or llamacpp."
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="GLOB", help="Choose only files that match; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="Skip files that match; may be repeated."),
    ] = None,
    all_files: Annotated[
        bool, typer.Option("--all-files", help="Choose all files that are allowed.")
    ] = False,
    allow_unsafe: Annotated[
        bool, typer.Option("--allow-unsafe", help="Also allow pickles and Python code.")
    ] = False,
    adopt: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DIR", help="A folder with an earlier download to take files from."
        ),
    ] = None,
) -> None:
    """Download a model to the shelf and verify every byte of it.

    The model appears on the shelf when all files are complete and verified, and not before. Files
    that the shelf has are not downloaded again, and an interrupted pull continues where it
    stopped. HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean the same as for huggingface_hub.
    """
    with progress(run.output, "pulling") as listener:
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
