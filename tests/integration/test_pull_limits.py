"""The puller where something is scarce: space, permission, memory, open files."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Content, Hub, Pattern, Repo, safetensors
from support.pull_runs import (
    FAST,
    MIB,
    NOBODY,
    PullJob,
    Recorder,
    add_model,
    assert_nothing_published,
    assert_right,
    finished_paths,
    partial_lengths,
    quick_pull,
    spec_of,
    staging_folders,
    start_pull,
    wait_for_quiet,
    wait_until,
)

from modelshelf.shelf import layout
from modelshelf.shelf.errors import NoSpaceError
from modelshelf.shelf.events import Event
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.events import FileDone, Planned, Published
from modelshelf.transfer.fetch import FetchSettings
from modelshelf.transfer.ramp import ConnectionLimits

ROOT = os.geteuid() == 0
LARGE = "model.safetensors"


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A filesystem of so many bytes."""
    if not ROOT:
        pytest.skip("only root may mount a small filesystem")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "modelshelf-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount a filesystem")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small(hub: Hub, tmp_path: Path) -> None:
    """A model that does not fit is refused with its plan, before the first request."""
    repo = hub.add("org/big", {"data.bin": Pattern(48 * MIB)})
    with small_disk(tmp_path / "disk", 40 * MIB) as disk:
        shelf = Shelf.create(disk / "shelf")
        events = Recorder()
        with pytest.raises(NoSpaceError, match="org/big") as failed:
            quick_pull(shelf, spec_of(hub, repo), events)
        assert staging_folders(shelf, repo) == []
        assert list(Path(shelf.path, "leases").iterdir()) == []
    assert failed.value.exit_code == 12
    assert hub.requests == []
    free_after = events.of(Planned)[0].free_after
    assert free_after is not None
    assert free_after < 0


def test_a_disk_that_fills_up(hub: Hub, tmp_path: Path) -> None:
    """When the space is gone in the middle, what is verified stays, and a later pull goes on."""
    files: dict[str, bytes | Content] = {f"{n}.bin": Pattern(8 * MIB, n) for n in range(3)}
    repo = hub.add("org/big", files)
    hub.misbehave("slow", "[12].bin", rate=20_000_000)
    with small_disk(tmp_path / "disk", 64 * MIB) as disk:
        shelf = Shelf.create(disk / "shelf")
        filler = disk / "filler"

        def fill(event: Event) -> None:
            if isinstance(event, FileDone) and not filler.exists():
                with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while file.write(bytes(64 * 1024)):
                        pass

        with pytest.raises(NoSpaceError, match="no space left") as failed:
            quick_pull(shelf, spec_of(hub, repo), fill)
        assert failed.value.exit_code == 12
        assert_nothing_published(shelf)
        kept = finished_paths(shelf, repo)
        assert kept
        filler.unlink()
        hub.faults.clear()
        wait_for_quiet(hub)
        hub.requests.clear()
        assert_right(quick_pull(shelf, spec_of(hub, repo)), repo)
        assert {request.file for request in hub.requests} == set(files) - kept
        assert hub.bytes_sent() <= 16 * MIB


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, owned by that user where root runs this."""
    path = Path(tempfile.mkdtemp(prefix="modelshelf-"))
    path.chmod(0o755)
    if ROOT:
        os.chown(path, NOBODY, NOBODY)
    yield path
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)
    shutil.rmtree(path)


def unprivileged(hub: Hub, repo: Repo, shelf: Path, umask: int | None = None) -> PullJob:
    """A pull by a user to whom modes apply."""
    user = NOBODY if ROOT else 0
    return PullJob(str(shelf), spec_of(hub, repo), user=user, umask=umask)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_an_unprivileged_user(hub: Hub, open_folder: Path, tmp_path: Path, umask: int) -> None:
    """An unprivileged user's snapshot is read-only with any umask; folders above are not."""
    repo = add_model(hub)
    path = open_folder / "shelf"
    path.mkdir(mode=0o755)
    if ROOT:
        os.chown(path, NOBODY, NOBODY)
    with start_pull(unprivileged(hub, repo, path, umask), tmp_path) as running:
        assert running.wait() == 0, running.errors or running.last()
    shelf = Shelf(path)
    snapshot = shelf.find(repo.repo_id)
    assert_right(snapshot, repo)
    above = Path(snapshot.path or "").parent
    while above != path:
        assert stat.S_IMODE(above.stat().st_mode) == 0o755
        above = above.parent
    for folder in ("models", "staging", "leases"):
        assert stat.S_IMODE((path / folder).stat().st_mode) == 0o755
    owner = NOBODY if ROOT else os.geteuid()
    assert {file.stat().st_uid for file in path.rglob("*")} == {owner}
    assert staging_folders(shelf, repo) == []


