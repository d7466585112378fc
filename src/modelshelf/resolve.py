"""From modelshelf.yaml to modelshelf.lock: revisions are resolved, and files are chosen."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Collection

from modelshelf import select, sources
from modelshelf.config.file import Config, load
from modelshelf.config.lock import (
    Choice,
    Lock,
    Locked,
    beside,
    choice_for,
    read,
    refuse_stale,
    refuse_too_large,
    stale,
)
from modelshelf.engines import vllm_pod
from modelshelf.shelf import files
from modelshelf.shelf.errors import Error, NotFoundError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.values import Snapshot

# What options of `pull` are in modelshelf.yaml.
_KEYS = (
    (re.compile(r"--(in|ex)clude '([^']+)'"), r'\1clude: ["\2"]'),
    (re.compile(r"--(in|ex)clude"), r"\1clude"),
    (re.compile(r"--name "), "name: "),
    (re.compile(r"--for "), "engine: "),
    (re.compile(r"--allow-unsafe"), "allowUnsafe: true"),
    (re.compile(r"--all-files"), "allFiles: true"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Hub:
    """The Hub that is asked, with which token, and who hears of it."""

    endpoint: str
    token: str | None = dataclasses.field(repr=False)
    on_event: Listener


def lock(
    config: Config,
    lock: Lock,
    *,
    upgrade: bool | Collection[str] = (),
    token: str | None = None,
    on_event: Listener = ignore,
) -> Lock:
    """Bring a lock up to date with a modelshelf.yaml; what fits it stays as it is.

    A floating revision moves only when it is asked to: where nothing but the choice of files
    changed, they are chosen anew at the commit that is locked.

    Args:
        config: What is wanted.
        lock: What is locked.
        upgrade: Models to resolve anew; True for all.
        token: For the Hub, instead of HF_TOKEN or a login.
        on_event: Hears of requests that are repeated.

    Returns:
        The lock with every model of `config` and no other.

    Raises:
        UsageError: `upgrade` names a model that is not there, a choice of files makes no sense, or
            an engine does not have an argument.
        NotAuthorisedError, NotFoundError, SourceError: The Hub refuses, lacks it, or fails.
        IntegrityError: A file is not what the Hub states, or policy refuses it.
        NoSpaceError: A model is larger than the shelf.
    """
    _refuse_arguments(config)
    moved = _named(config, tuple(config.models) if upgrade is True else upgrade or ())
    result = lock.only(config.models)
    hub = _Hub(config.hub.endpoint, token, on_event)
    for name in sorted({*stale(config, lock), *moved}):
        old = None if name in moved else result.models.get(name)
        try:
            result = result.with_model(name, _locked(config, name, old, hub))
        except Error as error:
            raise _about(name, error) from error
    refuse_too_large(config, result)
    return result


def _refuse_arguments(config: Config) -> None:
    """Refuse what would end an engine's start, before anybody waits for a model."""
    for name, server in config.servers.items():
        if server.engine != "vllm":
            continue
        try:
            vllm_pod.check_arguments(server, config.images, config.registry)
        except UsageError as error:
            raise UsageError(f"servers.{name}: {error}", hint=error.hint) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A modelshelf.yaml and its lock.

    Attributes:
        config: What is wanted.
        lock: What it was resolved to, up to date.
        before: The lock as it was found.
        path: The lock's file.
    """

    config: Config
    lock: Lock
    before: Lock
    path: str


def open_file(
    file: str,
    *,
    locked: bool = False,
    upgrade: bool | Collection[str] = (),
    on_event: Listener = ignore,
) -> Opened:
    """Read a modelshelf.yaml and its lock; what the lock lacks is resolved and written.

    Args:
        file: The modelshelf.yaml.
        locked: Refuse where the lock would change, and ask nobody.
        upgrade: Models to resolve anew; True for all.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: A file cannot be read or says what it cannot; the lock would change.
        NotWritableError, NoSpaceError: The lock cannot be written.
        Error: Whatever `lock` raises.
    """
    config, path = load(file), beside(file)
    opened = settle(config, read(path), path, locked=locked, upgrade=upgrade, on_event=on_event)
    refuse_too_large(config, opened.lock)
    return opened


def settle(  # noqa: PLR0913 - what `up`, `lock` and `render` each want a little differently
    config: Config,
    before: Lock,
    path: str,
    *,
    locked: bool = False,
    upgrade: bool | Collection[str] = (),
    keep: bool = True,
    token: str | None = None,
    on_event: Listener = ignore,
) -> Opened:
    """Bring the lock of a modelshelf.yaml up to date, and its file with it.

    Args:
        config: What is wanted.
        before: The lock as it was found.
        path: The lock's file.
        locked: Refuse where the lock would change, and ask nobody.
        upgrade: Models to resolve anew; True for all.
        keep: Write the file, if the lock is another than before.
        token: For the Hub, instead of HF_TOKEN or a login.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: The lock would change, and must not.
        NotWritableError, NoSpaceError: The file cannot be written.
        Error: Whatever `lock` raises.
    """
    if locked:
        refuse_stale(config, before, path)
        return Opened(config, before, before, path)
    after = lock(config, before, upgrade=upgrade, token=token, on_event=on_event)
    if keep and after != before:
        write(path, after)
    return Opened(config, after, before, path)


def write(path: str, lock: Lock) -> None:
    """Replace a lock's file, whole or not at all.

    Raises:
        NotWritableError, NoSpaceError, ShelfError: It cannot be written.
    """
    try:
        # Through a link, which a rename would replace.
        files.write_bytes(os.path.realpath(path), lock.dump().encode())
    except OSError as error:
        explained = files.to_shelf_error(error, path)
        explained.hint = f"{path} is kept beside modelshelf.yaml: see who may write in that folder"
        raise explained from error


def _named(config: Config, upgrade: Collection[str]) -> frozenset[str]:
    for name in upgrade:
        if name not in config.models:
            near = difflib.get_close_matches(name, config.models, n=1) or sorted(config.models)
            raise UsageError(
                f"modelshelf.yaml has no model {name!r}", hint=f"it has {', '.join(near)}"
            )
    return frozenset(upgrade)


def _locked(config: Config, name: str, old: Locked | None, hub: _Hub) -> Locked:
    source = config.models[name].source
    choice = choice_for(config, name)
    kept = _kept_commit(source, old)
    try:
        listing = sources.resolve(
            kept or source,
            name=choice.name,
            endpoint=hub.endpoint,
            token=hub.token,
            on_event=hub.on_event,
        )
    except NotFoundError as error:
        if kept is not None:
            error.hint = f"its locked commit is gone: modelshelf lock --upgrade {name}"
        raise
    if kept is not None and old is not None:
        listing = dataclasses.replace(
            listing, source=old.snapshot.source, revision=old.snapshot.revision
        )
    return Locked(source, choice, _chosen(listing, choice, hub))


def _kept_commit(source: str, old: Locked | None) -> str | None:
    """The URI of the locked commit, if it is of the same repository and revision."""
    from modelshelf.sources import huggingface  # noqa: PLC0415 - slow, and only needed here

    if old is None or huggingface.parse(source) != huggingface.parse(old.source):
        return None
    return f"hf://{huggingface.repo_of(source)}@{old.snapshot.commit}"


def _chosen(listing: sources.Listing, choice: Choice, hub: _Hub) -> Snapshot:
    texts = sources.read_texts(
        listing,
        select.needed_texts(listing.files),
        endpoint=hub.endpoint,
        token=hub.token,
        on_event=hub.on_event,
    )
    selection = select.choose(
        listing.files,
        texts,
        engine=choice.engine,
        include=choice.include,
        exclude=choice.exclude,
        all_files=choice.all_files,
        allow_unsafe=choice.allow_unsafe,
    )
    fixed = sources.fixed(listing, selection.files, on_event=hub.on_event)
    return Snapshot(fixed.source, fixed.repo_id, fixed.revision, fixed.commit, fixed.files)


def _about(name: str, error: Error) -> Error:
    """The same error, with the model's key in front and the file's keys for options."""
    return type(error)(f"models.{name}: {_in_yaml(str(error))}", hint=_in_yaml(error.hint))


def _in_yaml(text: str) -> str:
    for option, key in _KEYS:
        text = option.sub(key, text)
    return text
