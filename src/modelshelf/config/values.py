"""The kinds of values in modelshelf.yaml that several sections share, and how they are checked."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelshelf.config.quantity import bytes_of, kubernetes_quantity
from modelshelf.core.errors import UsageError

LONGEST_NAME = 40  # leaves room in 63 characters for what object names add
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")


class Section(BaseModel):
    """One mapping of the file: its keys are camelCase there and snake_case here."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def label(text: str) -> str:
    """A name that Kubernetes takes for any object.

    Raises:
        ValueError: It is none (RFC 1123), or too long.
    """
    if len(text) > LONGEST_NAME:
        raise ValueError(f"{text!r} has {len(text)} characters; {LONGEST_NAME} is the most")
    if not _LABEL.fullmatch(text):
        near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        raise ValueError(
            f"{text!r} is not a name that Kubernetes takes: use a-z, 0-9 and dashes between them"
            + (f"; {near!r} would do" if near else "")
        )
    return text


def _size(text: str) -> str:
    try:
        return kubernetes_quantity(text)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _rate(text: str) -> str:
    try:
        if bytes_of(text.removesuffix("/s")) > 0:
            return text.removesuffix("/s")
    except UsageError:
        pass
    raise ValueError(f"{text!r} is no speed; write bytes per second, such as 200MB")


def absolute(text: str) -> str:
    """A path from the root, without `..` and without a slash at its end.

    Raises:
        ValueError: It is none.
    """
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise ValueError(f"{text!r} is not an absolute path: it begins with / and has no ..")
    return os.path.normpath("/" + text.lstrip("/"))


def _inside(text: str) -> str:
    path = text.rstrip("/")
    if not path or path.startswith("/") or {"..", ".", ""} & set(path.split("/")):
        raise ValueError(
            f"{text!r} is not a folder on the share: write it without / or .. in front"
        )
    return path


def host(text: str) -> str:
    """A host's name or address, without scheme, port or path.

    Raises:
        ValueError: It is none.
    """
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host: write a name or an address alone")
    return text


def url(text: str) -> str:
    """An http or https URL without a password; a slash at its end is taken off.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"https?://(?P<rest>[^\s/?#]+)(/[^\s?#]*)?", text)
    if match is None:
        raise ValueError("it must be a URL that begins with http:// or https://")
    if "@" in match["rest"]:
        raise ValueError("it holds a password, which does not belong in a file")
    return text.rstrip("/")


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of an environment variable")
    return text


Label = Annotated[str, AfterValidator(label), Field(max_length=LONGEST_NAME)]
Name = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(min_length=1)]
Size = Annotated[str, AfterValidator(_size)]
Rate = Annotated[str, AfterValidator(_rate)]
Path = Annotated[str, AfterValidator(absolute)]
Inside = Annotated[str, AfterValidator(_inside)]
Host = Annotated[str, AfterValidator(host)]
Url = Annotated[str, AfterValidator(url)]
Variable = Annotated[str, AfterValidator(_variable)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Uid = Annotated[int, Field(ge=1, le=2**31 - 1)]
Object = dict[str, Any]