def test_an_unprivileged_user_resumes(hub: Hub, open_folder: Path, tmp_path: Path) -> None:
    """Without root, too, a dead pull's folder is taken over, with all that it made read-only."""
    repo = add_model(hub)
    shelf = open_folder / "shelf"
    slow = hub.misbehave("slow", LARGE, rate=1_000_000)
    job = unprivileged(hub, repo, shelf)
    with start_pull(job, tmp_path) as running:
        wait_until((shelf / layout.SHELF_FILE).exists)
        wait_until(lambda: partial_lengths(Shelf(shelf), repo).get(LARGE, 0) > 500_000)
        wait_until(lambda: len(finished_paths(Shelf(shelf), repo)) == 2)
        running.process.kill()
        running.process.wait()
    wait_for_quiet(hub)
    (writer,) = staging_folders(Shelf(shelf), repo)
    (writer / "adapter").chmod(0o555)
    (writer / f"{LARGE}{layout.PART_SUFFIX}").chmod(0o444)
    hub.faults.remove(slow)
    hub.requests.clear()
    with start_pull(job, tmp_path) as running:
        assert running.wait() == 0, running.errors or running.last()
    assert {request.file for request in hub.requests} == {LARGE}
    assert_right(Shelf(shelf).find(repo.repo_id), repo)
    assert staging_folders(Shelf(shelf), repo) == []


@pytest.mark.skipif(not ROOT, reason="only root may become two users, one after the other")
@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_two_users_of_a_group(hub: Hub, open_folder: Path, tmp_path: Path, umask: int) -> None:
    """On a share with the setgid bit a second user of the group pulls another model, and tags."""
    group = 4_321
    os.chown(open_folder, 0, group)
    open_folder.chmod(0o2775)
    repos = [add_model(hub), hub.add("org/other", {"config.json": b"{}", LARGE: safetensors(300)})]
    for user, repo in zip((1_001, 1_002), repos, strict=True):
        job = PullJob(str(open_folder), spec_of(hub, repo), user=user, group=group, umask=umask)
        with start_pull(job, tmp_path) as running:
            assert running.wait() == 0, running.errors or running.last()
    assert {s.repo_id for s in Shelf(open_folder).snapshots()} == {r.repo_id for r in repos}


def test_a_filesystem_without_modes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no mode can be changed, a model is published with the modes that there are."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    repo = add_model(hub)
    with monkeypatch.context() as patch:
        patch.setattr(os, "chmod", refuse)
        patch.setattr(os, "fchmod", refuse)
        snapshot = quick_pull(Shelf.create(tmp_path / "shelf"), spec_of(hub, repo))
    assert [file.sha256 for file in snapshot.files] == [
        hashlib.sha256(Path(snapshot.path or "", file.path).read_bytes()).hexdigest()
        for file in snapshot.files
    ]


