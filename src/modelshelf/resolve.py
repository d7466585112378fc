"""From modelshelf.yaml to modelshelf.lock: resolving revisions to commits, and choosing files."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Collection

from modelshelf import select, sources
from modelshelf.config.file import Config, load
from modelshelf.config.lock import (
    DEFAULT_ENDPOINT,
    FileChoice,
    Lock,
    LockedModel,
    choice_for,
    lock_path,
    read_lock,
    refuse_stale,
    refuse_too_large,
    stale_models,
)
from modelshelf.engines import vllm_pod
from modelshelf.shelf import files
from modelshelf.shelf.errors import Error, NotFoundError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.values import Snapshot

# Errors of `select` and `sources` name options of `modelshelf pull`. A reader of this error edits
# modelshelf.yaml, so each option is replaced by the key that means the same.
_KEYS_FOR_OPTIONS = (
    (re.compile(r"--(in|ex)clude '([^']+)'"), r'\1clude: ["\2"]'),
    (re.compile(r"--(in|ex)clude"), r"\1clude"),
    (re.compile(r"--name "), "name: "),
    (re.compile(r"--for "), "engine: "),
    (re.compile(r"--allow-unsafe"), "allowUnsafe: true"),
    (re.compile(r"--all-files"), "allFiles: true"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class LockedConfig:
    """A modelshelf.yaml together with its lock.

    Attributes:
        config: The content of modelshelf.yaml.
        lock: The lock, brought up to date.
        previous_lock: The lock as it was before.
        lock_path: The path of the lock's file.
    """

    config: Config
    lock: Lock
    previous_lock: Lock
    lock_path: str


@dataclasses.dataclass(frozen=True, slots=True)
class _HubAccess:
    """The Hub to ask, the token for it, and the listener that hears `Retrying`."""

    endpoint: str | None
    token: str | None = dataclasses.field(repr=False)
    on_event: Listener


def load_locked(
    file: str,
    *,
    locked: bool = False,
    upgrade: bool | Collection[str] = (),
    on_event: Listener = ignore,
) -> LockedConfig:
    """Read a modelshelf.yaml and its lock, and bring the lock up to date.

    Args:
        file: The path of the modelshelf.yaml.
        locked: Refuse if the lock would change. The Hub is not asked.
        upgrade: Models to resolve again although they are locked; True for all of them.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: A file cannot be read or has errors, or `locked` is set and the lock would
            change.
        NotWritableError, NoSpaceError: The lock cannot be written.
        Error: Any error that `resolve_models` raises.
    """
    config, path = load(file), lock_path(file)
    result = update_lock(
        config, read_lock(path), path, locked=locked, upgrade=upgrade, on_event=on_event
    )
    refuse_too_large(config, result.lock)
    return result


def update_lock(  # noqa: PLR0913 - `up`, `lock` and `render` each need other options
    config: Config,
    lock: Lock,
    path: str,
    *,
    locked: bool = False,
    upgrade: bool | Collection[str] = (),
    write: bool = True,
    token: str | None = None,
    on_event: Listener = ignore,
) -> LockedConfig:
    """Bring a lock up to date with a modelshelf.yaml, and write its file if the lock changed.

    Args:
        config: The content of modelshelf.yaml.
        lock: The lock as it is now.
        path: The path of the lock's file.
        locked: Refuse if the lock would change. The Hub is not asked.
        upgrade: Models to resolve again although they are locked; True for all of them.
        write: Write the file if the lock changed.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: `locked` is set and the lock would change.
        NotWritableError, NoSpaceError: The file cannot be written.
        Error: Any error that `resolve_models` raises.
    """
    if locked:
        refuse_stale(config, lock, path)
        return LockedConfig(config, lock, lock, path)
    new_lock = resolve_models(config, lock, upgrade=upgrade, token=token, on_event=on_event)
    if write and new_lock != lock:
        write_lock(path, new_lock)
    return LockedConfig(config, new_lock, lock, path)


def resolve_models(
    config: Config,
    lock: Lock,
    *,
    upgrade: bool | Collection[str] = (),
    token: str | None = None,
    on_event: Listener = ignore,
) -> Lock:
    """Resolve the models that a lock lacks or has with another source or choice of files.

    A locked revision moves to a newer commit only if `upgrade` names its model. If only the choice
    of files changed, the files are chosen again at the locked commit.

    Args:
        config: The content of modelshelf.yaml.
        lock: The lock as it is now.
        upgrade: Models to resolve again although they are locked; True for all of them.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears of requests that are repeated.

    Returns:
        The lock with every model of `config` and no other.

    Raises:
        UsageError: `upgrade` names an unknown model, the choice of files is not possible, or an
            engine does not have an argument that a server gives it.
        NotAuthorisedError: The Hub refuses access to a model.
        NotFoundError: The Hub does not have a model, revision or file.
        SourceError: The Hub cannot be reached, or keeps failing.
        IntegrityError: A file is not what the Hub states, or policy refuses it.
        NoSpaceError: A model is larger than the shelf.
    """
    _refuse_unknown_arguments(config)
    upgraded = _known_models(config, tuple(config.models) if upgrade is True else upgrade or ())
    new_lock = lock.only(config.models)
    hub = _HubAccess(config.hub.endpoint, token, on_event)
    for name in sorted({*stale_models(config, lock), *upgraded}):
        previous = None if name in upgraded else new_lock.models.get(name)
        try:
            new_lock = new_lock.with_model(name, _resolve_model(config, name, previous, hub))
        except Error as error:
            raise _in_terms_of_the_file(name, error) from error
    refuse_too_large(config, new_lock)
    return new_lock


def write_lock(path: str, lock: Lock) -> None:
    """Replace the file of a lock. The file is replaced as a whole or stays as it is.

    Raises:
        NotWritableError, NoSpaceError, ShelfError: The file cannot be written.
    """
    try:
        # A rename would replace a symbolic link, so the file that it points to is replaced.
        files.write_bytes(os.path.realpath(path), lock.dump().encode())
    except OSError as error:
        explained = files.to_shelf_error(error, path)
        explained.hint = f"{path} is kept beside modelshelf.yaml: see who may write in that folder"
        raise explained from error


def _refuse_unknown_arguments(config: Config) -> None:
    """Refuse arguments with which an engine would not start, before anything is pulled."""
    for name, server in config.servers.items():
        if server.engine != "vllm":
            continue
        try:
            vllm_pod.check_arguments(server, config.images, config.registry)
        except UsageError as error:
            raise UsageError(f"servers.{name}: {error}", hint=error.hint) from error


def _known_models(config: Config, names: Collection[str]) -> frozenset[str]:
    for name in names:
        if name not in config.models:
            near = difflib.get_close_matches(name, config.models, n=1) or sorted(config.models)
            raise UsageError(
                f"modelshelf.yaml has no model {name!r}", hint=f"it has {', '.join(near)}"
            )
    return frozenset(names)


def _resolve_model(
    config: Config, name: str, previous: LockedModel | None, hub: _HubAccess
) -> LockedModel:
    """Resolve one model; at the commit that `previous` has, if the source is still the same."""
    source = config.models[name].source
    choice = choice_for(config, name)
    locked_uri = _uri_of_locked_commit(source, previous)
    try:
        listing = sources.resolve(
            locked_uri or source,
            name=choice.name,
            endpoint=hub.endpoint,
            token=hub.token,
            on_event=hub.on_event,
        )
    except NotFoundError as error:
        if locked_uri is not None:
            error.hint = f"its locked commit is gone: modelshelf lock --upgrade {name}"
        raise
    if locked_uri is not None and previous is not None:
        listing = dataclasses.replace(
            listing, source=previous.snapshot.source, revision=previous.snapshot.revision
        )
    snapshot = _choose_files(listing, choice, hub)
    return LockedModel(source, choice, snapshot, listing.endpoint or DEFAULT_ENDPOINT)


def _uri_of_locked_commit(source: str, previous: LockedModel | None) -> str | None:
    """Return the URI of the locked commit, if it has the same repository and revision."""
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and only needed here

    if previous is None or huggingface.parse(source) != huggingface.parse(previous.source):
        return None
    return f"hf://{huggingface.repo_of(source)}@{previous.snapshot.commit}"


def _choose_files(listing: sources.Listing, choice: FileChoice, hub: _HubAccess) -> Snapshot:
    texts = sources.read_texts(
        listing,
        select.needed_texts(listing.files, choice.exclude),
        endpoint=hub.endpoint,
        token=hub.token,
        on_event=hub.on_event,
    )
    selected = select.choose(
        listing.files,
        texts,
        engine=choice.engine,
        include=choice.include,
        exclude=choice.exclude,
        all_files=choice.all_files,
        allow_unsafe=choice.allow_unsafe,
    )
    listing = sources.narrow(listing, selected.files, on_event=hub.on_event)
    return Snapshot(
        listing.source, listing.repo_id, listing.revision, listing.commit, listing.files
    )


def _in_terms_of_the_file(name: str, error: Error) -> Error:
    """Name the model in an error, and replace options of `pull` by keys of modelshelf.yaml."""
    return type(error)(
        f"models.{name}: {_replace_options(str(error))}", hint=_replace_options(error.hint)
    )


def _replace_options(text: str) -> str:
    for option, key in _KEYS_FOR_OPTIONS:
        text = option.sub(key, text)
    return text
