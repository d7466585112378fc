"""The ids that git gives to files and folders. The Hub's protocol calls them `oid`. Pure.

Formats: git-hash-object(1) and the Git LFS pointer file, version 1,
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_FILE_MODE = b"100644"
_FOLDER_MODE = b"40000"


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Make the text that git stores in place of a file that Git LFS stores."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return text.encode()


def blob_id(content: bytes) -> str:
    """Compute the id of a file, 40 hex digits."""
    return _id(b"blob", content)


def tree_id(files: Iterable[tuple[str, str]], folders: Iterable[tuple[str, str]]) -> str:
    """Compute the id of a folder, 40 hex digits.

    Args:
        files: The name and the id of each file. The mode of every file is taken to be 644.
        folders: The name and the id of each subfolder.
    """
    # Git sorts a folder as if its name ended in a slash.
    rows = [(name.encode(), name.encode(), _FILE_MODE, oid) for name, oid in files]
    rows += [(name.encode() + b"/", name.encode(), _FOLDER_MODE, oid) for name, oid in folders]
    body = b"".join(
        mode + b" " + name + b"\0" + bytes.fromhex(oid) for _, name, mode, oid in sorted(rows)
    )
    return _id(b"tree", body)


def _id(kind: bytes, body: bytes) -> str:
    header = b"%s %d\0" % (kind, len(body))
    return hashlib.sha1(header + body, usedforsecurity=False).hexdigest()
