"""`Section`, the base of every mapping in modelshelf.yaml, and questions about its keys."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from modelshelf.config.yaml_reader import KeyPath


class Section(BaseModel):
    """One mapping of the file. Its keys are camelCase in the file and snake_case in Python."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def keys_of(section: type[Section]) -> dict[str, Any]:
    """Map each key of a section, as the file spells it, to the type of its value."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def section_at(root: type[Section], path: KeyPath) -> type[Section] | None:
    """Find the section that some keys lead to; None if they lead to no section."""
    kind: object = root
    for part in path:
        if isinstance(kind, type) and issubclass(kind, Section):
            kind = without_none(keys_of(kind).get(str(part)))
        elif typing.get_origin(kind) is dict:
            kind = without_none(typing.get_args(kind)[1])
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def without_none(kind: object) -> object:
    """Remove `| None` from a type."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def section_below(annotation: object) -> tuple[str, type[Section] | None]:
    """Find the section that the value of a key is, or that each value of its mapping is.

    Args:
        annotation: The type of the key's value.

    Returns:
        `.NAME` if the value maps names of the user's own to sections, and an empty text otherwise;
        then the section, or None if there is none.
    """
    kind, names = without_none(annotation), ""
    if typing.get_origin(kind) is dict:
        kind, names = without_none(typing.get_args(kind)[1]), ".NAME"
    return names, kind if isinstance(kind, type) and issubclass(kind, Section) else None


def key_of(section: Section, field: str) -> str:
    """Return a field's key as the file spells it, such as `fastStart` for `fast_start`."""
    return type(section).model_fields[field].alias or field
