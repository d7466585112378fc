"""Files and folders on this machine as a source."""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket

import pytest
from support.file_modes import needs_modes

from modelshelf import sources
from modelshelf.shelf.errors import (
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from modelshelf.shelf.events import Event, Hashed
from modelshelf.shelf.values import File, files_digest
from modelshelf.sources import local


def _write(folder: pathlib.Path, *names: str) -> pathlib.Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def _names(listing: sources.Listing) -> list[str]:
    return [file.path for file in listing.files]


def test_a_folder_lists_its_files(tmp_path: pathlib.Path) -> None:
    """A folder is listed with sizes and subfolders, without hashes, .git and .cache."""
    folder = _write(
        tmp_path / "My model!",
        "config.json",
        "2_Dense/model.safetensors",
        ".git/HEAD",
        ".cache/huggingface/x",
        ".snapshot.json",
        ".gitattributes",
    )
    listing = sources.resolve(str(folder))
    assert listing == sources.Listing(
        source=folder.as_uri(),
        repo_id="local/My-model",
        revision="local",
        commit="",
        files=(
            File(".gitattributes", 14),
            File("2_Dense/model.safetensors", 25),
            File("config.json", 11),
        ),
        folder=str(folder),
    )


def test_linked_folders_are_told_of(tmp_path: pathlib.Path) -> None:
    """A link to a folder is not followed, and the listing says how many there are and why."""
    folder = _write(tmp_path / "m", "config.json", "sub/x.json", ".git/y")
    _write(tmp_path / "elsewhere", "model.safetensors")
    for link in ("weights", "sub/more", ".git/skipped"):
        (folder / link).symlink_to(tmp_path / "elsewhere")
    listing = sources.resolve(str(folder))
    assert _names(listing) == ["config.json", "sub/x.json"]
    (left_out,) = listing.left_out
    assert (left_out.files, left_out.bytes) == (2, 0)
    assert "links to folders" in left_out.reason
    narrowed = sources.narrow(listing, listing.files)
    assert narrowed.left_out == listing.left_out


def test_a_file_is_a_listing_of_one(tmp_path: pathlib.Path) -> None:
    """A GGUF file is listed without its neighbours, and the model is named after it."""
    _write(tmp_path, "Tiny-Q8_0.gguf", "other.gguf")
    listing = sources.resolve(str(tmp_path / "Tiny-Q8_0.gguf"))
    assert _names(listing) == ["Tiny-Q8_0.gguf"]
    assert listing.repo_id == "local/Tiny-Q8_0"
    assert listing.folder == str(tmp_path)
    assert sources.resolve(listing.source) == listing


def test_any_part_of_a_split_file_stands_for_all(tmp_path: pathlib.Path) -> None:
    """If the path is one part of a split file, exactly the parts of that file are listed."""
    own = ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"]
    _write(tmp_path, *own, "m-Q4_0-00001-of-00002.gguf", "m-Q8_0-00001-of-00003.gguf")
    listing = sources.resolve(str(tmp_path / own[1]))
    assert _names(listing) == own
    assert listing.repo_id == "local/m-Q8_0"


@pytest.mark.parametrize(
    ("name", "repo_id"),
    [
        ("Mistral-7B-v0.3", "local/Mistral-7B-v0.3"),
        ("..weird  näme..", "local/weird-n-me."),
        ("a" * 200, "local/" + "a" * 96),
    ],
)
def test_folder_names_are_made_plain(tmp_path: pathlib.Path, name: str, repo_id: str) -> None:
    """Characters that a name on the shelf must not have are replaced."""
    assert sources.resolve(str(_write(tmp_path / name, "x.gguf"))).repo_id == repo_id


def test_a_name_can_be_given_and_sometimes_must(tmp_path: pathlib.Path) -> None:
    """--name takes precedence; a folder whose name has no letter requires it."""
    folder = _write(tmp_path / "___", "x.gguf")
    assert sources.resolve(str(folder), name="me/x").repo_id == "me/x"
    with pytest.raises(UsageError) as raised:
        sources.resolve(str(folder))
    assert "--name" in raised.value.hint


def test_a_download_of_huggingface_hub_is_followed(tmp_path: pathlib.Path) -> None:
    """A snapshot in huggingface_hub's cache is read through its links and named after its repo."""
    base = _write(tmp_path / "models--org--the-name", "blobs/aa", "blobs/bb")
    snapshot = base / "snapshots" / ("0" * 40)
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/aa")
    (snapshot / "sub" / "model.safetensors").symlink_to("../../../blobs/bb")
    listing = sources.resolve(str(snapshot))
    assert listing.files == (File("config.json", 8), File("sub/model.safetensors", 8))
    assert listing.repo_id == "org/the-name"
    assert local.hash_files(listing, listing.files).files[0].sha256 == _sha256(b"blobs/aa")


def test_links_to_folders_are_not_followed(tmp_path: pathlib.Path) -> None:
    """Links to folders are not followed: they may form a circle or leave the folder."""
    folder = _write(tmp_path / "m", "config.json")
    (folder / "again").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path)
    assert _names(sources.resolve(str(folder))) == ["config.json"]


