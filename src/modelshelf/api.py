"""The public Python API: what `import modelshelf` offers besides values and errors."""

from __future__ import annotations

import os
from collections.abc import Sequence

import certifi

from modelshelf import select, sources
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot
from modelshelf.transfer.fetch import Settings
from modelshelf.transfer.file_transfer import Origin, hub_origin
from modelshelf.transfer.pull import PullSpec, published_event
from modelshelf.transfer.pull import pull as pull_snapshot


def pull(  # noqa: PLR0913 - the options of one command, each with a default
    source: str,
    *,
    shelf: str | os.PathLike[str] | Shelf,
    name: str | None = None,
    tag: str | None = None,
    engine: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    all_files: bool = False,
    allow_unsafe: bool = False,
    adopt: str | os.PathLike[str] | None = None,
    on_event: Listener = ignore,
) -> Snapshot:
    """Bring a model to a shelf, whole and verified; what is there already is not fetched again.

    Args:
        source: `hf://org/name[@revision]`, or a file or folder on this machine.
        shelf: The shelf, or its folder, which becomes one if it is missing or empty.
        name: `org/name` on the shelf; by default the source's own.
        tag: A tag to point at it.
        engine: `vllm` or `llamacpp`: choose the files that this engine needs; by default the
            engine that the source's files are for.
        include: Patterns (as in `fnmatch`) that narrow the choice.
        exclude: Patterns of files that are left out.
        all_files: Everything that is allowed.
        allow_unsafe: Allow pickles and Python code, which run what their author wrote.
        adopt: A folder with an earlier download; what is right there is linked or copied.
        on_event: Told what happens.

    Returns:
        The snapshot; its `path` is the folder to load from.

    Raises:
        UsageError: The source, an option or the choice of files makes no sense.
        NotAuthorisedError, NotFoundError, SourceError: The source refuses, lacks it, or fails.
        IntegrityError: Content does not match its checksum, or policy refuses it.
        NotAShelfError, NoSpaceError, NotWritableError: The shelf cannot take it.

    Example:
        >>> snapshot = pull(str(tmp / "tiny"), shelf=tmp / "shelf", name="me/tiny", tag="prod")
        >>> sorted(os.listdir(snapshot.path))
        ['.snapshot.json', 'config.json', 'model.safetensors']
        >>> Shelf(tmp / "shelf").find("me/tiny@prod").path == snapshot.path
        True
    """
    shelf = shelf if isinstance(shelf, Shelf) else Shelf.create(shelf)
    present = _present_offline(shelf, source, name, engine)
    if present is not None:
        on_event(published_event(present, "present"))
        return _tagged(shelf, present, tag)
    listing = sources.resolve(source, name=name, on_event=on_event)
    wanted = select.needed_texts(listing.files)
    selection = select.choose(
        listing.files,
        sources.read_texts(listing, wanted, on_event=on_event),
        engine=engine,
        include=include,
        exclude=exclude,
        all_files=all_files,
        allow_unsafe=allow_unsafe,
    )
    listing = sources.narrow(listing, selection.files, on_event=on_event)
    snapshot = Snapshot(
        listing.source, listing.repo_id, listing.revision, listing.commit, listing.files
    )
    spec = PullSpec(
        snapshot,
        origin=_origin(snapshot) if listing.folder is None else None,
        folder=listing.folder or (os.fspath(adopt) if adopt is not None else None),
        link=listing.folder is None,
        left_out=selection.left_out,
    )
    settings = Settings(ca_file=certifi.where())
    return _tagged(shelf, pull_snapshot(shelf, spec, listener=on_event, settings=settings), tag)


def _present_offline(
    shelf: Shelf, source: str, name: str | None, engine: str | None
) -> Snapshot | None:
    """In offline mode, what the shelf has of a Hub's revision; as huggingface_hub does."""
    if sources.is_local(source):
        return None
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and not for local sources

    if not huggingface.offline():
        return None
    repo_id, revision = huggingface.parse(source)
    for snapshot in shelf.snapshots(name or repo_id):
        named = revision in (snapshot.revision, snapshot.commit)
        if named and (engine is None or select.servable(snapshot.files, engine)):
            return snapshot
    return None


def _tagged(shelf: Shelf, snapshot: Snapshot, tag: str | None) -> Snapshot:
    if tag is not None:
        shelf.tag(snapshot, tag)
    return snapshot


def _origin(snapshot: Snapshot) -> Origin:
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and not for local sources

    endpoint, token = huggingface.hub()
    return hub_origin(endpoint, snapshot, token)
