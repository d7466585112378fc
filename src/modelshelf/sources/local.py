"""A model on this machine: a GGUF file, a safetensors file, or a folder laid out as on the Hub."""

from __future__ import annotations

import os
import pathlib
import re
import stat
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from modelshelf.shelf.digests import BLOCK_BYTES, Digest
from modelshelf.shelf.errors import (
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    RefusedError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.events import Hashed, Listener, ignore
from modelshelf.shelf.layout import SNAPSHOT_FILE
from modelshelf.shelf.values import File, files_digest
from modelshelf.sources.listing import Listing, refuse_escapes, refuse_large, shelf_name, text_of

REVISION = "local"
# The last is the record of a snapshot on another shelf: a shelf writes its own.
_SKIPPED = frozenset({".git", ".cache", SNAPSHOT_FILE})
_REPORT = 64 * 1024 * 1024  # bytes between two events
# How huggingface_hub lays out what it downloaded: models--org--name/snapshots/<commit>.
_HUB_FOLDER = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]{40}")
_PART_OF = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})(?P<end>\.gguf)")


def resolve(uri: str, *, name: str | None = None) -> Listing:
    """List a file or folder.

    Nothing is hashed yet, so `commit` is empty: pass what was chosen to `hashed`. A file's listing
    holds that file, and of a split GGUF file all the parts beside it. In a folder, `.git` and
    `.cache` are passed over, links to files are followed (huggingface_hub's download folders
    consist of them), and links to folders are not.

    Args:
        uri: A path or a `file://` URI.
        name: `org/name` for the shelf; by default `local/` and the name of the file or folder, or
            the repository's name where the folder is one of huggingface_hub's snapshots.

    Raises:
        NotFoundError: There is nothing at that path.
        NotAuthorisedError: This user may not read it.
        RefusedError: A device, pipe or socket lies there, or a link leads nowhere.
        UsageError: The name cannot be one.
    """
    path = os.path.abspath(os.path.expanduser(_path_of(uri)))
    if not os.path.lexists(path):
        raise NotFoundError(
            f"there is no file or folder {path}",
            hint="a model on the Hub is named hf://org/name",
        )
    repo_id = shelf_name(name) if name else _name_of(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        found = sorted(_walk(path) if folder == path else _parts(path), key=lambda f: f.path)
    except PermissionError as error:
        raise NotAuthorisedError(
            f"this user may not read {error.filename}", hint="ask its owner for read permission"
        ) from error
    except OSError as error:
        raise SourceError(f"{error.filename or path}: {error.strerror}") from error
    refuse_escapes(file.path for file in found)
    return Listing(pathlib.Path(path).as_uri(), repo_id, REVISION, "", tuple(found), folder)


def read_texts(listing: Listing, paths: Iterable[str]) -> dict[str, str]:
    """Read small text files of a local listing.

    Raises:
        IntegrityError: A file changed, is no text, or is too large for one.
        NotFoundError: The listing has no such file.
        SourceError: It cannot be read.
    """
    texts = {}
    for path in paths:
        file = listing.file(path)
        refuse_large(file)
        try:
            data = pathlib.Path(listing.folder or "", path).read_bytes()
        except OSError as error:
            raise SourceError(f"{error.filename}: {error.strerror}") from error
        texts[path] = text_of(file, data)
    return texts


def hashed(listing: Listing, chosen: tuple[File, ...], *, on_event: Listener = ignore) -> Listing:
    """Read the chosen files of a local listing to learn their checksums, several at a time.

    Args:
        listing: What `resolve` returned.
        chosen: The files of it that will be on the shelf.
        on_event: Hears `Hashed` every 64 MiB.

    Returns:
        The listing with the chosen files alone, each with its `sha256`, and with a `commit`: the
        first 40 hex digits of `files_digest` over them.

    Raises:
        IntegrityError: A file changed its size meanwhile.
        SourceError: A file cannot be read.
    """
    folder = listing.folder or ""
    tick = _ticker(sum(file.size for file in chosen), on_event)
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as threads:
        files = tuple(threads.map(lambda file: _hash(folder, file, tick), chosen))
    files = tuple(sorted(files, key=lambda file: file.path))
    return Listing(
        source=listing.source,
        repo_id=listing.repo_id,
        revision=listing.revision,
        commit=files_digest(files)[:40],
        files=files,
        folder=listing.folder,
    )


def _ticker(total: int, on_event: Listener) -> Callable[[int], None]:
    lock = threading.Lock()
    done = told = 0

    def tick(count: int) -> None:
        nonlocal done, told
        with lock:
            done += count
            if done - told >= _REPORT or done == total:
                told = done
                on_event(Hashed(done, total))

    return tick


def _hash(folder: str, file: File, tick: Callable[[int], None]) -> File:
    digest = Digest(file)
    buffer = memoryview(bytearray(BLOCK_BYTES))
    length = 0
    try:
        with open(os.path.join(folder, file.path), "rb", buffering=0) as opened:
            while count := opened.readinto(buffer):
                digest.update(buffer[:count])
                length += count
                tick(count)
    except OSError as error:
        raise SourceError(f"{error.filename or file.path}: {error.strerror}") from error
    if length != file.size:
        raise IntegrityError(
            f"{file.path} changed while it was read: {file.size:,} bytes became {length:,}",
            hint="run the command again when nobody writes there any more",
        )
    return File(file.path, file.size, sha256=digest.sha256())


def _path_of(uri: str) -> str:
    if not uri.lower().startswith("file://"):
        return uri
    parts = urllib.parse.urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(
            f"{uri!r} names a file on another host", hint="write file:///path, with three slashes"
        )
    return urllib.parse.unquote(parts.path)


def _name_of(path: str) -> str:
    if match := _HUB_FOLDER.fullmatch(path):
        return shelf_name(f"{match[1]}/{match[2]}")
    stem = os.path.basename(path)
    if not os.path.isdir(path):
        part = _PART_OF.fullmatch(stem)
        stem = part["stem"] if part else re.sub(r"\.(gguf|safetensors)$", "", stem)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)
    stem = re.sub(r"\.{2,}", ".", stem).lstrip("._-").rstrip("-")[:96]
    if not stem:
        raise UsageError(f"{path} gives no name for the shelf", hint="give one: --name org/name")
    return shelf_name(f"local/{stem}")


def _parts(path: str) -> Iterator[File]:
    """A file on its own, or all the parts of the split GGUF file that it belongs to."""
    folder, name = os.path.split(path)
    part = _PART_OF.fullmatch(name)
    if part is None:
        yield _file(path, name)
        return
    fits = re.compile(re.escape(part["stem"]) + rf"-\d{{5}}-of-{part['total']}\.gguf")
    for other in os.listdir(folder):
        if fits.fullmatch(other):
            yield _file(os.path.join(folder, other), other)


def _walk(folder: str, prefix: str = "") -> Iterator[File]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.name in _SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, path + "/")
            elif not entry.is_dir():
                yield _file(entry.path, path)


def _file(where: str, path: str) -> File:
    try:
        status = os.stat(where)
    except FileNotFoundError:
        raise RefusedError(
            f"{where} is a link to a file that is not there",
            hint="the download it belongs to may have been cut off or deleted",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{where} is neither a file nor a folder")
    return File(path, status.st_size)
