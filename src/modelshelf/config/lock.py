"""modelshelf.lock: revision → commit, files, sizes and checksums, kept in git."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from modelshelf.config.file import Config
from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.config.rules import engines_of, two_engines
from modelshelf.shelf.errors import NoSpaceError, UsageError
from modelshelf.shelf.values import Snapshot

FILE = "modelshelf.lock"
VERSION = 1
_RELOCK = "take it back from git, or delete it and run modelshelf lock"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which files of a repository are wanted: what `select.choose` is told, and the name.

    Attributes:
        engine: `vllm` or `llamacpp`; None where the files decide.
        include: Patterns that narrow the choice.
        exclude: Patterns of files that are left out.
        all_files: Everything that is allowed.
        allow_unsafe: Pickles and code too.
        name: `org/name` on the shelf; None for the repository's own.
    """

    engine: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    all_files: bool = False
    allow_unsafe: bool = False
    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Locked:
    """One model as it was resolved.

    Attributes:
        source: As modelshelf.yaml had it then.
        choice: As modelshelf.yaml had it then.
        snapshot: What it was resolved to; `created` and `tool` are empty.
    """

    source: str
    choice: Choice
    snapshot: Snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Lock:
    """A whole modelshelf.lock.

    Attributes:
        models: Key of `models` in modelshelf.yaml → what it was resolved to.
    """

    models: Mapping[str, Locked] = dataclasses.field(default_factory=dict)

    def with_model(self, name: str, locked: Locked) -> Lock:
        """The lock with one model more, or another one in its place."""
        return Lock({**self.models, name: locked})

    def only(self, names: Collection[str]) -> Lock:
        """The lock without all models but these."""
        return Lock({name: one for name, one in self.models.items() if name in names})

    def dump(self) -> str:
        """The text of the file: a line for each file of a model, so that diffs can be read."""
        models = {name: _to_json(self.models[name]) for name in sorted(self.models)}
        return _pretty({"version": VERSION, "models": models}) + "\n"


def read(path: str | os.PathLike[str] = FILE) -> Lock:
    """Read a lock; an empty one if it is missing.

    Raises:
        UsageError: It cannot be read, is damaged, or a newer modelshelf wrote it.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read(), path)
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8", hint=_RELOCK) from None


def parse(text: str, path: str = FILE) -> Lock:
    """Read the text of a lock.

    Raises:
        UsageError: It is damaged, or a newer modelshelf wrote it.
    """
    try:
        data = json.loads(text)
        version = int(data["version"])
        if version > VERSION:
            raise UsageError(
                f"{path} was written by a newer modelshelf (version {version} of its format)",
                hint="pip install --upgrade modelshelf",
            )
        return Lock({str(name): _from_json(entry) for name, entry in data["models"].items()})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise UsageError(f"{path} is damaged", hint=_RELOCK) from None


def beside(path: str | os.PathLike[str]) -> str:
    """The lock of a modelshelf.yaml: beside it, and named after it."""
    return os.path.splitext(os.fspath(path))[0] + ".lock"


def choice_for(config: Config, model_name: str) -> Choice:
    """The choice of files that modelshelf.yaml asks for.

    Raises:
        UsageError: Two servers want one model's files for two engines.
    """
    model = config.models[model_name]
    users = engines_of(config, model_name)
    if model.engine is None and len(users) > 1:
        raise UsageError(two_engines(model_name, users))
    engine: str | None = model.engine
    if engine is None and users:
        (engine,) = users
    return Choice(
        engine, model.include, model.exclude, model.all_files, model.allow_unsafe, model.name
    )


def stale(config: Config, lock: Lock) -> tuple[str, ...]:
    """The models that the lock lacks, or has for another source or choice of files; sorted."""
    return tuple(
        name
        for name, model in sorted(config.models.items())
        if name not in lock.models
        or lock.models[name].source != model.source
        or lock.models[name].choice != choice_for(config, name)
    )


def left(config: Config, lock: Lock) -> tuple[str, ...]:
    """The models that the lock has and modelshelf.yaml has no longer; sorted."""
    return tuple(sorted(set(lock.models) - set(config.models)))


def refuse_stale(config: Config, lock: Lock, path: str = FILE) -> None:
    """Refuse a lock that would have to change: `--locked`.

    Args:
        config: What is wanted.
        lock: What is locked.
        path: What errors call it.

    Raises:
        UsageError: It lacks a model, has it otherwise, or has one too many.
    """
    if names := (*stale(config, lock), *left(config, lock)):
        raise UsageError(
            f"{path} does not fit what modelshelf.yaml says now: {', '.join(names)} would change",
            hint="run modelshelf lock, and commit what it writes to git",
        )


def refuse_too_large(config: Config, lock: Lock) -> None:
    """Refuse models that the shelf is too small for, as far as modelshelf.yaml states its size.

    Raises:
        NoSpaceError: A model is larger than the shelf.
    """
    if config.shelf.size is None:
        return
    room = bytes_of(config.shelf.size)
    for name, locked in sorted(lock.models.items()):
        if locked.snapshot.size > room:
            raise NoSpaceError(
                f"models.{name} has {quantity_of(locked.snapshot.size)}, more than the "
                f"{config.shelf.size} of shelf.{config.shelf.kind}.size",
                hint="choose fewer files (engine, include, exclude), or a larger share and size",
            )


def _to_json(locked: Locked) -> dict[str, Any]:
    snapshot = locked.snapshot.to_json()
    del snapshot["created"], snapshot["tool"]
    return {
        "source": locked.source,
        "choice": dataclasses.asdict(locked.choice),
        "id": locked.snapshot.id,
        "snapshot": snapshot,
    }


def _from_json(entry: dict[str, Any]) -> Locked:
    choice = dict(entry["choice"])
    for field in ("include", "exclude"):
        choice[field] = tuple(choice[field])
    snapshot = Snapshot.from_json({**entry["snapshot"], "created": 0.0, "tool": ""})
    if snapshot.id != entry["id"]:
        raise ValueError("what it lists is not what its id says")
    return Locked(str(entry["source"]), Choice(**choice), snapshot)


def _pretty(value: object, indent: str = "") -> str:
    """JSON in which each key has a line, and each element of a list."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{json.dumps(k)}: {_pretty(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        lines = [deeper + json.dumps(element, ensure_ascii=False) for element in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
