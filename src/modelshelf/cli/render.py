"""`modelshelf render`: the objects that `up` would apply, as YAML, without a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from modelshelf import resolve
from modelshelf.cli import formats
from modelshelf.cli.lock import changes
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.render.carry_over import deployment_of
from modelshelf.render.gitops_folder import write
from modelshelf.render.names import LOAD
from modelshelf.render.rendered import render as plan
from modelshelf.render.yaml_text import to_yaml
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import ignore


@file_verb
def render(
    run: FileRun,
    folder: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="A folder to write files to, for git."),
    ] = None,
    *,
    locked: Annotated[
        bool, typer.Option("--locked", help="Fail if modelshelf.lock is not up to date.")
    ] = False,
    refresh_code: Annotated[
        bool,
        typer.Option(
            "--refresh-code", help="Write the code of this version, which restarts servers."
        ),
    ] = False,
) -> None:
    """Write the Kubernetes objects as YAML, without a cluster.

    The objects are those of modelshelf.yaml, without Secrets. They are printed on stdout, or with
    -o written to files below DIR/pull and DIR/serve. Files of an earlier render that are no longer
    needed are removed; other files stay.
    """
    if refresh_code and folder is None:
        raise UsageError("--refresh-code is about the code maps that a folder names: give -o DIR")
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
        run.output.note(f"{folder} is up to date: {formats.count(len(files), 'file')}")
