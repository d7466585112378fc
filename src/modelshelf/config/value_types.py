"""Types of values that sections of modelshelf.yaml share. pydantic checks them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modelshelf.config import text_checks
from modelshelf.config.quantity import bytes_of, kubernetes_quantity
from modelshelf.shelf.errors import UsageError

# Amounts in `resources`. Unlike sizes they may be thousandths, as in `500m` of a processor.
_AMOUNT = re.compile(r"\d+(\.\d*)?([eE][+-]?\d{1,2}|[KMGTPE]i|[numkMGTPE])?")
_TOLERATION_KEYS = ("key", "operator", "value", "effect", "tolerationSeconds")
IMAGE_KEYS = ("python", "vllm", "vllm-cpu", "llamacpp", "llamacpp-cuda")


def _check_size(text: str) -> str:
    try:
        return kubernetes_quantity(text)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _check_rate(text: str) -> str:
    try:
        rate = text.removesuffix("/s")
        if bytes_of(rate) > 0:
            return rate
    except UsageError:
        pass
    raise ValueError(f"{text!r} is not a speed: write bytes per second, such as 200MB")


def _check_resources(value: dict[str, Any]) -> dict[str, Any]:
    """Return requests and limits in Kubernetes' form, with each amount as text."""
    for part, amounts in value.items():
        if part not in ("requests", "limits") or not isinstance(amounts, dict):
            raise ValueError(f"it has requests and limits below it, each with amounts; not {part}")
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not _AMOUNT.fullmatch(str(amount)):
                raise ValueError(
                    f"{part}.{name} is {amount!r}, which is not an amount, such as 4 or 8Gi"
                )
    return {
        part: {name: str(amount) for name, amount in amounts.items()}
        for part, amounts in value.items()
    }


def _check_toleration(value: dict[str, Any]) -> dict[str, Any]:
    for name, part in value.items():
        if name not in _TOLERATION_KEYS:
            raise ValueError(
                f"a toleration has no key {name!r}; it may have {', '.join(_TOLERATION_KEYS)}"
            )
        required = int if name == "tolerationSeconds" else str
        if type(part) is not required:
            kind = "a whole number" if required is int else "text: write it in quotes"
            raise ValueError(f"{name} must be {kind}")
    return value


def _check_image_key(text: str) -> str:
    if text not in IMAGE_KEYS:
        raise ValueError(f"{text!r} is not the key of an image; there are {', '.join(IMAGE_KEYS)}")
    return text


Text = Annotated[str, Field(min_length=1)]
Key = Annotated[str, AfterValidator(text_checks.check_key)]
Namespace = Annotated[str, AfterValidator(text_checks.check_namespace)]
ObjectName = Annotated[str, AfterValidator(text_checks.check_object_name)]
DataKey = Annotated[str, AfterValidator(text_checks.check_data_key)]
Path = Annotated[str, AfterValidator(text_checks.check_absolute_path)]
Inside = Annotated[str, AfterValidator(text_checks.check_folder_on_share)]
Host = Annotated[str, AfterValidator(text_checks.check_host)]
Url = Annotated[str, AfterValidator(text_checks.check_url)]
Source = Annotated[str, AfterValidator(text_checks.check_source)]
RepoId = Annotated[str, AfterValidator(text_checks.check_repo_id)]
Image = Annotated[str, AfterValidator(text_checks.check_image)]
ImageKey = Annotated[str, AfterValidator(_check_image_key)]
Registry = Annotated[str, AfterValidator(text_checks.check_registry)]
ApiName = Annotated[str, AfterValidator(text_checks.check_api_name)]
HttpPath = Annotated[str, AfterValidator(text_checks.check_http_path)]
Variable = Annotated[str, AfterValidator(text_checks.check_variable_name)]
Resource = Annotated[str, AfterValidator(text_checks.check_resource_name)]
MountOption = Annotated[str, AfterValidator(text_checks.check_mount_option)]
Size = Annotated[str, AfterValidator(_check_size)]
Rate = Annotated[str, AfterValidator(_check_rate)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Uid = Annotated[int, Field(ge=1, le=2**31 - 1)]
Resources = Annotated[dict[str, Any], AfterValidator(_check_resources)]
Toleration = Annotated[dict[str, Any], AfterValidator(_check_toleration)]
