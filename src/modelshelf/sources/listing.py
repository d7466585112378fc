"""`Listing`: all files of a source, before any are chosen. Checks of names and texts. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from modelshelf.shelf.digests import Digest
from modelshelf.shelf.errors import IntegrityError, NotFoundError, RefusedError, UsageError
from modelshelf.shelf.layout import refuse_unsafe_names
from modelshelf.shelf.values import File, LeftOut, ModelRef

MAX_TEXT_BYTES = 64 * 1024 * 1024  # twenty times the largest known index of weights


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """All files of a source at one commit.

    Attributes:
        source: The URI without secrets: `hf://org/name@main` or `file:///abs/path`. An `hf://` URI
            has the current name of the repository, even if it was requested by an older name.
        repo_id: The model's name on the shelf, `org/name`.
        revision: The requested revision; `local` for a file or folder.
        commit: 40 hex digits. For a local listing it is a digest of the content, and it is empty
            until `local.hash_files` has read the chosen files.
        files: All files, sorted by path.
        folder: The folder that contains the files of a local listing; None for a Hub.
        endpoint: The URL of the Hub that was asked, without a password; None for a local listing.
        left_out: What a local folder holds besides these files, and why it is not listed.
    """

    source: str
    repo_id: str
    revision: str
    commit: str
    files: tuple[File, ...]
    folder: str | None = None
    endpoint: str | None = None
    left_out: tuple[LeftOut, ...] = ()

    def file(self, path: str) -> File:
        """Find the file at a path.

        Raises:
            NotFoundError: The source has no such file.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise NotFoundError(f"{self.source} has no file {path!r}")


def shelf_name(text: str, *, hint: str = "give it another name with --name org/name") -> str:
    """Return a text after checking that it can be a model's name on the shelf.

    Args:
        text: The name.
        hint: The hint of the error.

    Raises:
        UsageError: The text does not have the form `org/name`.
    """
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        ref = None
    if ref is None or ref.at is not None:
        raise UsageError(f"a model on the shelf cannot be called {text!r}", hint=hint)
    return ref.repo_id


def refuse_escapes(paths: Iterable[str]) -> None:
    """Refuse a source that lists names which would leave their folder, even if they are not chosen.

    Such a source is hostile. Names that are only unusual matter only if they are chosen, and `pull`
    checks those.

    Raises:
        RefusedError: A name is absolute, goes to a parent folder, or contains backslashes or
            control characters.
    """
    refuse_unsafe_names(p for p in paths if p.startswith("/") or _escapes(p))


def _escapes(path: str) -> bool:
    parts = path.split("/")
    return "" in parts or ".." in parts or "." in parts or "\\" in path or not path.isprintable()


def text_of(file: File, data: bytes) -> str:
    """Decode the content of a file after comparing it with the size and checksum of its source.

    Raises:
        IntegrityError: The content differs from the stated size or checksum, or is not UTF-8.
    """
    digest = Digest(file)
    digest.update(data)
    problem = f"size: expected {file.size}, got {len(data)}" if len(data) != file.size else ""
    problem = problem or digest.mismatch()
    if problem:
        raise IntegrityError(f"{file.path} is not what its source states ({problem})")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise IntegrityError(f"{file.path} should be text, and is not UTF-8") from None


def refuse_large(file: File) -> None:
    """Refuse to read a file that is too large for a text.

    Raises:
        RefusedError: The file has more than `MAX_TEXT_BYTES` bytes.
    """
    if file.size > MAX_TEXT_BYTES:
        raise RefusedError(
            f"{file.path} has {file.size:,} bytes, too many for a file that only describes a model"
        )
