"""What names, hosts, paths and addresses may look like. Pure, on the standard library alone.

Each function returns the text as it will be used, or raises ValueError with half a sentence that
says what is wrong with it. None repeats a text in which a password could stand.
"""

from __future__ import annotations

import ipaddress
import os
import re

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import ModelRef

LONGEST_KEY = 40  # leaves room in a label's 63 characters for what object names add
LONGEST_LABEL = 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DATA_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_SOURCE = re.compile(r"hf://[\w.-]+(/[\w.-]+)?(@[^@?#\s]+)?")
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESOURCE = re.compile(r"[a-z0-9.-]+/[A-Za-z0-9_.-]+")
_URL = re.compile(r"https?://(?P<host>[^\s/?#]+)(/[^\s?#]*)?")


def key(text: str) -> str:
    """A name of the user's own: objects are named after it."""
    return _label(text, LONGEST_KEY)


def namespace(text: str) -> str:
    """The name of a namespace (RFC 1123 label)."""
    return _label(text, LONGEST_LABEL)


def _label(text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"{text!r} has {len(text)} characters, and {longest} is the most")
    if _LABEL.fullmatch(text):
        return text
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    raise ValueError(
        f"{text!r} is not a name that Kubernetes takes: it consists of a-z, 0-9 and dashes "
        "between them" + (f"; {near!r} would do" if near else "")
    )


def object_name(text: str) -> str:
    """The name of an object that is there already (RFC 1123 subdomain)."""
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):  # noqa: PLR2004 - Kubernetes' limit
        raise ValueError(f"{text!r} is not the name of a Kubernetes object")
    return text


def data_key(text: str) -> str:
    """A key in a Secret or ConfigMap."""
    if not _DATA_KEY.fullmatch(text):
        raise ValueError(f"{text!r} is not a key that a Secret or ConfigMap can have")
    return text


def absolute(text: str) -> str:
    """A path from the root; slashes too many are taken out."""
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise ValueError(f"{text!r} is not an absolute path: it begins with / and has no ..")
    return os.path.normpath("/" + text.lstrip("/"))


def inside(text: str) -> str:
    """A folder, relative to the root of the share."""
    path = text.rstrip("/")
    if {"..", ".", ""} & set(path.split("/")) or not path.isprintable():
        raise ValueError(
            f"{text!r} is not a folder on the share: name it from the share's root on, without "
            "/ in front and without .."
        )
    return path


def host(text: str) -> str:
    """A host's name or address, without scheme, port or path; IPv6 without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
    elif _HOST.fullmatch(bare) and ".." not in bare:
        return bare
    raise ValueError(
        f"{text!r} is not a host: write a name or an address alone, without scheme, port or path"
    )


def url(text: str) -> str:
    """An http or https URL without a password; a slash at its end is taken off."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("it is not a URL that begins with http:// or https://")
    if "@" in match["host"]:
        raise ValueError("it holds a password, which does not belong in a file")
    return text.rstrip("/")


def source(text: str) -> str:
    """Where pods can get a model from."""
    if not _SOURCE.fullmatch(text):
        raise ValueError(
            "it does not name a repository on the Hub, as hf://org/name or hf://org/name@revision"
            " do; pods reach no other sources"
        )
    return text


def repo_id(text: str) -> str:
    """A model's name on the shelf, `org/name`."""
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        ref = None
    if ref is None or ref.at is not None:
        raise ValueError(f"{text!r} is not a name on the shelf: it looks like org/name")
    return text


def image(text: str) -> str:
    """The name of an image."""
    if "://" in text or not _IMAGE.fullmatch(text):
        raise ValueError(f"{text!r} is not an image: it looks like host/path:version, without ://")
    return text


def registry(text: str) -> str:
    """Where images are mirrored: host, port and path; a slash at its end is taken off."""
    return image(text).rstrip("/")


def api_name(text: str) -> str:
    """What an API calls a model."""
    if not text or text.startswith("-") or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no name for a model: it has no spaces and no - in front")
    return text


def http_path(text: str) -> str:
    """The path of a URL."""
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not the path of a URL: it begins with /")
    return text


def variable(text: str) -> str:
    """The name of an environment variable."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of an environment variable")
    return text


def resource(text: str) -> str:
    """What a cluster calls devices of its nodes."""
    if not _RESOURCE.fullmatch(text):
        raise ValueError(f"{text!r} is not a resource: it looks like nvidia.com/gpu")
    return text


def mount_option(text: str) -> str:
    """One option of `mount`."""
    if not text.isprintable() or {" ", ","} & set(text) or not text:
        raise ValueError(f"{text!r} is not one option of mount: give each its own line")
    return text


def parse_mount_source(text: str) -> tuple[str, str]:
    """Split an NFS share's Mount Source, as clouds show it, in two.

    Args:
        text: `HOST:/PATH`; an IPv6 address stands in brackets.

    Returns:
        Host and path.

    Raises:
        UsageError: It is none.

    Example:
        >>> parse_mount_source("10.100.32.2:/2633050/models/")
        ('10.100.32.2', '/2633050/models')
        >>> parse_mount_source("[fd00::7]:/models")
        ('fd00::7', '/models')
    """
    try:
        return _mount_source(*text.strip().partition(":/"))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a Mount Source: {error}",
            hint="it looks like HOST:/PATH, such as 10.100.32.2:/2633050/models; an IPv6 address "
            "stands in brackets, as in [fd00::7]:/models",
        ) from None


def _mount_source(server: str, colon: str, path: str) -> tuple[str, str]:
    # Without brackets an address with colons could end at any of them.
    if not colon or (":" in server and not server.startswith("[")):
        raise ValueError("there is no host with :/ behind it")
    if path.startswith("/"):
        raise ValueError("it has two slashes behind the host, as URLs do")
    return host(server), absolute("/" + path)
