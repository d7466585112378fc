"""Where models come from: a name is resolved to a `Listing`, of which `select` chooses.

`hf://org/name[@revision]` and `org/name` are repositories on a Hugging Face Hub; a path or
`file://` URI is a file or folder on this machine.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.values import File
from modelshelf.sources import local
from modelshelf.sources.listing import Listing

__all__ = ["Listing", "narrow", "read_texts", "resolve"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BARE = re.compile(r"[\w.-]+/[\w.-]+(@.+)?")


def resolve(
    uri: str,
    *,
    name: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    on_event: Listener = ignore,
) -> Listing:
    """Find out what a source has.

    Args:
        uri: `hf://org/name[@revision]`, `org/name[@revision]`, a path or a `file://` URI.
        name: What to call the model on the shelf; by default the repository's own name, and
            `local/<name of the file or folder>` for a path.
        endpoint: The Hub to ask unless HF_ENDPOINT names one.
        token: For the Hub, instead of HF_TOKEN or a login.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: The URI is none of these, or could be two of them.
        NotAuthorisedError: The source wants a token, another token, or an accepted licence.
        NotFoundError: It has no such model or revision; there is no such path.
        SourceError: It cannot be reached, keeps failing, or offline mode is on.
        RefusedError: It lists names that would escape their folder, or a path holds devices.
    """
    if is_local(uri):
        return local.resolve(uri, name=name)
    from modelshelf.sources import huggingface  # noqa: PLC0415  # heavy, and only needed here

    return huggingface.resolve(uri, name=name, endpoint=endpoint, token=token, on_event=on_event)


def read_texts(
    listing: Listing,
    paths: Iterable[str],
    *,
    endpoint: str | None = None,
    token: str | None = None,
    on_event: Listener = ignore,
) -> dict[str, str]:
    """Read small text files of a listing, verified: what `select.choose` must know to choose.

    Args:
        listing: What `resolve` returned.
        paths: Which of its files.
        endpoint: The Hub to ask unless HF_ENDPOINT names one.
        token: For the Hub, instead of HF_TOKEN or a login.
        on_event: Hears of requests that are repeated.

    Returns:
        Path → text.

    Raises:
        IntegrityError: A file is not what the source states, is no text, or is too large for one.
        NotFoundError: The listing has no such file.
        SourceError: The source cannot be reached, or refuses.
    """
    if listing.folder is not None:
        return local.read_texts(listing, paths)
    from modelshelf.sources import huggingface  # noqa: PLC0415  # heavy, and only needed here

    return huggingface.read_texts(listing, paths, endpoint=endpoint, token=token, on_event=on_event)


def narrow(listing: Listing, chosen: tuple[File, ...], *, on_event: Listener = ignore) -> Listing:
    """The listing with the chosen files alone, each with a checksum, and with a commit.

    A Hub states both. The files of a local listing are read for them, which takes as long as the
    disk needs.

    Raises:
        IntegrityError: A local file changed meanwhile.
        SourceError: A local file cannot be read.
    """
    if listing.folder is not None:
        return local.hashed(listing, chosen, on_event=on_event)
    return dataclasses.replace(listing, files=chosen)


def is_local(uri: str) -> bool:
    """Whether a URI names something on this machine rather than a repository on a Hub.

    Raises:
        UsageError: It could be both, or is of a kind that this version does not know.
    """
    scheme = _SCHEME.match(uri)
    if scheme:
        if scheme[1].lower() in ("hf", "file"):
            return scheme[1].lower() == "file"
        raise UsageError(
            f"models do not come from {scheme[1].lower()}:// in this version",
            hint="name hf://org/name[@revision], or a file or folder on this machine",
        )
    here = os.path.exists(os.path.expanduser(uri))
    if not _BARE.fullmatch(uri) or uri.startswith("."):
        return True
    if here:
        raise UsageError(
            f"{uri!r} is a path here, and could be a repository on the Hub, too",
            hint=f"write ./{uri} for the path, or hf://{uri} for the repository",
        )
    return False
