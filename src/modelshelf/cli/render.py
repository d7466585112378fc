"""`modelshelf render`: what `up` would apply, as YAML, without a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf.cli import words
from modelshelf.cli.lock import changes
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import ignore


@file_verb
def render(
    run: FileRun,
    folder: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write files below it, for git."),
    ] = None,
    *,
    locked: Annotated[
        bool, typer.Option("--locked", help="Fail if modelshelf.lock had to change.")
    ] = False,
    refresh_code: Annotated[
        bool,
        typer.Option("--refresh-code", help="Let servers restart for this version's own code."),
    ] = False,
) -> None:
    """Write the Kubernetes objects of modelshelf.yaml as YAML; no cluster is needed.

    With -o, DIR/pull and DIR/serve are brought up to date: what is there by an earlier render and
    is no longer wanted is removed, other files stay. Without it everything goes to stdout. Secrets
    are never written.
    """
    if refresh_code and folder is None:
        raise UsageError("--refresh-code is about the code maps that a folder names: give -o DIR")
    from modelshelf import resolve  # noqa: PLC0415 - slow, and only this verb needs it
    from modelshelf.render.documents import to_yaml  # noqa: PLC0415 - slow too
    from modelshelf.render.keeping import deployment_of  # noqa: PLC0415 - slow too
    from modelshelf.render.names import LOAD  # noqa: PLC0415 - slow too
    from modelshelf.render.plan import render as plan  # noqa: PLC0415 - slow too
    from modelshelf.render.writing import write  # noqa: PLC0415 - slow too

    opened = resolve.load_locked(
        run.file, locked=locked, on_event=ignore if run.output.json else run.output.event
    )
    if opened.previous_lock != opened.lock:
        for sentence in changes(opened):
            run.output.note(sentence)
    rendered = plan(opened.config, opened.lock)
    for server, objects in rendered.servers.items():
        if load := deployment_of(objects)["metadata"]["annotations"].get(LOAD):
            run.output.note(f"{server} reads its model {load}")
    if folder is None:
        objects = rendered.in_order()
        run.output.document(objects)
        run.output.data(to_yaml(objects).rstrip("\n"))
        return
    files = write(rendered, folder, refresh_code=refresh_code)
    changed = [file for file in files if file.how != "unchanged"]
    run.output.document({"folder": folder, "files": {file.path: file.how for file in files}})
    for file in changed:
        run.output.note(f"{file.how}: {folder}/{file.path}")
    if not changed:
        run.output.note(f"{folder} is up to date: {words.count(len(files), 'file')}")
