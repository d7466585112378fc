"""What pydantic finds wrong with modelshelf.yaml, in sentences that name the right key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from modelshelf.config.reading import Document, Place
from modelshelf.config.values import Section
from modelshelf.shelf.errors import UsageError

_SHOWN = 4  # others are found once these are put right
_KINDS = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "dict": "a mapping, with keys below it",
    "model": "a mapping, with keys below it",
    "tuple": "a list",
}


def refusal(path: str, document: Document, found: Iterable[tuple[Place, str]]) -> UsageError:
    """One error for some problems: the first in the file, and the others as its hint.

    Args:
        path: The file.
        document: What it says.
        found: Where each problem is, and a sentence on it.
    """
    lines = sorted({(document.line(place), text) for place, text in found})
    texts = [f"{path}:{line}: {text}" for line, text in lines]
    more = [f"line {text.removeprefix(f'{path}:')}" for text in texts[1:_SHOWN]]
    if len(texts) > _SHOWN:
        more.append(f"and {len(texts) - _SHOWN} more")
    return UsageError(texts[0], hint=f"also {'; '.join(more)}" if more else "")


def explained(root: type[Section], errors: Sequence[ErrorDetails]) -> list[tuple[Place, str]]:
    """Where each of pydantic's errors is, and a sentence on it.

    Args:
        root: The model that was validated.
        errors: What it found.
    """
    return [_explained(root, error) for error in errors]


def _explained(root: type[Section], error: ErrorDetails) -> tuple[Place, str]:
    place = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "missing":
        return place[:-1], f"{_dotted(place[:-1]) or 'the file'} lacks the key {place[-1]!r}"
    if error["type"] == "extra_forbidden":
        return place, _unknown(root, place)
    return place, f"{_dotted(place) or 'the file'}{_wrong(error)}"


def _wrong(error: ErrorDetails) -> str:
    """What is wrong with a value, behind its name."""
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    wanted = _KINDS.get(kind.partition("_")[0])
    match kind:
        case "value_error":
            text = f": {context['error']}"
        case "literal_error":
            text = f" must be {context['expected']}{_near(value, context)}"
        case "string_too_short":
            text = " is empty"
        case "greater_than_equal":
            text = f" is {value}, and must be {context['ge']} at least"
        case "less_than_equal":
            text = f" is {value}, and must be {context['le']} at most"
        case _ if wanted:
            text = f" must be {wanted}, and is {_shown(value, wanted)}"
        case _:
            text = f": {error['msg']}"
    return text


def _dotted(place: Place) -> str:
    """`servers.mistral.args[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def _unknown(root: type[Section], place: Place) -> str:
    key = str(place[-1])
    section = section_at(root, place[:-1])
    known = keys(section) if section else {}
    where = _dotted(place[:-1])
    problem = f"{where} has no key {key!r}" if where else f"there is no key {key!r}"
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(key), plain, n=1, cutoff=0.6)
    elsewhere = _elsewhere(root, key)
    if near:
        also = f" ({key!r} belongs to {elsewhere})" if elsewhere else ""
        return f"{problem}; did you mean {plain[near[0]]!r}?{also}"
    return f"{problem}; " + (f"it belongs to {elsewhere}" if elsewhere else _listed(known))


def _listed(known: Iterable[str]) -> str:
    return f"there are {', '.join(known)}"


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _near(value: object, context: Mapping[str, Any]) -> str:
    words = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
    near = difflib.get_close_matches(str(value).lower(), words, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: object, wanted: str) -> str:
    """A value of the wrong kind; text is not repeated, since it could be a secret."""
    if value is None:
        return "empty"
    if isinstance(value, bool | int | float):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        kind = "a truth value" if isinstance(value, bool) else "a number"
        return f'{kind}: write it in quotes, "{shown}"' if wanted == "text" else shown
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "something else")


def keys(section: type[Section]) -> dict[str, Any]:
    """The keys of a section as the file has them → their types."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def section_at(root: type[Section], place: Place) -> type[Section] | None:
    """The section that some keys lead to."""
    kind: object = root
    for part in place:
        if isinstance(kind, type) and issubclass(kind, Section):
            kind = inner_type(keys(kind).get(str(part)))
        elif typing.get_origin(kind) is dict:
            kind = inner_type(typing.get_args(kind)[1])
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def inner_type(kind: object) -> object:
    """A type without `| None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def section_in(annotation: object) -> tuple[str, type[Section] | None]:
    """The section that a key has below it, if any, and `.NAME` where names come in between."""
    kind, between = inner_type(annotation), ""
    if typing.get_origin(kind) is dict:
        kind, between = inner_type(typing.get_args(kind)[1]), ".NAME"
    return between, kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _elsewhere(section: type[Section], key: str, where: str = "") -> str | None:
    """Another section that has a key of that name, as `servers.NAME`."""
    for name, annotation in keys(section).items():
        between, part = section_in(annotation)
        if part is not None:
            below = f"{where}{name}{between}"
            found = below if key in keys(part) else _elsewhere(part, key, f"{below}.")
            if found:
                return found
    return None
