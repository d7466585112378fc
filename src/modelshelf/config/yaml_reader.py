"""Reading YAML into plain values, together with the line of each value.

Errors about a value can name its line. Scalars follow the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/): `no`, `on` and dates are text. PyYAML follows YAML 1.1, in which the
key `no` of a proxy would be read as false.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import yaml

from modelshelf.shelf.errors import UsageError

KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead from the top of a document to a value."""

# A few lines with aliases of aliases can stand for any number of values.
_MAX_VALUES = 100_000
_MAX_DEPTH = 40
_MAX_INT_LENGTH = 40
_SHOWN_LENGTH = 40
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # half of a character, which UTF-8 cannot encode
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
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and form


for _name, (_pattern, _first) in _SCALARS.items():
    # PyYAML accepts a match of the beginning, so each pattern must end with `$`.
    _whole = re.compile(rf"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, _first)


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """The content of a YAML file.

    Attributes:
        data: Mappings, lists, text, numbers, truth values and None.
        lines: The path of each value → its line, counted from 1.
    """

    data: Any
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Find the line of a value; for an unknown value, the line of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(text: str, path: str) -> Document:
    """Read one YAML document.

    Args:
        text: YAML.
        path: The name of the file, for errors.

    Raises:
        UsageError: The text is not valid YAML, repeats a key, or is nested too deeply.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, path) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
    converter = _NodeConverter(path)
    data = None if node is None else converter.value(node, ())
    return Document(data, converter.lines)


def _syntax_error(error: yaml.MarkedYAMLError, path: str) -> UsageError:
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else path
    hint = "check this line and the one above it: quotes, brackets and indentation"
    if error.problem and "'\\t'" in error.problem:
        hint = "indent with spaces: YAML does not allow tabs"
    return UsageError(
        f"{where}: this is not valid YAML: {error.problem or error.context}", hint=hint
    )


class _NodeConverter:
    """Converts PyYAML's nodes to plain values, and records the line of each."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self.lines: dict[KeyPath, int] = {}

    def value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 - any value that YAML can hold
        self.lines.setdefault(path, _line(node))
        self._count += 1
        if self._count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise self._error(node, "this is nested too deeply or repeats itself without end")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(part, (*path, i)) for i, part in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self._merged(value_node, path), **merged}
                continue
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                raise self._error(key_node, "a key must be text: write it in quotes")
            if key in lines:
                raise self._error(key_node, f"the key {key!r} is already in line {lines[key]}")
            lines[key] = self.lines[(*path, key)] = _line(key_node)
            values[key] = self.value(value_node, (*path, key))
        return {**merged, **values}

    def _merged(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Merge the mappings that `<<: *anchor` or `<<: [*a, *b]` names; earlier ones win."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise self._error(part, "<< merges mappings, and this is not one")
            merged = {**self.value(part, (*path, "<<")), **merged}
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
            case "int" if len(text) <= _MAX_INT_LENGTH:
                return int(text)
            case "float":
                return float(text)
        raise self._error(
            node, f"{text[:_SHOWN_LENGTH]!a} is not a kind of value that this file can hold"
        )

    def _error(self, node: yaml.Node, problem: str) -> UsageError:
        return UsageError(f"{self._path}:{_line(node)}: {problem}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
