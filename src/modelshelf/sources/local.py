"""Models on this machine: a GGUF file, a safetensors file, or a folder with a Hub's layout."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import stat
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from modelshelf.shelf.values import File, LeftOut, files_digest
from modelshelf.sources.listing import Listing, refuse_escapes, refuse_large, shelf_name, text_of

REVISION = "local"
LINKED_FOLDERS = "links to folders, which are not followed: copy what the model needs of them"
# The last is the record that another shelf wrote into a snapshot. Each shelf writes its own.
_SKIPPED = frozenset({".git", ".cache", SNAPSHOT_FILE})
_BYTES_BETWEEN_EVENTS = 64 * 1024 * 1024
# A snapshot in the cache of huggingface_hub: models--org--name/snapshots/<commit>.
_HUB_FOLDER = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]{40}")
_HUB_REPO_PREFIX = "models--"
_DEFAULT_REF = "main"
_MAX_LISTED = 5  # as many folders as fit a line
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART_OF = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})(?P<end>\.gguf)")


def resolve(uri: str, *, name: str | None = None) -> Listing:
    """List a file or folder.

    No file is hashed yet, so `commit` is empty. Pass the chosen files to `hash_files` to get it.
    The listing of a file contains that file, or all parts in its folder if it is a part of a split
    GGUF file. In a folder, `.git` and `.cache` are skipped. Links to files are followed, because
    huggingface_hub's download folders consist of such links. Links to folders are not followed, and
    are counted in `left_out`.

    The folder of a repository in huggingface_hub's cache (`models--org--name`) stands for the
    snapshot in it that `main` names.

    Args:
        uri: A path or a `file://` URI.
        name: The model's name on the shelf, `org/name`. The default is `local/` and the name of the
            file or folder, or the repository's name if the folder is one of huggingface_hub's
            snapshots.

    Raises:
        NotFoundError: The path does not exist.
        NotAuthorisedError: This user may not read the path.
        RefusedError: The path contains a device, pipe or socket, or a link to a missing file.
        UsageError: The name is not allowed, or the path is huggingface_hub's cache and not one
            snapshot in it.
    """
    path = os.path.abspath(os.path.expanduser(_path_of_uri(uri)))
    if not os.path.lexists(path):
        raise NotFoundError(
            f"there is no file or folder {path}",
            hint="a model on the Hub is named hf://org/name",
        )
    path = hub_cache_snapshot(path)
    repo_id = shelf_name(name) if name else _default_name(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    links: list[str] = []
    try:
        found = _walk(path, links) if folder == path else _parts(path)
        files = sorted(found, key=lambda f: f.path)
    except PermissionError as error:
        raise NotAuthorisedError(
            f"this user may not read {error.filename}", hint="ask its owner for read permission"
        ) from error
    except OSError as error:
        raise SourceError(f"{error.filename or path}: {error.strerror}") from error
    refuse_escapes(file.path for file in files)
    return Listing(
        source=pathlib.Path(path).as_uri(),
        repo_id=repo_id,
        revision=REVISION,
        commit="",
        files=tuple(files),
        folder=folder,
        left_out=(LeftOut(LINKED_FOLDERS, len(links), 0),) if links else (),
    )


def hub_cache_snapshot(path: str, repo: str = "", commit: str = "") -> str:
    """Find one snapshot in huggingface_hub's cache.

    Its layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache

    Args:
        path: A folder. If it has another layout, it is returned as it is.
        repo: The repository that is looked for, `org/name`, if `path` may be the whole cache.
        commit: The commit that is looked for; empty for the one that `main` names, or the only one.

    Raises:
        UsageError: The folder is the whole cache, or has several snapshots, and the one to use is
            not known.
    """
    repositories = [n for n in _list_folder(path) if n.startswith(_HUB_REPO_PREFIX)]
    if repositories:
        name = _HUB_REPO_PREFIX + repo.replace("/", "--")
        if name not in repositories:
            raise _several(path, repositories, "the cache of huggingface_hub, not a model")
        path = os.path.join(path, name)
    snapshots = os.path.join(path, "snapshots")
    commits = [n for n in _list_folder(snapshots) if _COMMIT.fullmatch(n)]
    if not commits or "blobs" not in _list_folder(path):
        return path
    wanted = commit or _read_ref(path)
    if wanted not in commits and len(commits) > 1:
        raise _several(snapshots, commits, "a folder of several snapshots")
    return os.path.join(snapshots, wanted if wanted in commits else commits[0])


def _list_folder(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read_ref(repository: str) -> str:
    try:
        return pathlib.Path(repository, "refs", _DEFAULT_REF).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _several(parent: str, names: Sequence[str], what: str) -> UsageError:
    more = ", …" if len(names) > _MAX_LISTED else ""
    return UsageError(
        f"{parent} is {what}",
        hint=f"name one of its folders: {', '.join(names[:_MAX_LISTED])}{more}",
    )


def read_texts(listing: Listing, paths: Iterable[str]) -> dict[str, str]:
    """Read small text files of a local listing.

    Raises:
        IntegrityError: A file does not match what was listed, or is not text.
        RefusedError: A file is too large for a text.
        NotFoundError: The listing has no such file.
        SourceError: A file cannot be read.
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


