"""modelshelf.lock: the commit of each model, with its files, sizes and checksums.

The file belongs in git, beside modelshelf.yaml.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.config.root_section import Config
from modelshelf.config.rules import first_server_by_engine, two_engines_sentence
from modelshelf.shelf.errors import NoSpaceError, UsageError
from modelshelf.shelf.values import Snapshot

LOCK_FILE = "modelshelf.lock"
FORMAT_VERSION = 1
DEFAULT_ENDPOINT = "https://huggingface.co"
_RELOCK = "restore it from git, or delete it and run modelshelf lock"


@dataclasses.dataclass(frozen=True, slots=True)
class FileChoice:
    """What modelshelf.yaml says about which files of a repository to take.

    Attributes:
        engine: `vllm` or `llamacpp`; None to choose by the files of the repository.
        include: Patterns of the files to take.
        exclude: Patterns of files to leave out.
        all_files: Take all files that are allowed.
        allow_unsafe: Allow pickles and code.
        name: The model's name on the shelf, `org/name`; None for the repository's own name.
    """

    engine: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    all_files: bool = False
    allow_unsafe: bool = False
    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class LockedModel:
    """One model in the lock.

    Attributes:
        source: The source that modelshelf.yaml had when the model was resolved.
        choice: The choice of files that modelshelf.yaml had at that time.
        snapshot: The commit and the files. `created` and `tool` are empty.
        endpoint: The URL of the Hub that was asked, without a password. Pods fetch the files from
            there, unless modelshelf.yaml names another one.
    """

    source: str
    choice: FileChoice
    snapshot: Snapshot
    endpoint: str = DEFAULT_ENDPOINT


@dataclasses.dataclass(frozen=True, slots=True)
class Lock:
    """The whole content of a modelshelf.lock.

    Attributes:
        models: The name of each model in modelshelf.yaml → what it was resolved to.
    """

    models: Mapping[str, LockedModel] = dataclasses.field(default_factory=dict)

    def with_model(self, name: str, locked: LockedModel) -> Lock:
        """Return the lock with one model added or replaced."""
        return Lock({**self.models, name: locked})

    def only(self, names: Collection[str]) -> Lock:
        """Return the lock with only the models of these names."""
        return Lock({name: locked for name, locked in self.models.items() if name in names})

    def dump(self) -> str:
        """Return the text of the file, with one line for each file of a model."""
        models = {name: _to_json(self.models[name]) for name in sorted(self.models)}
        return _format({"version": FORMAT_VERSION, "models": models}) + "\n"


def read_lock(path: str | os.PathLike[str] = LOCK_FILE) -> Lock:
    """Read a modelshelf.lock. A missing file counts as an empty lock.

    Raises:
        UsageError: The file cannot be read, is damaged, or was written by a newer modelshelf.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            return parse_lock(file.read(), path)
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8", hint=_RELOCK) from None


def parse_lock(text: str, path: str = LOCK_FILE) -> Lock:
    """Read the text of a modelshelf.lock.

    Args:
        text: JSON.
        path: The name of the file, for errors.

    Raises:
        UsageError: The text is damaged, or was written by a newer modelshelf.
    """
    try:
        data = json.loads(text)
        version = int(data["version"])
        if version > FORMAT_VERSION:
            raise UsageError(
                f"{path} was written by a newer modelshelf (version {version} of its format)",
                hint="pip install --upgrade modelshelf",
            )
        return Lock({str(name): _from_json(entry) for name, entry in data["models"].items()})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise UsageError(f"{path} is damaged", hint=_RELOCK) from None


def lock_path(config_path: str | os.PathLike[str]) -> str:
    """Return the path of the lock that belongs to a modelshelf.yaml.

    The lock is in the same folder and has the same name, with the ending `.lock`.
    """
    return os.path.splitext(os.fspath(config_path))[0] + ".lock"


def choice_for(config: Config, model_name: str) -> FileChoice:
    """Return the choice of files that modelshelf.yaml asks for.

    Raises:
        UsageError: Two servers need the files of one model for two engines.
    """
    model = config.models[model_name]
    first_servers = first_server_by_engine(config, model_name)
    if model.engine is None and len(first_servers) > 1:
        raise UsageError(two_engines_sentence(model_name, first_servers))
    engine: str | None = model.engine
    if engine is None and first_servers:
        (engine,) = first_servers
    return FileChoice(
        engine, model.include, model.exclude, model.all_files, model.allow_unsafe, model.name
    )


def stale_models(config: Config, lock: Lock) -> tuple[str, ...]:
    """List the models that the lock lacks or has with another source or choice of files, sorted."""
    return tuple(
        name
        for name, model in sorted(config.models.items())
        if name not in lock.models
        or lock.models[name].source != model.source
        or lock.models[name].choice != choice_for(config, name)
    )


def surplus_models(config: Config, lock: Lock) -> tuple[str, ...]:
    """List the models that the lock has and modelshelf.yaml does not have, sorted."""
    return tuple(sorted(set(lock.models) - set(config.models)))


def refuse_stale(config: Config, lock: Lock, path: str = LOCK_FILE) -> None:
    """Refuse a lock that would have to change, as `--locked` demands.

    Args:
        config: The content of modelshelf.yaml.
        lock: The lock.
        path: The name of the lock's file, for errors.

    Raises:
        UsageError: The lock lacks a model, has it with another source or choice of files, or has a
            model that modelshelf.yaml does not have.
    """
    if names := (*stale_models(config, lock), *surplus_models(config, lock)):
        raise UsageError(
            f"{path} does not fit what modelshelf.yaml says now: {', '.join(names)} would change",
            hint="run modelshelf lock, and commit what it writes to git",
        )


def refuse_too_large(config: Config, lock: Lock) -> None:
    """Refuse models that are larger than the shelf, if modelshelf.yaml states its size.

    Raises:
        NoSpaceError: A model is larger than the shelf.
    """
    if config.shelf.size is None:
        return
    shelf_bytes = bytes_of(config.shelf.size)
    for name, locked in sorted(lock.models.items()):
        if locked.snapshot.size > shelf_bytes:
            raise NoSpaceError(
                f"models.{name} has {quantity_of(locked.snapshot.size)}, more than the "
                f"{config.shelf.size} of shelf.{config.shelf.kind}.size",
                hint="choose fewer files (engine, include, exclude), or enlarge the share and then "
                "its size",
            )


def _to_json(locked: LockedModel) -> dict[str, Any]:
    snapshot = locked.snapshot.to_json()
    del snapshot["created"], snapshot["tool"]
    is_default = locked.endpoint == DEFAULT_ENDPOINT
    return {
        "source": locked.source,
        **({} if is_default else {"endpoint": locked.endpoint}),
        "choice": dataclasses.asdict(locked.choice),
        "id": locked.snapshot.id,
        "snapshot": snapshot,
    }


def _from_json(entry: dict[str, Any]) -> LockedModel:
    choice = dict(entry["choice"])
    for field in ("include", "exclude"):
        choice[field] = tuple(choice[field])
    snapshot = Snapshot.from_json({**entry["snapshot"], "created": 0.0, "tool": ""})
    if snapshot.id != entry["id"]:
        raise ValueError("the id does not match the files")
    endpoint = str(entry.get("endpoint", DEFAULT_ENDPOINT))
    return LockedModel(str(entry["source"]), FileChoice(**choice), snapshot, endpoint)


def _format(value: object, indent: str = "") -> str:
    """Write JSON with one line for each key of a mapping and each element of a list."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{json.dumps(k)}: {_format(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        lines = [deeper + json.dumps(element, ensure_ascii=False) for element in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
