"""Several pulls of one model at once, and files that are on this machine already."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hub import Hub, Repo
from hub.content import read
from support.pull_runs import (
    FAST,
    PullJob,
    Recorder,
    add_model,
    assert_nothing_published,
    assert_right,
    partial_lengths,
    quick_pull,
    snapshot_of,
    spec_of,
    staging_folders,
    start_pull,
    wait_until,
)

from modelshelf.shelf.errors import NotFoundError
from modelshelf.shelf.leases import LeaseTiming
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.events import FileDone, Planned, Published, Waiting
from modelshelf.transfer.pull import PullSpec

LARGE = "model.safetensors"
OTHER = "adapter/weights.safetensors"
SMALL = "config.json"
TOTAL = 4_000_000


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model."""
    return add_model(hub)


def test_four_at_once(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """Four processes pull one model: all succeed, and one of them fetches."""
    hub.misbehave("slow", LARGE, rate=1_000_000)
    with contextlib.ExitStack() as stack:
        job = PullJob(shelf.path, spec_of(hub, repo))
        pulls = [stack.enter_context(start_pull(job, tmp_path)) for _ in range(4)]
        assert [running.wait() for running in pulls] == [0] * 4, [p.errors for p in pulls]
    assert hub.bytes_sent() <= 1.3 * TOTAL
    ends = [next(e for e in p.events if e["event"] == "published") for p in pulls]
    assert sorted(end["how"] for end in ends) == ["pulled", "waited", "waited", "waited"]
    assert sum(end["fetched"] for end in ends) == sum(e.size for e in repo.files.values())
    assert_right(shelf.find(repo.repo_id), repo)
    assert staging_folders(shelf, repo) == []
    assert list(Path(shelf.path, "leases").iterdir()) == []


def test_four_at_once_and_the_one_that_fetches_dies(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """When the process that fetches is killed, another goes on where it stopped."""
    hub.misbehave("slow", LARGE, rate=500_000)
    with contextlib.ExitStack() as stack:
        job = PullJob(shelf.path, spec_of(hub, repo))
        pulls = [stack.enter_context(start_pull(job, tmp_path)) for _ in range(4)]
        wait_until(lambda: partial_lengths(shelf, repo).get(LARGE, 0) >= 500_000)
        (lease,) = Path(shelf.path, "leases").glob("*.json")
        pid = json.loads(lease.read_text())["process"]["pid"]
        (first,) = [running for running in pulls if running.process.pid == pid]
        first.process.kill()
        hub.faults.clear()
        others = [running for running in pulls if running is not first]
        assert [running.wait() for running in others] == [0] * 3, [p.errors for p in others]
    assert hub.bytes_sent() <= 1.3 * TOTAL + 2 * FAST.chunk * FAST.limits.max_connections
    assert_right(shelf.find(repo.repo_id), repo)
    assert staging_folders(shelf, repo) == []


def test_one_waits_and_says_for_whom(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """A pull that waits for another pull reports that once, and fetches nothing."""
    hub.misbehave("slow", LARGE, rate=800_000)
    with start_pull(PullJob(shelf.path, spec_of(hub, repo)), tmp_path) as first:
        wait_until(lambda: partial_lengths(shelf, repo).get(LARGE, 0) > 0)
        events = Recorder()
        assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
        assert first.wait() == 0
        (waiting,) = events.of(Waiting)
        assert f"process {first.process.pid} " in waiting.holder
    (published,) = events.of(Published)
    assert (published.how, published.fetched) == ("waited", 0)
    assert events.of(Planned) == []


def test_a_silent_holder_is_waited_for_until_it_is_stale(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """A lease of another host without a heartbeat is waited for until it is stale."""
    with start_pull(PullJob(shelf.path, spec_of(hub, repo)), tmp_path) as dead:
        assert dead.wait() == 0
    shelf.remove(shelf.find(repo.repo_id))
    key = f"pull--org--name--{snapshot_of(repo).id}"
    lease = Path(shelf.path, "leases", f"{key}.json")
    process = {"host": "far", "boot_id": "x", "pid_namespace": "y", "pid": 1, "started": "2"}
    holder = {"owner": "o", "process": process, "purpose": "pull", "beats": 7}
    lease.write_text(json.dumps(holder))
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    (waiting,) = events.of(Waiting)
    assert waiting.holder == "process 1 on far"
    assert events.of(Published)[0].seconds >= LeaseTiming(0.2, 1.0).stale_seconds
    assert not lease.exists()


def test_an_unreadable_lease_goes_stale(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """An empty lease file, as a crash may leave it, is waited for until it is stale."""
    folder = Path(shelf.path, "leases")
    folder.mkdir()
    (folder / f"pull--org--name--{snapshot_of(repo).id}.json").write_bytes(b"")
    assert_right(quick_pull(shelf, spec_of(hub, repo)), repo)


def test_two_choices_of_files(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A second choice from the same commit links what the first has and fetches the rest."""
    first = quick_pull(shelf, spec_of(hub, repo, paths=[LARGE, SMALL]))
    sent = hub.bytes_sent()
    events = Recorder()
    second = quick_pull(shelf, spec_of(hub, repo), events)
    assert first.id != second.id
    assert first.commit == second.commit
    assert hub.bytes_sent() - sent == hub.bytes_sent(OTHER) == repo.files[OTHER].size
    assert {event.path: event.how for event in events.of(FileDone)} == {
        LARGE: "linked",
        SMALL: "linked",
        OTHER: "fetched",
    }
    (planned,) = events.of(Planned)
    assert planned.fetch == repo.files[OTHER].size
    assert os.stat(f"{first.path}/{LARGE}").st_ino == os.stat(f"{second.path}/{LARGE}").st_ino
    assert_right(first, repo)
    assert_right(second, repo)
    shelf.remove(first)
    assert_right(second, repo)


def test_a_new_commit_and_another_model_share_files(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """Content that is on the shelf under any name is not fetched again."""
    quick_pull(shelf, spec_of(hub, repo))
    sent = hub.bytes_sent()
    contents = {path: entry.content for path, entry in repo.files.items()}
    renamed = {**contents, "copy of it.safetensors": contents[LARGE]}
    other = hub.add("fork/name", renamed, [LARGE, OTHER, "copy of it.safetensors"])
    assert_right(quick_pull(shelf, spec_of(hub, other)), other)
    assert hub.bytes_sent() == sent


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP])
def test_a_link_that_is_refused(
    shelf: Shelf, hub: Hub, repo: Repo, *, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """Where the filesystem refuses a second name, the file is copied and hashed on the way."""
    first = quick_pull(shelf, spec_of(hub, repo, paths=[LARGE, SMALL]))
    sent = hub.bytes_sent()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    events = Recorder()
    second = quick_pull(shelf, spec_of(hub, repo), events)
    assert {event.how for event in events.of(FileDone)} == {"copied", "fetched"}
    assert hub.bytes_sent() - sent == repo.files[OTHER].size
    assert os.stat(f"{first.path}/{LARGE}").st_ino != os.stat(f"{second.path}/{LARGE}").st_ino
    assert_right(second, repo)


def test_a_damaged_file_of_the_shelf_is_not_copied(
    shelf: Shelf, hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that turns out wrong is fetched instead."""
    first = quick_pull(shelf, spec_of(hub, repo, paths=[LARGE, SMALL]))
    damage(Path(first.path or "", LARGE))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "link", refuse)
    second = quick_pull(shelf, spec_of(hub, repo))
    assert_right(second, repo)


def damage(path: Path) -> None:
    """Change one byte of a read-only file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(0o444)


@pytest.fixture
def folder(repo: Repo, tmp_path: Path) -> Path:
    """A folder with the model's files, as another tool has downloaded them."""
    folder = tmp_path / "folder"
    for path, entry in repo.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(read(entry.content))
    return folder


def adopting(hub: Hub, repo: Repo, folder: Path, *, link: bool) -> PullSpec:
    """A pull that may take files from a folder."""
    spec = spec_of(hub, repo)
    return PullSpec(spec.snapshot, spec.source, folder=str(folder), link=link)


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_has_all(
    shelf: Shelf, hub: Hub, repo: Repo, folder: Path, *, link: bool
) -> None:
    """A folder that has every file makes the snapshot without a request."""
    events = Recorder()
    snapshot = quick_pull(shelf, adopting(hub, repo, folder, link=link), events)
    assert_right(snapshot, repo)
    assert hub.requests == []
    assert {event.how for event in events.of(FileDone)} == {"linked" if link else "copied"}
    same = os.path.samefile(f"{snapshot.path}/{LARGE}", folder / LARGE)
    assert same == link
    assert os.access(folder / LARGE, os.W_OK) or link
    shutil.rmtree(folder)
    assert_right(snapshot, repo)


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_with_wrong_and_missing_files(
    shelf: Shelf, hub: Hub, repo: Repo, folder: Path, *, link: bool
) -> None:
    """What is wrong or missing in a folder is fetched, and the folder stays as it was."""
    damage(folder / LARGE)
    (folder / OTHER).unlink()
    before = (folder / LARGE).read_bytes()
    events = Recorder()
    assert_right(quick_pull(shelf, adopting(hub, repo, folder, link=link), events), repo)
    assert hub.bytes_sent() == repo.files[LARGE].size + repo.files[OTHER].size
    assert {event.path for event in events.of(FileDone) if event.how != "fetched"} == {SMALL}
    assert (folder / LARGE).read_bytes() == before


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_of_symbolic_links(
    shelf: Shelf, hub: Hub, repo: Repo, folder: Path, *, link: bool
) -> None:
    """A folder of links to blobs, as huggingface_hub keeps them, becomes real files."""
    blobs = folder.with_name("blobs")
    blobs.mkdir()
    for number, path in enumerate(repo.files):
        (folder / path).rename(blobs / str(number))
        (folder / path).symlink_to(blobs / str(number))
    assert_right(quick_pull(shelf, adopting(hub, repo, folder, link=link)), repo)
    assert hub.requests == []


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_with_a_truncated_upload(
    shelf: Shelf, hub: Hub, tmp_path: Path, *, link: bool
) -> None:
    """A weights file with a broken header is refused from a folder as from the Hub."""
    repo = hub.add("org/cut", {LARGE: b"x" * 100_000}, lfs=[LARGE])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / LARGE).write_bytes(b"x" * 100_000)
    with pytest.raises(Exception, match="not a whole safetensors file"):
        quick_pull(shelf, adopting(hub, repo, tmp_path / "folder", link=link))
    assert_nothing_published(shelf)


def test_a_folder_without_a_source(shelf: Shelf, hub: Hub, repo: Repo, folder: Path) -> None:
    """Without a source, a file that is not what it was said to be ends the pull by its name."""
    damage(folder / LARGE)
    spec = PullSpec(snapshot_of(repo), None, folder=str(folder))
    with pytest.raises(NotFoundError, match=LARGE):
        quick_pull(shelf, spec)
    assert_nothing_published(shelf)
