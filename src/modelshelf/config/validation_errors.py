"""pydantic's errors about modelshelf.yaml, as sentences that name the right key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from modelshelf.config.section import Section, keys_of, section_at, section_below
from modelshelf.config.yaml_reader import Document, KeyPath
from modelshelf.shelf.errors import UsageError

Problem = tuple[KeyPath, str]
"""The path of a value, and a sentence that says what is wrong with it."""

_MAX_SHOWN = 4  # the next run shows the others
_KINDS = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "dict": "a mapping, with keys below it",
    "model": "a mapping, with keys below it",
    "tuple": "a list",
}


def refusal(path: str, document: Document, problems: Iterable[Problem]) -> UsageError:
    """Make one error of several problems.

    The problem that comes first in the file becomes the message, and the others become the hint.

    Args:
        path: The name of the file.
        document: The content of the file.
        problems: At least one problem.
    """
    lines = sorted({(document.line(key_path), sentence) for key_path, sentence in problems})
    messages = [f"{path}:{line}: {sentence}" for line, sentence in lines]
    others = [f"line {message.removeprefix(f'{path}:')}" for message in messages[1:_MAX_SHOWN]]
    if len(messages) > _MAX_SHOWN:
        others.append(f"and {len(messages) - _MAX_SHOWN} more")
    return UsageError(messages[0], hint=f"also {'; '.join(others)}" if others else "")


def explain(root: type[Section], errors: Sequence[ErrorDetails]) -> list[Problem]:
    """Translate pydantic's errors into problems.

    Args:
        root: The section that was validated.
        errors: pydantic's errors about it.
    """
    return [_explain(root, error) for error in errors]


def _explain(root: type[Section], error: ErrorDetails) -> Problem:
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "missing":
        return path[:-1], f"{_dotted(path[:-1]) or 'the file'} lacks the key {path[-1]!r}"
    if error["type"] == "extra_forbidden":
        return path, _explain_unknown_key(root, path)
    return path, f"{_dotted(path) or 'the file'}{_explain_value(error)}"


def _explain_value(error: ErrorDetails) -> str:
    """Return the rest of a sentence that begins with the path of a wrong value."""
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    expected_kind = _KINDS.get(kind.partition("_")[0])
    match kind:
        case "value_error":
            text = f": {context['error']}"
        case "literal_error":
            text = f" must be {context['expected']}{_did_you_mean(value, context)}"
        case "string_too_short":
            text = " is empty"
        case "greater_than_equal":
            text = f" is {value}; it must be at least {context['ge']}"
        case "less_than_equal":
            text = f" is {value}; it must be at most {context['le']}"
        case _ if expected_kind:
            text = f" must be {expected_kind}, and is {_describe(value, expected_kind)}"
        case _:
            text = f": {error['msg']}"
    return text


def _dotted(path: KeyPath) -> str:
    """Write a path as `servers.mistral.args[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _explain_unknown_key(root: type[Section], path: KeyPath) -> str:
    key = str(path[-1])
    section = section_at(root, path[:-1])
    known = keys_of(section) if section else {}
    parent = _dotted(path[:-1])
    problem = f"{parent} has no key {key!r}" if parent else f"there is no key {key!r}"
    spellings = {_without_case(name): name for name in known}
    near = difflib.get_close_matches(_without_case(key), spellings, n=1, cutoff=0.6)
    owner = _section_with(root, key)
    if near:
        also = f" ({key!r} belongs to {owner})" if owner else ""
        return f"{problem}; did you mean {spellings[near[0]]!r}?{also}"
    return f"{problem}; " + (f"it belongs to {owner}" if owner else f"there are {', '.join(known)}")


def _without_case(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _did_you_mean(value: object, context: Mapping[str, Any]) -> str:
    words = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
    near = difflib.get_close_matches(str(value).lower(), words, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _describe(value: object, expected_kind: str) -> str:
    """Describe a value of the wrong kind; text is not repeated, because it could be a secret."""
    if value is None:
        return "empty"
    if isinstance(value, bool | int | float):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        kind = "a truth value" if isinstance(value, bool) else "a number"
        return f'{kind}: write it in quotes, "{shown}"' if expected_kind == "text" else shown
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "something else")


def _section_with(section: type[Section], key: str, prefix: str = "") -> str | None:
    """Find a section below this one that has a key of that name, such as `servers.NAME`."""
    for name, annotation in keys_of(section).items():
        names, child = section_below(annotation)
        if child is not None:
            child_path = f"{prefix}{name}{names}"
            if key in keys_of(child):
                return child_path
            if deeper := _section_with(child, key, f"{child_path}."):
                return deeper
    return None
