"""`modelshelf lock`: the commit and the checksums of each model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelshelf import resolve
from modelshelf.cli import formats
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.config.lock import LockedModel
from modelshelf.resolve import LockedConfig
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import ignore


@file_verb
def lock(
    run: FileRun,
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="Models to upgrade; all by default."),
    ] = None,
    *,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Move models to the newest commit of their revision.")
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", "--check", help="Fail if modelshelf.lock is not up to date."),
    ] = False,
) -> None:
    """Write the commit and the checksums of each model to modelshelf.lock.

    Models that are in modelshelf.lock stay as they are, unless their entry in modelshelf.yaml
    changed. With --upgrade, the named models move to the newest commit of their revision. The Hub
    is asked for lists of files and for small text files, and nothing else is downloaded. HF_TOKEN,
    HF_ENDPOINT and HF_HUB_OFFLINE mean the same as for huggingface_hub.
    """
    if models and not upgrade:
        raise UsageError(
            "models are named, but not what for", hint=f"lock --upgrade {' '.join(models)}"
        )
    if upgrade and locked:
        raise UsageError("--upgrade changes the lock, and --locked forbids that")
    opened = resolve.load_locked(
        run.file,
        locked=locked,
        upgrade=tuple(models or ()) or upgrade,
        on_event=ignore if run.output.json else run.output.event,
    )
    run.output.document(_document(opened))
    for sentence in changes(opened):
        run.output.note(sentence)


def changes(opened: LockedConfig) -> list[str]:
    """Describe what changed in a lock, with a sentence for each model, or that nothing did."""
    before, after = opened.previous_lock.models, opened.lock.models
    lines = [
        _moved(name, before.get(name), locked)
        for name, locked in sorted(after.items())
        if before.get(name) != locked
    ]
    lines += [f"{name}: removed" for name in sorted(set(before) - set(after))]
    return lines or [f"{opened.lock_path} is up to date: {formats.count(len(after), 'model')}"]


def _moved(name: str, old: LockedModel | None, new: LockedModel) -> str:
    snapshot = new.snapshot
    what = f"{formats.count(len(snapshot.files), 'file')}, {formats.size(snapshot.size)}"
    if old is None:
        return f"{name}: {snapshot.source} is {formats.short_id(snapshot.id)}, {what}"
    if old.snapshot.id == snapshot.id:
        return f"{name}: {formats.short_id(snapshot.id)} as before, {what}"
    ids = f"{formats.short_id(old.snapshot.id)} → {formats.short_id(snapshot.id)}"
    return f"{name}: {ids}, {what}, {formats.size(_added(old, new))} of them new"


def _added(old: LockedModel, new: LockedModel) -> int:
    """The size of the files that the older snapshot does not have."""
    known = {file.checksum for file in old.snapshot.files}
    return sum(file.size for file in new.snapshot.files if file.checksum not in known)


def _document(opened: LockedConfig) -> dict[str, Any]:
    before, after = opened.previous_lock.models, opened.lock.models
    return {
        "lock": opened.lock_path,
        "changed": opened.previous_lock != opened.lock,
        "models": {
            name: {
                "source": locked.snapshot.source,
                "commit": locked.snapshot.commit,
                "id": locked.snapshot.id,
                "files": len(locked.snapshot.files),
                "bytes": locked.snapshot.size,
                "before": before[name].snapshot.id if name in before else None,
            }
            for name, locked in sorted(after.items())
        },
        "removed": sorted(set(before) - set(after)),
    }
