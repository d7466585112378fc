"""Checks of single texts: names, hosts, paths, URLs and images. Pure.

Each function `check_…` returns the text in the form in which it will be used. If the text is not
allowed, the function raises ValueError, and the message says what is wrong. A message never repeats
a text that could contain a password.
"""

from __future__ import annotations

import ipaddress
import os
import re

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import ModelRef

MAX_KEY_LENGTH = 40  # object names append more to a key, and a label has at most 63 characters
MAX_LABEL_LENGTH = 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DATA_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_SOURCE = re.compile(r"hf://[\w.-]+(/[\w.-]+)?(@[^@?#\s]+)?")
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESOURCE = re.compile(r"[a-z0-9.-]+/[A-Za-z0-9_.-]+")
_URL = re.compile(r"https?://(?P<host>[^\s/?#]+)(/[^\s?#]*)?")


def check_key(text: str) -> str:
    """Check a name that the user chose. Names of Kubernetes objects begin with it."""
    return _check_label(text, MAX_KEY_LENGTH)


def check_namespace(text: str) -> str:
    """Check the name of a namespace (an RFC 1123 label)."""
    return _check_label(text, MAX_LABEL_LENGTH)


def _check_label(text: str, max_length: int) -> str:
    if len(text) > max_length:
        raise ValueError(f"{text!r} has {len(text)} characters; at most {max_length} are allowed")
    if _LABEL.fullmatch(text):
        return text
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    raise ValueError(
        f"{text!r} is not a name that Kubernetes allows: use only a-z, 0-9 and dashes between "
        "them" + (f"; {near!r} would do" if near else "")
    )


def check_object_name(text: str) -> str:
    """Check the name of an existing object (an RFC 1123 subdomain)."""
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):  # noqa: PLR2004 - Kubernetes' limit
        raise ValueError(f"{text!r} is not the name of a Kubernetes object")
    return text


def check_data_key(text: str) -> str:
    """Check a key of a Secret or ConfigMap."""
    if not _DATA_KEY.fullmatch(text):
        raise ValueError(f"{text!r} is not a key that a Secret or ConfigMap can have")
    return text


def check_absolute_path(text: str) -> str:
    """Check an absolute path, and remove superfluous slashes."""
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise ValueError(f"{text!r} is not an absolute path: it must begin with / and have no ..")
    return os.path.normpath("/" + text.lstrip("/"))


def check_folder_on_share(text: str) -> str:
    """Check a folder that is given relative to the root of the share."""
    path = text.rstrip("/")
    if {"..", ".", ""} & set(path.split("/")) or not path.isprintable():
        raise ValueError(
            f"{text!r} is not a folder on the share: write its path from the root of the share, "
            "without a leading / and without .."
        )
    return path


def check_host(text: str) -> str:
    """Check the name or address of a host, and remove the brackets of an IPv6 address."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
    elif _HOST.fullmatch(bare) and ".." not in bare:
        return bare
    raise ValueError(
        f"{text!r} is not a host: write only a name or an address, without scheme, port or path"
    )


def check_url(text: str) -> str:
    """Check an http or https URL that has no password, and remove a slash at its end."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("it is not a URL that begins with http:// or https://")
    if "@" in match["host"]:
        raise ValueError("it holds a password, and this file must not hold one")
    return text.rstrip("/")


def check_source(text: str) -> str:
    """Check the URI of a source that pods can pull from."""
    if not _SOURCE.fullmatch(text):
        raise ValueError(
            "it does not name a repository on the Hub: write hf://org/name or "
            "hf://org/name@revision, because pods reach no other sources"
        )
    return text


def check_repo_id(text: str) -> str:
    """Check a model's name on the shelf, `org/name`."""
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        ref = None
    if ref is None or ref.at is not None:
        raise ValueError(f"{text!r} is not a name for the shelf: write org/name")
    return text


def check_image(text: str) -> str:
    """Check the name of an image."""
    if "://" in text or not _IMAGE.fullmatch(text):
        raise ValueError(f"{text!r} is not an image: write host/path:version, without ://")
    return text


def check_registry(text: str) -> str:
    """Check a registry (host, port and path), and remove a slash at its end."""
    return check_image(text).rstrip("/")


def check_api_name(text: str) -> str:
    """Check the name of a model in the API."""
    if not text or text.startswith("-") or not text.isprintable() or " " in text:
        raise ValueError(
            f"{text!r} is not a name for a model: it must have no spaces and must not begin with -"
        )
    return text


def check_http_path(text: str) -> str:
    """Check the path of a URL."""
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not the path of a URL: it must begin with /")
    return text


def check_variable_name(text: str) -> str:
    """Check the name of an environment variable."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of an environment variable")
    return text


def check_resource_name(text: str) -> str:
    """Check the name of a resource that nodes offer, such as GPUs."""
    if not _RESOURCE.fullmatch(text):
        raise ValueError(f"{text!r} is not a resource: write a name such as nvidia.com/gpu")
    return text


def check_mount_option(text: str) -> str:
    """Check one option of `mount`."""
    if not text.isprintable() or {" ", ","} & set(text) or not text:
        raise ValueError(f"{text!r} is not one option of mount: give each option its own line")
    return text


def parse_mount_source(text: str) -> tuple[str, str]:
    """Split the Mount Source of an NFS share, as clouds show it, into host and path.

    Args:
        text: `HOST:/PATH`. An IPv6 address is in brackets.

    Returns:
        The host and the path.

    Raises:
        UsageError: The text is not a Mount Source.

    Example:
        >>> parse_mount_source("10.100.32.2:/2633050/models/")
        ('10.100.32.2', '/2633050/models')
        >>> parse_mount_source("[fd00::7]:/models")
        ('fd00::7', '/models')
    """
    try:
        return _split_mount_source(*text.strip().partition(":/"))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a Mount Source: {error}",
            hint="write HOST:/PATH, such as 10.100.32.2:/2633050/models; put an IPv6 address in "
            "brackets, as in [fd00::7]:/models",
        ) from None


def _split_mount_source(server: str, colon: str, path: str) -> tuple[str, str]:
    # Without brackets, nobody can tell at which colon an IPv6 address ends.
    if not colon or (":" in server and not server.startswith("[")):
        raise ValueError("there is no host followed by :/")
    if path.startswith("/"):
        raise ValueError("the host is followed by two slashes, as in a URL")
    return check_host(server), check_absolute_path("/" + path)
