"""modelshelf.yaml: read, checked, and as frozen values."""

from __future__ import annotations

import json
import os

from pydantic import Field, ValidationError

from modelshelf.config.problems import explained, refusal
from modelshelf.config.pulling import (
    CaRef,
    HubConfig,
    ModelConfig,
    Proxy,
    PullConfig,
    SecretRef,
)
from modelshelf.config.reading import read
from modelshelf.config.rules import problems
from modelshelf.config.serving import ServerConfig
from modelshelf.config.storage import HostPath, Nfs, ShelfConfig, StorageClass
from modelshelf.config.values import Image, ImageKey, Key, Namespace, Registry, Section, Text
from modelshelf.shelf.errors import UsageError

__all__ = [
    "CaRef",
    "Config",
    "HostPath",
    "HubConfig",
    "ModelConfig",
    "Nfs",
    "Proxy",
    "PullConfig",
    "SecretRef",
    "ServerConfig",
    "ShelfConfig",
    "StorageClass",
    "load",
    "parse",
]

FILE = "modelshelf.yaml"


class Config(Section):
    """A whole modelshelf.yaml."""

    name: Key = Field(
        "models",
        description="Tells the objects of this file from those of another in the same namespace: "
        "it is in their labels.",
    )
    context: Text | None = Field(
        None,
        description="The kubeconfig's context to use, whichever is current: so that this file "
        "never goes to another cluster.",
    )
    namespace: Namespace = Field(
        description="The namespace; made if it is not there, used as it is if it is."
    )
    registry: Registry | None = Field(
        None, description="A mirror of images: takes the place of the host in all image names."
    )
    images: dict[ImageKey, Image] = Field(
        {},
        description="Other images than the pinned ones, by key: python, vllm, vllm-cpu, llamacpp, "
        "llamacpp-cuda.",
    )
    shelf: ShelfConfig = Field(description="Where the files lie.")
    hub: HubConfig = Field(HubConfig(), description="Where models come from.")  # type: ignore[call-arg]
    pull: PullConfig = Field(PullConfig(), description="How the Jobs that pull models run.")  # type: ignore[call-arg]
    models: dict[Key, ModelConfig] = Field(description="The models, by a name of your own.")
    servers: dict[Key, ServerConfig] = Field(
        {}, description="The servers, by the name that their Service will have."
    )


def load(path: str | os.PathLike[str] = FILE) -> Config:
    """Read a modelshelf.yaml.

    Raises:
        UsageError: It is missing, cannot be read, or says something that it cannot.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}", hint="write one with modelshelf init, or name it with --file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {what}") from None
    return parse(text, path)


def parse(text: str, path: str = FILE) -> Config:
    """Read the text of a modelshelf.yaml.

    Args:
        text: YAML.
        path: What errors call it.

    Raises:
        UsageError: It is no YAML, or says something that it cannot.
    """
    document = read(text, path)
    if document.data is None:
        raise UsageError(f"{path} is empty", hint="modelshelf init writes one that works")
    try:
        # As JSON, where strictness knows lists, but text is no number and 1 is not true.
        config = Config.model_validate_json(
            json.dumps(document.data), strict=True, by_alias=True, by_name=False
        )
    except ValidationError as error:
        found = explained(Config, error.errors(include_url=False))
        raise refusal(path, document, found) from None
    if found := list(problems(config)):
        raise refusal(path, document, found)
    return config
