"""What was made from a snapshot once, for every later start: where it lies, and who may use it."""

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

_BYTECODE = "pycache"
_PRIMED = "primed"
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class CacheRecord:
    """An archive of caches, as `.compile-cache.json` records it.

    Attributes:
        cache_key: What it fits, as `CacheKey` has it in JSON.
        archive: The tar's name, size and sha256.
        created: When it was published, seconds since 1970.
        tool: Name and version of what published it.
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


def find(folder: str, made: CacheKey) -> CacheRecord | None:
    """What is published for exactly this; None if nothing is, or its record is damaged.

    Args:
        folder: The shelf's folder `compile-cache`.
        made: What it must fit.

    Raises:
        OSError: It is there and cannot be read.
    """
    record = read_json(os.path.join(folder, made.key, layout.CACHE_RECORD_FILE))
    try:
        found = CacheRecord.from_json(record) if record else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return found if found is not None and found.cache_key == made.to_json() else None


def proven(folder: str, archive: File) -> Iterator[bytes]:
    """The bytes of an archive, which are not to be used before the last of them came.

    Args:
        folder: Where it lies.
        archive: Its size and sha256, as recorded.

    Raises:
        IntegrityError: They are not what was published.
        OSError: They cannot be read.
    """
    path = os.path.join(folder, archive.path)
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while size == archive.size and (block := file.read(_BLOCK)):
            digest.update(block)
            yield block
    if size != archive.size or digest.hexdigest() != archive.sha256:
        raise IntegrityError(
            f"{path} is not what was published", hint="prime again, which makes it anew"
        )


def missing(folder: str, made: CacheKey) -> str:
    """Why nothing is published for this: what differs from the nearest that is."""
    parent = os.path.join(folder, os.path.dirname(made.key))
    records = [
        read_json(os.path.join(parent, name, layout.CACHE_RECORD_FILE)) or {}
        for name in list_names(parent)
    ]
    others = [made.differs(record.get("cache_key")) for record in records]
    nearest = min((other for other in others if other), key=len, default=None)
    if nearest is None:
        return f"nothing was primed for {made.snapshot}"
    return f"primed with other {', '.join(nearest)}"


def env(into: str) -> dict[str, str]:
    """The variables by which an engine keeps all its caches below one folder.

    None of them is in vLLM's keys of compiled code. The start-up plan is vLLM's own record of how
    much memory it measured; a start that has less free measures again.
    """
    caches = {
        "VLLM_CACHE_ROOT": "vllm",
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "FLASHINFER_WORKSPACE_BASE": "flashinfer",
        "TILELANG_CACHE_DIR": "tilelang",
    }
    if os.path.isdir(os.path.join(into, _BYTECODE)):
        caches["PYTHONPYCACHEPREFIX"] = _BYTECODE
    variables = {name: os.path.join(into, part) for name, part in caches.items()}
    if os.path.isdir(os.path.join(into, _PRIMED)):
        # torch would compile a C++ header at each start, before it sees that no kernel needs it.
        variables["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "0"
    return {**variables, "VLLM_ENABLE_STARTUP_PLAN": "1"}


def expect(into: str, *, bytecode: bool) -> None:
    """Have `env` say the same in a prime and in the starts that unpack what it made.

    Args:
        into: The prime's folder, which is empty.
        bytecode: Whether the packages lack theirs, so that it belongs there, too.
    """
    for name in (_PRIMED, _BYTECODE) if bytecode else (_PRIMED,):
        os.mkdir(os.path.join(into, name))
