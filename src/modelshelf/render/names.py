"""Names, labels and annotations of everything that is rendered.

Labels follow Kubernetes' recommended `app.kubernetes.io/*` set; annotations are our own, under
`modelshelf.dev/`. Where an object cannot be changed in place, its name ends in a hash of its
content.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from modelshelf.config.file import Config

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON has it."""

NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "modelshelf"

SNAPSHOT = "modelshelf.dev/snapshot"  # repo_id@id
SOURCE = "modelshelf.dev/source"
COMMIT = "modelshelf.dev/commit"
BYTES = "modelshelf.dev/bytes"
LOAD = "modelshelf.dev/load"  # how the engine reads the model, and why
REPLICAS = "modelshelf.dev/replicas"  # the number that the file has
TEMPLATE = "modelshelf.dev/template"  # hash of a pod template without the name of its code map

SHELF, PULL, PRIME, SERVER, CODE = "shelf", "pull", "prime", "server", "code"

_MAX_LENGTH = 63  # characters of a DNS label, and of a label's value


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity of an object in a cluster.

    Attributes:
        kind: Such as `Deployment`.
        namespace: Empty for an object of the whole cluster.
        name: The object's name.
    """

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def key(obj: Object) -> Key:
    """The key of an object."""
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata.get("namespace", ""), metadata["name"])


def labels(config: Config, component: str, name: str) -> dict[str, str]:
    """The labels of an object.

    Args:
        config: The file; objects of several files in one namespace are told apart by its name.
        component: `SHELF`, `PULL`, `PRIME`, `SERVER` or `CODE`.
        name: The key of the server or the model, or another name for what the object serves.
    """
    return {NAME: fitted(name), COMPONENT: component, **of_file(config)}


def of_file(config: Config) -> dict[str, str]:
    """The labels that every object of a file has."""
    return {PART_OF: fitted(config.name), MANAGED_BY: MANAGER}


def selector(config: Config, server: str) -> dict[str, str]:
    """The labels by which a server's pods are found; a Deployment's can never be changed."""
    return {NAME: fitted(server), COMPONENT: SERVER, PART_OF: fitted(config.name)}


def short_hash(value: Any, digits: int = 8) -> str:  # noqa: ANN401 (anything that JSON can say)
    """The first hex digits of the sha256 over a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def fitted(*parts: str) -> str:
    """Join parts by `-` into a DNS label of at most 63 characters.

    Characters that a label cannot hold become `-`. A name that was changed or is too long also gets
    a hash of the whole name, so that two different names stay different.
    """
    whole = "-".join(parts)
    label = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if label == whole and len(label) <= _MAX_LENGTH:
        return label
    *front, last = parts
    tail = f"{short_hash(whole)}-{last}" if front else short_hash(whole)
    return f"{label[: _MAX_LENGTH - len(tail) - 1].rstrip('-')}-{tail}".strip("-")
