"""Compile caches on a shelf: where they lie, which one fits, and how an engine is led to one.

A compile cache is a folder `compile-cache/org/name/id/digest` with an archive and a record.
`cache_publish` writes it, `cache_unpack` reads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

from modelshelf.shelf import layout
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.files import list_names, read_json
from modelshelf.shelf.values import File
from modelshelf.start.cache_key import CacheKey

_BYTECODE_FOLDER = "pycache"
_PRIMED_FOLDER = "primed"  # empty; it is in the archive, so that starts can tell
_BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class CacheRecord:
    """The record of a compile cache, the file `.compile-cache.json`.

    Attributes:
        cache_key: What the cache fits, in the form of `CacheKey.to_json`.
        archive: The tar's name, size and sha256.
        created: When it was published, in seconds since 1970.
        tool: Name and version of the program that published it.
    """

    cache_key: dict[str, Any]
    archive: File
    created: float
    tool: str

    def to_json(self) -> dict[str, Any]:
        """The form that `.compile-cache.json` holds."""
        return {**dataclasses.asdict(self), "archive": self.archive.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CacheRecord:
        """Read what `to_json` wrote.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: The data has another shape.
        """
        archive = File.from_json(data["archive"])
        if archive.path != layout.ARCHIVE or archive.sha256 is None:
            raise ValueError(f"{archive} is no archive of ours")
        return cls(dict(data["cache_key"]), archive, float(data["created"]), str(data["tool"]))


def find_record(folder: str, key: CacheKey) -> CacheRecord | None:
    """Find the record of the cache that fits exactly.

    Args:
        folder: The shelf's folder `compile-cache`.
        key: What the cache must fit.

    Returns:
        None if nothing is published for this key, or if its record is damaged.

    Raises:
        OSError: The record is there and cannot be read.
    """
    data = read_json(os.path.join(folder, key.folder, layout.CACHE_RECORD_FILE))
    try:
        record = CacheRecord.from_json(data) if data else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return record if record is not None and record.cache_key == key.to_json() else None


def read_verified(folder: str, archive: File) -> Iterator[bytes]:
    """Read an archive and compare its sha256. Use nothing of it before the last byte has come.

    Args:
        folder: The folder of the cache.
        archive: The archive's size and sha256, as recorded.

    Yields:
        Its bytes, in blocks.

    Raises:
        IntegrityError: The bytes are not what was published.
        OSError: They cannot be read.
    """
    path = os.path.join(folder, archive.path)
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while size == archive.size and (block := file.read(_BLOCK_BYTES)):
            digest.update(block)
            yield block
    if size != archive.size or digest.hexdigest() != archive.sha256:
        raise IntegrityError(
            f"{path} is not what was published", hint="run prime again, which replaces it"
        )


def explain_miss(folder: str, key: CacheKey) -> str:
    """Say why no cache fits: how the key differs from that of the nearest cache.

    Args:
        folder: The shelf's folder `compile-cache`.
        key: What a cache would have to fit.
    """
    parent = os.path.join(folder, os.path.dirname(key.folder))
    records = [
        read_json(os.path.join(parent, name, layout.CACHE_RECORD_FILE)) or {}
        for name in list_names(parent)
    ]
    differences = [key.differences(record.get("cache_key")) for record in records]
    fewest = min(filter(None, differences), key=len, default=None)
    if fewest is None:
        return f"nothing was primed for {key.snapshot}"
    return f"primed with other {', '.join(fewest)}"


def build_environment(folder: str) -> dict[str, str]:
    """Build the variables by which an engine keeps all its caches below one folder.

    None of these variables is in vLLM's own keys of compiled code, so they do not change what is
    compiled. VLLM_ENABLE_STARTUP_PLAN has vLLM keep how much memory it measured, which is quicker
    to read than to measure. A start that has less memory free measures again.

    Args:
        folder: The start's own folder. If `prepare_folder` marked it, or what was unpacked into
            it, there are more variables.
    """
    subfolders = {
        "VLLM_CACHE_ROOT": "vllm",
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "FLASHINFER_WORKSPACE_BASE": "flashinfer",
        "TILELANG_CACHE_DIR": "tilelang",
    }
    if os.path.isdir(os.path.join(folder, _BYTECODE_FOLDER)):
        subfolders["PYTHONPYCACHEPREFIX"] = _BYTECODE_FOLDER
    variables = {name: os.path.join(folder, subfolder) for name, subfolder in subfolders.items()}
    if os.path.isdir(os.path.join(folder, _PRIMED_FOLDER)):
        # torch would compile a C++ header at each start, before it sees that no kernel needs it.
        variables["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "0"
    return {**variables, "VLLM_ENABLE_STARTUP_PLAN": "1"}


def prepare_folder(folder: str, *, with_bytecode: bool) -> None:
    """Mark a folder that `prime` fills, by empty folders that `build_environment` looks for.

    The marks are packed with everything else. So the engine has the same variables in a prime as in
    the starts that unpack its cache.

    Args:
        folder: The folder, which is empty.
        with_bytecode: Whether Python's bytecode is to be kept in the cache, too, because the
            engine's packages were installed without it.
    """
    marks = (_PRIMED_FOLDER, _BYTECODE_FOLDER) if with_bytecode else (_PRIMED_FOLDER,)
    for name in marks:
        os.mkdir(os.path.join(folder, name))
