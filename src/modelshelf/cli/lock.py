"""`modelshelf lock`: resolve revisions to commits and checksums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelshelf.cli import words
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import ignore

if TYPE_CHECKING:
    from modelshelf.config.lock import LockedModel
    from modelshelf.resolve import LockedConfig


@file_verb
def lock(
    run: FileRun,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL...]", help="Models to upgrade.")
    ] = None,
    *,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Move to the newest commit of a revision.")
    ] = False,
    locked: Annotated[
        bool, typer.Option("--locked", "--check", help="Change nothing; fail if it had to change.")
    ] = False,
) -> None:
    """Write modelshelf.lock: what each model of modelshelf.yaml is, down to the checksums.

    What is locked stays as it is; only what is missing or was changed in modelshelf.yaml is
    resolved. With --upgrade, the models that are named, or all, move to what their revision is
    now. The Hub is asked, nothing is downloaded but small texts. HF_TOKEN, HF_ENDPOINT and
    HF_HUB_OFFLINE count as for huggingface_hub.
    """
    if models and not upgrade:
        raise UsageError(
            "models are named, but not what for", hint=f"lock --upgrade {' '.join(models)}"
        )
    if upgrade and locked:
        raise UsageError("--upgrade changes the lock, and --locked forbids that")
    from modelshelf import resolve  # noqa: PLC0415 - slow, and only this verb needs it

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
    """What changed in a lock, a sentence for each model; one sentence if nothing did."""
    before, after = opened.previous_lock.models, opened.lock.models
    lines = [
        _moved(name, before.get(name), locked)
        for name, locked in sorted(after.items())
        if before.get(name) != locked
    ]
    lines += [f"{name}: removed" for name in sorted(set(before) - set(after))]
    return lines or [f"{opened.lock_path} is up to date: {words.count(len(after), 'model')}"]


def _moved(name: str, old: LockedModel | None, new: LockedModel) -> str:
    snapshot = new.snapshot
    what = f"{words.count(len(snapshot.files), 'file')}, {words.size(snapshot.size)}"
    if old is None:
        return f"{name}: {snapshot.source} is {words.short(snapshot.id)}, {what}"
    if old.snapshot.id == snapshot.id:
        return f"{name}: {words.short(snapshot.id)} as before, {what}"
    ids = f"{words.short(old.snapshot.id)} → {words.short(snapshot.id)}"
    return f"{name}: {ids}, {what}, {words.size(_added(old, new))} of them new"


def _added(old: LockedModel, new: LockedModel) -> int:
    """Bytes of the files that the older snapshot does not have."""
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