def hash_files(
    listing: Listing, chosen: tuple[File, ...], *, on_event: Listener = ignore
) -> Listing:
    """Compute the checksums of some files of a local listing, several files at a time.

    Args:
        listing: What `resolve` returned.
        chosen: The files that will be on the shelf.
        on_event: Hears `Hashed` every 64 MiB.

    Returns:
        The listing with only the chosen files, each with its `sha256`. Its `commit` is the first 40
        hex digits of `files_digest` over these files.

    Raises:
        IntegrityError: The size of a file has changed since it was listed.
        SourceError: A file cannot be read.
    """
    folder = listing.folder or ""
    count_bytes = _make_counter(sum(file.size for file in chosen), on_event)
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as threads:
        files = tuple(threads.map(lambda file: _hash(folder, file, count_bytes), chosen))
    files = tuple(sorted(files, key=lambda file: file.path))
    return dataclasses.replace(listing, commit=files_digest(files)[:40], files=files)


def _make_counter(total: int, on_event: Listener) -> Callable[[int], None]:
    """Make a function that counts the bytes of all threads and reports them now and then."""
    lock = threading.Lock()
    done = reported = 0

    def count_bytes(count: int) -> None:
        nonlocal done, reported
        with lock:
            done += count
            if done - reported >= _BYTES_BETWEEN_EVENTS or done == total:
                reported = done
                on_event(Hashed(done, total))

    return count_bytes


def _hash(folder: str, file: File, count_bytes: Callable[[int], None]) -> File:
    digest = Digest(file)
    buffer = memoryview(bytearray(BLOCK_BYTES))
    length = 0
    try:
        with open(os.path.join(folder, file.path), "rb", buffering=0) as opened:
            while count := opened.readinto(buffer):
                digest.update(buffer[:count])
                length += count
                count_bytes(count)
    except OSError as error:
        raise SourceError(f"{error.filename or file.path}: {error.strerror}") from error
    if length != file.size:
        raise IntegrityError(
            f"{file.path} changed while it was read: {file.size:,} bytes became {length:,}",
            hint="run the command again when no program writes to the file any more",
        )
    return File(file.path, file.size, sha256=digest.sha256())


def _path_of_uri(uri: str) -> str:
    if not uri.lower().startswith("file://"):
        return uri
    parts = urllib.parse.urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(
            f"{uri!r} names a file on another host", hint="write file:///path, with three slashes"
        )
    return urllib.parse.unquote(parts.path)


def _default_name(path: str) -> str:
    if match := _HUB_FOLDER.fullmatch(path):
        return shelf_name(f"{match[1]}/{match[2]}")
    stem = os.path.basename(path)
    if not os.path.isdir(path):
        part = _PART_OF.fullmatch(stem)
        stem = part["stem"] if part else re.sub(r"\.(gguf|safetensors)$", "", stem)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)
    stem = re.sub(r"\.{2,}", ".", stem).lstrip("._-").rstrip("-")[:96]
    if not stem:
        raise UsageError(
            f"no name for the shelf can be derived from {path}", hint="give a name: --name org/name"
        )
    return shelf_name(f"local/{stem}")


def _parts(path: str) -> Iterator[File]:
    """Yield a single file, or all parts of the split GGUF file that it belongs to."""
    folder, name = os.path.split(path)
    part = _PART_OF.fullmatch(name)
    if part is None:
        yield _file(path, name)
        return
    part_pattern = re.compile(re.escape(part["stem"]) + rf"-\d{{5}}-of-{part['total']}\.gguf")
    for other in os.listdir(folder):
        if part_pattern.fullmatch(other):
            yield _file(os.path.join(folder, other), other)


def _walk(folder: str, links: list[str], prefix: str = "") -> Iterator[File]:
    """Yield the files of a folder, and add the paths of links to folders to `links`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.name in _SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, links, path + "/")
            elif entry.is_dir():
                links.append(path)
            else:
                yield _file(entry.path, path)


def _file(location: str, path: str) -> File:
    try:
        status = os.stat(location)
    except FileNotFoundError:
        raise RefusedError(
            f"{location} is a link to a file that is not there",
            hint="the download that it belongs to may be incomplete or deleted",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{location} is neither a file nor a folder")
    return File(path, status.st_size)
