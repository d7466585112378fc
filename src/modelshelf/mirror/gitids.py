"""The ids that git gives to content: what the Hub's protocol calls `oid`. Pure.

Formats: git-hash-object(1) and the Git LFS pointer file, version 1,
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_FILE = b"100644"
_FOLDER = b"40000"


def pointer(sha256: str, size: int) -> bytes:
    """The text that git itself holds in place of a file kept by Git LFS."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return text.encode()


def blob_id(content: bytes) -> str:
    """The id of a file: 40 hex digits."""
    return _id(b"blob", content)


def tree_id(files: Iterable[tuple[str, str]], folders: Iterable[tuple[str, str]]) -> str:
    """The id of a folder from its (name, id) lists; every file counts as one of mode 644."""
    # Git sorts a folder as if its name ended in a slash.
    rows = [(name.encode(), name.encode(), _FILE, oid) for name, oid in files]
    rows += [(name.encode() + b"/", name.encode(), _FOLDER, oid) for name, oid in folders]
    body = b"".join(
        mode + b" " + name + b"\0" + bytes.fromhex(oid) for _, name, mode, oid in sorted(rows)
    )
    return _id(b"tree", body)


def _id(kind: bytes, body: bytes) -> str:
    head = b"%s %d\0" % (kind, len(body))
    return hashlib.sha1(head + body, usedforsecurity=False).hexdigest()
