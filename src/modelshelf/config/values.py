"""The kinds of values that sections of modelshelf.yaml share, and how they are checked."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelshelf.config import names
from modelshelf.config.quantity import bytes_of, kubernetes_quantity
from modelshelf.shelf.errors import UsageError

# Kubernetes' own: also thousandths, as in `500m` of a processor.
_AMOUNT = re.compile(r"\d+(\.\d*)?([eE][+-]?\d{1,2}|[KMGTPE]i|[numkMGTPE])?")
_TOLERATION = ("key", "operator", "value", "effect", "tolerationSeconds")


class Section(BaseModel):
    """One mapping of the file: its keys are camelCase there and snake_case here."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def _size(text: str) -> str:
    try:
        return kubernetes_quantity(text)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _rate(text: str) -> str:
    try:
        rate = text.removesuffix("/s")
        if bytes_of(rate) > 0:
            return rate
    except UsageError:
        pass
    raise ValueError(f"{text!r} is no speed: write bytes per second, such as 200MB")


def _resources(value: dict[str, Any]) -> dict[str, Any]:
    """Requests and limits as Kubernetes has them, each amount as text."""
    for part, amounts in value.items():
        if part not in ("requests", "limits") or not isinstance(amounts, dict):
            raise ValueError(f"it has requests and limits below it, each with amounts; not {part}")
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not _AMOUNT.fullmatch(str(amount)):
                raise ValueError(
                    f"{part}.{name} is {amount!r}, which is no amount, such as 4 or 8Gi"
                )
    return {
        part: {name: str(amount) for name, amount in amounts.items()}
        for part, amounts in value.items()
    }


def _toleration(value: dict[str, Any]) -> dict[str, Any]:
    for name, part in value.items():
        if name not in _TOLERATION:
            raise ValueError(f"a toleration has no key {name!r}, but {', '.join(_TOLERATION)}")
        kind = int if name == "tolerationSeconds" else str
        if type(part) is not kind:
            what = "a whole number" if kind is int else "text: write it in quotes"
            raise ValueError(f"{name} must be {what}")
    return value


def _image_key(text: str) -> str:
    if text not in IMAGE_KEYS:
        raise ValueError(f"{text!r} is none of the images: {', '.join(IMAGE_KEYS)}")
    return text


IMAGE_KEYS = ("python", "vllm", "vllm-cpu", "llamacpp", "llamacpp-cuda")

Text = Annotated[str, Field(min_length=1)]
Key = Annotated[str, AfterValidator(names.key)]
Namespace = Annotated[str, AfterValidator(names.namespace)]
ObjectName = Annotated[str, AfterValidator(names.object_name)]
DataKey = Annotated[str, AfterValidator(names.data_key)]
Path = Annotated[str, AfterValidator(names.absolute)]
Inside = Annotated[str, AfterValidator(names.inside)]
Host = Annotated[str, AfterValidator(names.host)]
Url = Annotated[str, AfterValidator(names.url)]
Source = Annotated[str, AfterValidator(names.source)]
RepoId = Annotated[str, AfterValidator(names.repo_id)]
Image = Annotated[str, AfterValidator(names.image)]
ImageKey = Annotated[str, AfterValidator(_image_key)]
Registry = Annotated[str, AfterValidator(names.registry)]
ApiName = Annotated[str, AfterValidator(names.api_name)]
HttpPath = Annotated[str, AfterValidator(names.http_path)]
Variable = Annotated[str, AfterValidator(names.variable)]
Resource = Annotated[str, AfterValidator(names.resource)]
MountOption = Annotated[str, AfterValidator(names.mount_option)]
Size = Annotated[str, AfterValidator(_size)]
Rate = Annotated[str, AfterValidator(_rate)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Uid = Annotated[int, Field(ge=1, le=2**31 - 1)]
Resources = Annotated[dict[str, Any], AfterValidator(_resources)]
Toleration = Annotated[dict[str, Any], AfterValidator(_toleration)]
