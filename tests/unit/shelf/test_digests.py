"""Hashing content and comparing it with what its source states."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.shelf.digests import BLOCK_BYTES, Digest, hash_range
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.values import File

# What `git hash-object --stdin` and `sha256sum` print.
_EMPTY_GIT = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_HELLO_GIT = "ce013625030ba8dba906f756967f9e9ca394464a"
_HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.mark.parametrize(
    ("content", "git", "sha256"),
    [(b"", _EMPTY_GIT, _EMPTY_SHA256), (b"hello\n", _HELLO_GIT, _HELLO_SHA256)],
)
def test_known_values_match(content: bytes, git: str, sha256: str) -> None:
    """Git's blob id and sha256 are what git and sha256sum say of the same bytes."""
    for file in (
        File("f", len(content), git_sha1=git),
        File("f", len(content), lfs_sha256=sha256),
        File("f", len(content), git_sha1=git, sha256=sha256),
        File("f", len(content)),
    ):
        digest = Digest(file)
        digest.update(content)
        assert digest.mismatch() == ""
        assert digest.sha256() == sha256


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (File("f", 6, git_sha1=_EMPTY_GIT), f"git sha1: expected {_EMPTY_GIT}, got {_HELLO_GIT}"),
        # The size is part of the blob id.
        (File("f", 7, git_sha1=_HELLO_GIT), f"git sha1: expected {_HELLO_GIT}, got "),
        (
            File("f", 6, lfs_sha256=_EMPTY_SHA256),
            f"sha256: expected {_EMPTY_SHA256}, got {_HELLO_SHA256}",
        ),
        (File("f", 6, git_sha1=_HELLO_GIT, sha256=_EMPTY_SHA256), "sha256: expected"),
        (File("f", 6, sha256=_EMPTY_SHA256), "sha256: expected"),
    ],
)
def test_a_wrong_checksum_is_named(file: File, problem: str) -> None:
    """A mismatch says which checksum, what was expected and what came."""
    digest = Digest(file)
    digest.update(b"hello\n")
    assert digest.mismatch().startswith(problem)


def test_where_lfs_states_a_sha256_git_s_id_is_of_the_pointer() -> None:
    """The git blob id of an LFS file is that of its pointer, so it is not compared."""
    digest = Digest(File("f", 6, lfs_sha256=_HELLO_SHA256, git_sha1=_EMPTY_GIT))
    digest.update(b"hello\n")
    assert digest.mismatch() == ""


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_pieces_make_the_whole(pieces: list[bytes]) -> None:
    """A digest does not depend on how the bytes are cut into blocks."""
    whole = b"".join(pieces)
    file = File("f", len(whole), git_sha1=_EMPTY_GIT)
    at_once, bit_by_bit = Digest(file), Digest(file)
    at_once.update(whole)
    for piece in pieces:
        bit_by_bit.update(memoryview(piece))
    assert bit_by_bit.sha256() == at_once.sha256()
    assert bit_by_bit.mismatch() == at_once.mismatch()


def test_a_file_is_read_from_any_place_to_any_place(tmp_path: Path) -> None:
    """Hashing a file in two ranges gives the same digest as hashing all bytes at once."""
    content = os.urandom(2 * BLOCK_BYTES + 17)
    path = tmp_path / "f"
    path.write_bytes(content + b"more")
    whole, steps = Digest(File("f", 0)), Digest(File("f", 0))
    whole.update(content)
    with path.open("rb") as file:
        hash_range(file.fileno(), steps, BLOCK_BYTES + 5)
        hash_range(file.fileno(), steps, len(content), start=BLOCK_BYTES + 5)
    assert steps.sha256() == whole.sha256()


def test_a_file_that_is_too_short_is_an_integrity_error(tmp_path: Path) -> None:
    """A file that ends early is an error with both lengths."""
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    with path.open("rb") as file, pytest.raises(IntegrityError, match="after 5 of 1,000 bytes"):
        hash_range(file.fileno(), Digest(File("f", 1000)), 1000)