def test_a_filesystem_that_states_no_size(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where free space is not known, the plan says so, and the model is pulled."""
    nothing = os.statvfs_result([4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255])
    monkeypatch.setattr(os, "statvfs", lambda _path: nothing)
    repo = add_model(hub)
    events = Recorder()
    assert_right(quick_pull(Shelf.create(tmp_path / "shelf"), spec_of(hub, repo), events), repo)
    assert events.of(Planned)[0].free_after is None


@pytest.mark.parametrize("closed", [".", "models", "staging", "leases"])
def test_a_shelf_that_may_not_be_written(
    hub: Hub, open_folder: Path, tmp_path: Path, closed: str
) -> None:
    """Without write permission a pull ends with its own exit code before it asks for anything."""
    repo = add_model(hub)
    shelf = open_folder / "shelf"
    Shelf.create(shelf)
    for folder in layout.FOLDERS:
        (shelf / folder).mkdir(exist_ok=True)
        if ROOT:
            os.chown(shelf / folder, NOBODY, NOBODY)
    if closed == ".":
        shutil.rmtree(shelf / "staging")
    (shelf / closed).chmod(0o555)
    with start_pull(unprivileged(hub, repo, shelf), tmp_path) as running:
        assert running.wait() == 13, running.errors or running.last()
    message = running.last()["message"]
    assert str(NOBODY if ROOT else os.geteuid()) in message
    assert "--shelf" in message
    assert hub.requests == []


def test_memory(hub: Hub, tmp_path: Path) -> None:
    """A model of 1.5 GB over 32 connections needs less than 300 MB."""
    size = 1_500_000_000
    room = shutil.disk_usage("/dev/shm").free if os.access("/dev/shm", os.W_OK) else 0
    place = "/dev/shm" if room > 2 * size else str(tmp_path)
    repo = hub.add("org/big", {LARGE: safetensors(size)}, lfs=[LARGE])
    settings = dataclasses.replace(
        FetchSettings(), limits=ConnectionLimits(min_connections=32, max_connections=32)
    )
    with tempfile.TemporaryDirectory(prefix="modelshelf-", dir=place) as folder:
        job = PullJob(f"{folder}/shelf", spec_of(hub, repo), settings)
        with start_pull(job, tmp_path) as running:
            assert running.wait(60) == 0, running.errors or running.last()
        published = Shelf(f"{folder}/shelf").find("org/big").path or ""
        os.chmod(published, 0o755)
    assert hub.hub.peak >= 32
    assert running.last()["rss"] < 300_000_000


def test_a_thousand_files(hub: Hub, tmp_path: Path) -> None:
    """A thousand files need neither a thousand descriptors nor a thousand connections."""
    files: dict[str, bytes | Content] = {
        f"{n % 10}/{n}.txt": f"content {n}".encode() for n in range(1000)
    }
    repo = hub.add("org/many", files, lfs=[path for path in files if path < "5"])
    job = PullJob(str(tmp_path / "shelf"), spec_of(hub, repo), open_files=256)
    with start_pull(job, tmp_path) as running:
        assert running.wait(60) == 0, running.errors or running.last()
    assert_right(Shelf(tmp_path / "shelf").find("org/many"), repo)
    assert len(hub.requests) == 1000
    assert hub.hub.accepted <= FAST.limits.max_connections


def test_many_files_left_by_a_dead_pull(hub: Hub, tmp_path: Path) -> None:
    """Hundreds of files that a dead pull has begun need no descriptor each."""
    files: dict[str, bytes | Content] = {f"{n}.bin": Pattern(3000, n) for n in range(400)}
    repo = hub.add("org/many", files)
    shelf = Shelf.create(tmp_path / "shelf")
    spec = spec_of(hub, repo)
    parent = Path(shelf.path, layout.staging_parent(repo.repo_id))
    writer = parent / f"{spec.snapshot.id}.feedfeedfeed"
    writer.mkdir(parents=True)
    for path, entry in repo.files.items():
        (writer / f"{path}{layout.PART_SUFFIX}").write_bytes(
            bytes(next(entry.content.blocks(0, 1000)))
        )
        (writer / f"{path}{layout.SYNCED_SUFFIX}").write_text('{"length": 1000}')
    job = PullJob(shelf.path, spec, open_files=128)
    with start_pull(job, tmp_path) as running:
        assert running.wait() == 0, running.errors or running.last()
    assert_right(shelf.find("org/many"), repo)
    assert hub.bytes_sent() == 400 * 2000


def test_a_second_pull_needs_little(hub: Hub, tmp_path: Path) -> None:
    """A model that is on the shelf is found there without a request, a lease or a thread."""
    repo = add_model(hub)
    shelf = Shelf.create(tmp_path / "shelf")
    quick_pull(shelf, spec_of(hub, repo))
    hub.requests.clear()
    events = Recorder()
    quick_pull(shelf, spec_of(hub, repo), events)
    assert [type(event) for event in events.events] == [Published]
    assert hub.requests == []
