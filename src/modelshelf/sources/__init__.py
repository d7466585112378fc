"""Where models come from. A URI is resolved to a `Listing` of files, from which `select` chooses.

`hf://org/name[@revision]` and `org/name` are repositories on a Hugging Face Hub. A path or a
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
    """List the files of a source.

    Args:
        uri: `hf://org/name[@revision]`, `org/name[@revision]`, a path or a `file://` URI.
        name: The model's name on the shelf. The default is the repository's own name, or
            `local/<name of the file or folder>` for a path.
        endpoint: The URL of the Hub to ask. HF_ENDPOINT takes precedence.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears of requests that are repeated.

    Raises:
        UsageError: The URI has none of these forms, or could be both a path and a repository.
        NotAuthorisedError: The source requires a token, another token, or an accepted licence.
        NotFoundError: The source has no such model or revision, or the path does not exist.
        SourceError: The source cannot be reached, keeps failing, or offline mode is on.
        RefusedError: The source lists names that would escape their folder, or the path contains a
            device, pipe or socket.
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
    """Read small text files that `select.choose` needs, and verify them.

    Args:
        listing: What `resolve` returned.
        paths: The files to read.
        endpoint: The URL of the Hub to ask. HF_ENDPOINT takes precedence.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears of requests that are repeated.

    Returns:
        Path → text.

    Raises:
        IntegrityError: A file does not match what the source states, or is not text.
        RefusedError: A file is too large for a text.
        NotFoundError: The listing has no such file.
        SourceError: The source cannot be reached, or refuses.
    """
    if listing.folder is not None:
        return local.read_texts(listing, paths)
    from modelshelf.sources import huggingface  # noqa: PLC0415  # heavy, and only needed here

    return huggingface.read_texts(listing, paths, endpoint=endpoint, token=token, on_event=on_event)


def narrow(listing: Listing, files: tuple[File, ...], *, on_event: Listener = ignore) -> Listing:
    """Reduce a listing to some of its files, each with a checksum, and give it a commit.

    A Hub states the commit and the checksums. The files of a local listing are read to compute
    them, which takes as long as the disk needs.

    Args:
        listing: What `resolve` returned.
        files: The files to keep.
        on_event: Hears `Hashed` while local files are read.

    Raises:
        IntegrityError: A local file has changed since it was listed.
        SourceError: A local file cannot be read.
    """
    if listing.folder is not None:
        return local.hash_files(listing, files, on_event=on_event)
    return dataclasses.replace(listing, files=files)


def is_local(uri: str) -> bool:
    """Whether a URI names something on this machine rather than a repository on a Hub.

    Raises:
        UsageError: It could be both, or its scheme is not supported.
    """
    scheme = _SCHEME.match(uri)
    if scheme:
        if scheme[1].lower() in ("hf", "file"):
            return scheme[1].lower() == "file"
        raise UsageError(
            f"models do not come from {scheme[1].lower()}:// in this version",
            hint="name hf://org/name[@revision], or a file or folder on this machine",
        )
    is_path = os.path.exists(os.path.expanduser(uri))
    if not _BARE.fullmatch(uri) or uri.startswith("."):
        return True
    if is_path:
        raise UsageError(
            f"{uri!r} is a path here, and could be a repository on the Hub, too",
            hint=f"write ./{uri} for the path, or hf://{uri} for the repository",
        )
    return False
