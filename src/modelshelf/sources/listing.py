"""What a source has, before anything of it was chosen. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from modelshelf.shelf.digests import Digest
from modelshelf.shelf.errors import IntegrityError, NotFoundError, RefusedError, UsageError
from modelshelf.shelf.layout import refuse_unsafe_names
from modelshelf.shelf.values import File, ModelRef

MAX_TEXT = 64 * 1024 * 1024  # bytes; the largest weight index known is a twentieth of it


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """Everything that a source has at one commit.

    Attributes:
        source: The source's URI without secrets: `hf://org/name@main`, `file:///abs/path`. An
            `hf://` URI holds the repository's present name, whatever it was asked for by.
        repo_id: `org/name`: what the model is called on the shelf.
        revision: The name that was asked for; `local` for a file or folder.
        commit: 40 hex digits; empty for a local listing until `local.hashed` has read the chosen
            files, since it is a digest of their content.
        files: All files, sorted by path.
        folder: Where the bytes lie, for a local listing; None for one on the Hub.
    """

    source: str
    repo_id: str
    revision: str
    commit: str
    files: tuple[File, ...]
    folder: str | None = None

    def file(self, path: str) -> File:
        """The file of that name.

        Raises:
            NotFoundError: The source has none.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise NotFoundError(f"{self.source} has no file {path!r}")


def shelf_name(text: str, *, hint: str = "give it another name with --name org/name") -> str:
    """A model's name on the shelf, once it was found to be one.

    Raises:
        UsageError: It is not of the form `org/name`.
    """
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        ref = None
    if ref is None or ref.at is not None:
        raise UsageError(f"a model on the shelf cannot be called {text!r}", hint=hint)
    return ref.repo_id


def refuse_escapes(paths: Iterable[str]) -> None:
    """Refuse a source that lists names made to leave their folder, whether chosen or not.

    Names that are merely odd count only when they are chosen; `pull` looks at those.

    Raises:
        RefusedError: A name is absolute, goes upwards, or holds backslashes or control characters.
    """
    refuse_unsafe_names(p for p in paths if p.startswith("/") or _escapes(p))


def _escapes(path: str) -> bool:
    parts = path.split("/")
    return "" in parts or ".." in parts or "." in parts or "\\" in path or not path.isprintable()


def text_of(file: File, data: bytes) -> str:
    """The text of a file, once its bytes were found to be what the source states.

    Raises:
        IntegrityError: They differ from the stated size or checksum, or are not UTF-8.
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
    """Refuse to read a text that is too large to be one.

    Raises:
        RefusedError: It has more than `MAX_TEXT` bytes.
    """
    if file.size > MAX_TEXT:
        raise RefusedError(
            f"{file.path} has {file.size:,} bytes, too many for a file that only describes a model"
        )
