"""YAML text as plain values, with the line of each: so that every error can name one.

Scalars mean what YAML 1.2 says (https://yaml.org/spec/1.2.2/, core schema): `no` and `on` are
text, dates too. By 1.1, which PyYAML follows, the key `no` of a proxy would be false.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import yaml

from modelshelf.shelf.errors import UsageError

Place = tuple[str | int, ...]

_MOST = 100_000  # values: aliases of aliases can stand for any number of them
_DEEPEST = 40
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character: no file or API could hold it
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "int": (re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    "float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"<<"), ["<"]),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's, with YAML 1.2's scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and form


for _name, (_pattern, _first) in _SCALARS.items():
    # PyYAML takes whatever matches at the beginning.
    _whole = re.compile(rf"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, _first)


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says.

    Attributes:
        data: Mappings, lists, text, numbers, truth values and None.
        lines: Where it says so: the keys that lead to a value → its line, from 1.
    """

    data: Any
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read(text: str, path: str) -> Document:
    """Read one YAML document.

    Args:
        text: YAML.
        path: What errors call it.

    Raises:
        UsageError: It is no YAML, has a key twice, or nests without an end.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, path) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UsageError(f"{path} nests too deeply") from None
    reading = _Reading(path)
    data = None if node is None else reading.value(node, ())
    return Document(data, reading.lines)


def _unreadable(error: yaml.MarkedYAMLError, path: str) -> UsageError:
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else path
    hint = "look at the line above it, too: quotes, brackets and how far lines are indented"
    if error.problem and "'\\t'" in error.problem:
        hint = "indent with spaces: YAML allows no tabs"
    return UsageError(f"{where}: this is no YAML: {error.problem or error.context}", hint=hint)


class _Reading:
    """Turns nodes into values and notes their lines."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self.lines: dict[Place, int] = {}

    def value(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - whatever YAML holds
        self.lines.setdefault(place, _line(node))
        self._count += 1
        if self._count > _MOST or len(place) > _DEEPEST:
            raise self._error(node, "this nests or repeats itself without an end")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(part, (*place, i)) for i, part in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self._merged(value_node, place), **merged}
                continue
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                raise self._error(key_node, "a key must be text: write it in quotes")
            if key in lines:
                raise self._error(key_node, f"{key!r} stands here again, after line {lines[key]}")
            lines[key] = self.lines[(*place, key)] = _line(key_node)
            values[key] = self.value(value_node, (*place, key))
        return {**merged, **values}

    def _merged(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        """What `<<: *anchor` brings in, or the first of a list of them that has a key."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise self._error(part, "<< merges a mapping, and this is none")
            merged = {**self.value(part, (*place, "<<")), **merged}
        return merged

    def _scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        kind, text = node.tag.removeprefix(_TAG), node.value
        match kind:
            case "str" | "merge" if not _SURROGATE.search(text):
                return str(text)
            case "null":
                return None
            case "bool":
                return str(text).lower() == "true"
            case "int" if len(text) <= _DEEPEST:
                return int(text)
            case "float":
                return float(text)
        raise self._error(node, f"{text[:_DEEPEST]!a} is of a kind that has no meaning here")

    def _error(self, node: yaml.Node, problem: str) -> UsageError:
        return UsageError(f"{self._path}:{_line(node)}: {problem}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
