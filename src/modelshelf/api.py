"""`modelshelf.pull`, the function behind `modelshelf pull`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import certifi

from modelshelf import select, sources
from modelshelf.shelf.errors import NotOnShelfError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.missing_files import require_whole
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot
from modelshelf.transfer.fetch import FetchSettings
from modelshelf.transfer.hub_source import HubSource
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
    """Bring a model to a shelf, complete and verified.

    Files that the shelf already has are not fetched again.

    Args:
        source: `hf://org/name[@revision]`, or a file or folder on this machine.
        shelf: The shelf, or its folder. A folder that is missing or empty becomes a shelf.
        name: The model's name on the shelf, `org/name`. The default is the source's own name.
        tag: A tag that will point to the snapshot.
        engine: The engine to choose files for: `vllm` or `llamacpp`. By default the source's files
            decide.
        include: Patterns (as in `fnmatch`) of the files to take.
        exclude: Patterns of files to leave out.
        all_files: Take all files that are allowed.
        allow_unsafe: Allow pickles and Python code. They run code of their author.
        adopt: A folder that holds an earlier download. Files whose checksum is right are linked or
            copied from there.
        on_event: Hears of progress.

    Returns:
        The snapshot. Its `path` is the folder to load from.

    Raises:
        UsageError: The source, an option or the choice of files is not possible.
        NotAuthorisedError: The source refuses access.
        NotFoundError: The source does not have the model, the revision or a file.
        SourceError: The source cannot be reached, or keeps failing.
        NotOnShelfError: Offline mode is on, and the shelf has the model with other files.
        IntegrityError: Content does not match its checksum, or policy refuses it.
        NotAShelfError, NoSpaceError, NotWritableError: The shelf cannot take the model.

    Example:
        >>> snapshot = pull(str(tmp / "tiny"), shelf=tmp / "shelf", name="me/tiny", tag="prod")
        >>> sorted(os.listdir(snapshot.path))
        ['.snapshot.json', 'config.json', 'model.safetensors']
        >>> Shelf(tmp / "shelf").find("me/tiny@prod").path == snapshot.path
        True
    """
    shelf = shelf if isinstance(shelf, Shelf) else Shelf.create(shelf)
    asked_for = _FilesAskedFor(engine, tuple(include), tuple(exclude), all_files)
    present = _find_offline(shelf, source, name, asked_for)
    if present is not None:
        on_event(published_event(present, "present"))
        return _tag(shelf, present, tag)
    listing = sources.resolve(source, name=name, on_event=on_event)
    text_paths = select.needed_texts(listing.files, exclude)
    selected = select.choose(
        listing.files,
        sources.read_texts(listing, text_paths, on_event=on_event),
        engine=engine,
        include=include,
        exclude=exclude,
        all_files=all_files,
        allow_unsafe=allow_unsafe,
    )
    listing = sources.narrow(listing, selected.files, on_event=on_event)
    snapshot = Snapshot(
        listing.source, listing.repo_id, listing.revision, listing.commit, listing.files
    )
    spec = PullSpec(
        snapshot,
        source=_hub_source(snapshot) if listing.folder is None else None,
        folder=listing.folder or _earlier_download(adopt, snapshot),
        link=listing.folder is None,
        left_out=(*listing.left_out, *selected.left_out),
    )
    settings = FetchSettings(ca_file=certifi.where())
    return _tag(shelf, pull_snapshot(shelf, spec, listener=on_event, settings=settings), tag)


@dataclasses.dataclass(frozen=True, slots=True)
class _FilesAskedFor:
    """Which files of a model are asked for, as options of `pull`."""

    engine: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    all_files: bool

    def may_be(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is known to hold these files, without the list of the source's files.

        All files of a repository are never known to be there.
        """
        files = snapshot.files
        globs_match = all(
            any(select.matches(file.path, [glob]) for file in files) for glob in self.include
        )
        none_excluded = not any(select.matches(file.path, self.exclude) for file in files)
        fits_engine = self.engine is None or select.servable(files, self.engine)
        return not self.all_files and globs_match and none_excluded and fits_engine


def _find_offline(
    shelf: Shelf, source: str, name: str | None, asked_for: _FilesAskedFor
) -> Snapshot | None:
    """In offline mode, find a Hub's revision on the shelf, as huggingface_hub does in its cache.

    Raises:
        NotOnShelfError: The shelf has the revision, and not known to be with these files.
        IntegrityError: A file of the snapshot is missing on the shelf.
    """
    if sources.is_local(source):
        return None
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and not for local sources

    if not huggingface.offline():
        return None
    repo_id, revision = huggingface.parse(source)
    snapshots = [
        snapshot
        for snapshot in shelf.snapshots(name or repo_id)
        if revision in (snapshot.revision, snapshot.commit)
    ]
    for snapshot in snapshots:
        if asked_for.may_be(snapshot):
            require_whole(snapshot)
            return snapshot
    if snapshots:
        raise NotOnShelfError(
            f"the shelf {shelf.path} has {repo_id}@{revision} with other files than were asked for",
            hint=f"modelshelf show {repo_id} lists them; to fetch others, unset HF_HUB_OFFLINE",
        )
    return None


def _earlier_download(folder: str | os.PathLike[str] | None, snapshot: Snapshot) -> str | None:
    """The folder that `--from` names; in huggingface_hub's cache, that of the snapshot's commit."""
    if folder is None:
        return None
    from modelshelf.sources import huggingface, local  # noqa: PLC0415 - slow, and seldom needed

    path = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    return local.hub_cache_snapshot(path, huggingface.repo_of(snapshot.source), snapshot.commit)


def _tag(shelf: Shelf, snapshot: Snapshot, tag: str | None) -> Snapshot:
    if tag is not None:
        shelf.tag(snapshot, tag)
    return snapshot


def _hub_source(snapshot: Snapshot) -> HubSource:
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and not for local sources

    endpoint, token = huggingface.endpoint_and_token()
    return HubSource.of_snapshot(endpoint, snapshot, token)