def test_a_link_to_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    """A broken link is refused, because the model lacks that file."""
    folder = _write(tmp_path / "m", "config.json")
    (folder / "model.safetensors").symlink_to("../blobs/gone")
    with pytest.raises(RefusedError, match=r"model\.safetensors is a link to a file that is not"):
        sources.resolve(str(folder))


def test_devices_and_sockets_are_refused(tmp_path: pathlib.Path) -> None:
    """Pipes and sockets are refused, because reading a pipe would wait forever."""
    folder = _write(tmp_path / "m", "config.json")
    os.mkfifo(folder / "pipe.safetensors")
    with pytest.raises(RefusedError, match="neither a file nor a folder"):
        sources.resolve(str(folder))
    os.unlink(folder / "pipe.safetensors")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(folder, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        with pytest.raises(RefusedError, match="socket is neither"):
            sources.resolve(str(folder))
    with pytest.raises(RefusedError, match="neither"):
        sources.resolve("/dev/null")


def test_a_missing_path_is_named() -> None:
    """A missing path is exit code 11, and the error names it."""
    with pytest.raises(NotFoundError, match="/no/such/model") as raised:
        sources.resolve("/no/such/model")
    assert raised.value.exit_code == 11


@needs_modes
def test_an_unreadable_folder_is_named(tmp_path: pathlib.Path) -> None:
    """A folder that this user may not read is exit code 10, and the error names it."""
    folder = _write(tmp_path / "m", "sub/x.safetensors")
    (folder / "sub").chmod(0)
    try:
        with pytest.raises(NotAuthorisedError, match="m/sub"):
            sources.resolve(str(folder))
    finally:
        (folder / "sub").chmod(0o755)


def test_files_on_other_hosts_are_refused() -> None:
    """A file URI that names a host is refused."""
    with pytest.raises(UsageError, match="another host"):
        sources.resolve("file://server/share/model")


def _hub_cache(cache: pathlib.Path, *commits: str, main: str = "") -> pathlib.Path:
    """A repository in the cache of huggingface_hub, with one file in each snapshot."""
    repo = cache / "models--org--name"
    (repo / "refs").mkdir(parents=True)
    if main:
        (repo / "refs" / "main").write_text(main)
    for commit in commits:
        _write(repo / "blobs", f"blob-{commit}")
        folder = repo / "snapshots" / commit
        folder.mkdir(parents=True)
        (folder / "config.json").symlink_to(f"../../blobs/blob-{commit}")
    return repo


_ONE, _TWO = "1" * 40, "2" * 40


def test_a_repository_in_the_hubs_cache_is_the_snapshot_that_main_names(
    tmp_path: pathlib.Path,
) -> None:
    """The folder of a repository stands for one snapshot, whose name the model gets."""
    listing = sources.resolve(str(_hub_cache(tmp_path, _ONE, _TWO, main=_TWO)))
    assert (listing.repo_id, _names(listing)) == ("org/name", ["config.json"])
    assert listing.folder == str(tmp_path / "models--org--name" / "snapshots" / _TWO)


def test_the_only_snapshot_in_the_hubs_cache_needs_no_name(tmp_path: pathlib.Path) -> None:
    """Without a reference the only snapshot is meant, and of several none."""
    repo = _hub_cache(tmp_path / "a", _ONE, main="3" * 40)
    assert local.hub_cache_snapshot(str(repo)).endswith(_ONE)
    repo = _hub_cache(tmp_path / "b", _ONE, _TWO)
    with pytest.raises(UsageError, match="a folder of several snapshots") as raised:
        sources.resolve(str(repo))
    assert _ONE in raised.value.hint
    assert local.hub_cache_snapshot(str(repo), commit=_TWO).endswith(_TWO)


def test_the_whole_cache_of_the_hub_is_no_model(tmp_path: pathlib.Path) -> None:
    """The folder above the repositories is refused, unless the repository is known."""
    _hub_cache(tmp_path, _ONE)
    with pytest.raises(UsageError, match="the cache of huggingface_hub") as raised:
        sources.resolve(str(tmp_path))
    assert "models--org--name" in raised.value.hint
    assert local.hub_cache_snapshot(str(tmp_path), "org/name").endswith(_ONE)
    with pytest.raises(UsageError):
        local.hub_cache_snapshot(str(tmp_path), "org/other")


def test_a_folder_with_snapshots_of_another_kind_is_an_ordinary_one(tmp_path: pathlib.Path) -> None:
    """Only a folder with the layout of the Hub's cache stands for another folder."""
    folder = _write(tmp_path / "m", "snapshots/1/model.safetensors", "config.json")
    assert local.hub_cache_snapshot(str(folder)) == str(folder)
    assert local.hub_cache_snapshot(str(tmp_path / "missing")) == str(tmp_path / "missing")


def test_hashing_gives_checksums_and_a_commit(tmp_path: pathlib.Path) -> None:
    """Only the chosen files are read, and the commit follows from their content alone."""
    folder = _write(tmp_path / "m", "b.safetensors", "a.json", "left.bin")
    listing = sources.resolve(str(folder))
    chosen = tuple(file for file in listing.files if file.path != "left.bin")
    events: list[Event] = []
    narrowed = sources.narrow(listing, chosen, on_event=events.append)
    expected = tuple(
        File(n, len(n), sha256=_sha256(n.encode())) for n in ("a.json", "b.safetensors")
    )
    assert narrowed.files == expected
    assert narrowed.commit == files_digest(expected)[:40]
    assert events == [Hashed(19, 19)]
    assert local.hash_files(listing, chosen[::-1]) == narrowed


def test_hashing_reads_large_files_whole(tmp_path: pathlib.Path) -> None:
    """A file of many blocks is hashed to its end."""
    data = os.urandom(1024) * 3_000
    (tmp_path / "m.gguf").write_bytes(data)
    listing = sources.resolve(str(tmp_path / "m.gguf"))
    assert local.hash_files(listing, listing.files).files[0].sha256 == _sha256(data)


def test_a_file_that_changes_is_noticed(tmp_path: pathlib.Path) -> None:
    """A file that grows while it is read is an error, not a wrong checksum."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"12345")
    listing = sources.resolve(str(path))
    path.write_bytes(b"123456")
    with pytest.raises(IntegrityError, match="5 bytes became 6"):
        local.hash_files(listing, listing.files)


def test_texts_are_read_and_checked(tmp_path: pathlib.Path) -> None:
    """Texts are read by path; a text whose size changed since it was listed is refused."""
    folder = _write(tmp_path / "m", "config.json")
    listing = sources.resolve(str(folder))
    assert sources.read_texts(listing, ["config.json"]) == {"config.json": "config.json"}
    (folder / "config.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"config\.json"):
        sources.read_texts(listing, ["config.json"])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
