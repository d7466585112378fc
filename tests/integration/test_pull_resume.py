"""Pulls that die, and how the next pull uses what they left."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hub import Content, Hub, Pattern, Repo, safetensors
from support.pull_runs import (
    FAST,
    MIB,
    PullJob,
    Recorder,
    add_model,
    assert_right,
    finished_paths,
    partial_lengths,
    quick_pull,
    snapshot_of,
    spec_of,
    staging_folders,
    start_pod_pull,
    start_pull,
    wait_for_quiet,
    wait_until,
)

from modelshelf.shelf import layout
from modelshelf.shelf.leases import LeaseTiming
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.events import FileDone, Planned, Published
from modelshelf.transfer.fetch import FetchSettings

SIZE = 12_000_000
ONE = "model.safetensors"
SYNC = MIB
IN_FLIGHT = 2 * FAST.chunk * FAST.limits.max_connections


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model of one large file and a small one."""
    files: dict[str, bytes | Content] = {ONE: safetensors(SIZE), "config.json": b"{}"}
    return hub.add("org/name", files, lfs=[ONE])


def die_after(hub: Hub, shelf: Shelf, repo: Repo, folder: Path, count: int) -> int:
    """Pull in a child, kill it when so many bytes of the large file are written: how many were."""
    throttle = hub.misbehave("slow", "*", rate=6_000_000)
    with start_pull(PullJob(shelf.path, spec_of(hub, repo), sync_every=SYNC), folder) as running:
        wait_until(lambda: partial_lengths(shelf, repo).get(ONE, 0) >= count)
        running.process.kill()
        running.process.wait()
    wait_for_quiet(hub)
    hub.faults.remove(throttle)
    return partial_lengths(shelf, repo)[ONE]


def pull_on(hub: Hub, shelf: Shelf, repo: Repo, folder: Path) -> list[dict[str, object]]:
    """Pull in another child; look that all is right, and that nothing is left over."""
    with start_pull(PullJob(shelf.path, spec_of(hub, repo), sync_every=SYNC), folder) as running:
        assert running.wait() == 0, running.errors or running.last()
    assert_right(shelf.find(repo.repo_id), repo)
    assert staging_folders(shelf, repo) == []
    return running.events


def planned(events: list[dict[str, object]]) -> dict[str, object]:
    """The plan among events."""
    return next(event for event in events if event["event"] == "planned")


def rewrite(path: Path, **changes: object) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reboot(shelf: Shelf, repo: Repo) -> None:
    """Make all that dead pulls left look as if it came from before this host's last boot."""
    for writer in staging_folders(shelf, repo):
        rewrite(writer / layout.WRITER_FILE, boot_id="an earlier boot")
        for record in writer.rglob(f"*{layout.SYNCED_SUFFIX}"):
            rewrite(record, boot_id="an earlier boot")
    for lease in Path(shelf.path, "leases").iterdir():
        holder = json.loads(lease.read_text())
        holder["process"]["boot_id"] = "an earlier boot"
        lease.write_text(json.dumps(holder))


def test_killed_and_run_again(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """After SIGKILL at most two chunks a connection are fetched twice."""
    written = die_after(hub, shelf, repo, tmp_path, 5_000_000)
    before = hub.bytes_sent(ONE)
    hub.requests.clear()
    events = pull_on(hub, shelf, repo, tmp_path)
    assert planned(events)["here"] in (written, written + 2)
    assert hub.bytes_sent(ONE) == SIZE - written
    assert before + hub.bytes_sent(ONE) <= SIZE + IN_FLIGHT


def test_killed_while_one_connection_lags(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """While the file's next range does not come, the others do not run ahead without end."""
    stuck = hub.misbehave("stall", ONE, begins=0, after=1)
    settings = dataclasses.replace(FAST, stall=30.0)
    with start_pull(PullJob(shelf.path, spec_of(hub, repo), settings), tmp_path) as running:
        wait_until(lambda: hub.bytes_sent(ONE) >= IN_FLIGHT - FAST.chunk)
        running.process.kill()
        running.process.wait()
    wait_for_quiet(hub)
    assert hub.bytes_sent(ONE) <= IN_FLIGHT
    hub.faults.remove(stuck)
    pull_on(hub, shelf, repo, tmp_path)
    assert hub.bytes_sent(ONE) <= SIZE + IN_FLIGHT


def test_killed_as_pods_run_it(shelf: Shelf, hub: Hub, tmp_path: Path) -> None:
    """The same through the command line of pods and with its own settings."""
    repo = hub.add("org/big", {"a.bin": Pattern(40 * MIB, 1), "b.bin": Pattern(40 * MIB, 2)})
    hub.misbehave("slow", "*", rate=12_000_000)
    with start_pod_pull(hub, shelf.path, snapshot_of(repo), tmp_path, {}) as running:
        wait_until(lambda: sum(partial_lengths(shelf, repo).values()) >= 12 * MIB)
        running.process.kill()
        running.process.wait()
    wait_for_quiet(hub)
    written, peak = sum(partial_lengths(shelf, repo).values()), hub.hub.peak
    assert hub.bytes_sent() - written <= 2 * FetchSettings().chunk * peak
    hub.faults.clear()
    hub.requests.clear()
    with start_pod_pull(hub, shelf.path, snapshot_of(repo), tmp_path, {}) as running:
        assert running.wait() == 0, running.errors or running.last()
    assert running.last()["event"] == "published"
    assert hub.bytes_sent() == 80 * MIB - written
    assert_right(shelf.find("org/big"), repo)


def test_the_host_died(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """After another boot only what was synced counts, not the file's length."""
    written = die_after(hub, shelf, repo, tmp_path, 5_000_000)
    (part,) = staging_folders(shelf, repo)[0].rglob(f"*{layout.PART_SUFFIX}")
    synced = json.loads(Path(f"{part}.synced").read_text())["length"]
    assert 0 <= written - synced <= SYNC + FAST.chunk
    with part.open("r+b") as file:
        # Pages that did not reach the disk before the host died.
        file.seek(synced)
        file.write(bytes(written - synced))
    reboot(shelf, repo)
    hub.requests.clear()
    events = pull_on(hub, shelf, repo, tmp_path)
    assert planned(events)["here"] in (synced, synced + 2)
    assert hub.bytes_sent(ONE) == SIZE - synced


def test_killed_twice_and_then_the_host_died(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """What a resumed pull took over is on the disk, although it synced nothing new itself."""
    first = die_after(hub, shelf, repo, tmp_path, 5_000_000)
    second = die_after(hub, shelf, repo, tmp_path, first + 64_000)
    assert second - first < SYNC
    reboot(shelf, repo)
    events = pull_on(hub, shelf, repo, tmp_path)
    here = planned(events)["here"]
    assert isinstance(here, int)
    assert first <= here <= second + 2


def test_a_damaged_prefix(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """A damaged byte in a dead pull's file costs that file and no other."""
    repo.update({**{p: e.content for p, e in repo.files.items()}, "b.bin": Pattern(SIZE, 9)}, [ONE])
    written = die_after(hub, shelf, repo, tmp_path, 2_000_000)
    (part,) = staging_folders(shelf, repo)[0].rglob(f"{ONE}{layout.PART_SUFFIX}")
    with part.open("r+b") as file:
        file.seek(written // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    others = partial_lengths(shelf, repo)
    hub.requests.clear()
    pull_on(hub, shelf, repo, tmp_path)
    assert hub.bytes_sent(ONE) == 2 * SIZE - written
    assert hub.bytes_sent("b.bin") == SIZE - others["b.bin"]


@pytest.mark.parametrize("record", [None, "", "[]", '{"pid": 1}'])
def test_a_folder_whose_writer_is_unknown(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path, record: str | None
) -> None:
    """Without a readable record of its writer, a folder's synced bytes count."""
    die_after(hub, shelf, repo, tmp_path, 3_000_000)
    (writer,) = staging_folders(shelf, repo)
    (part,) = writer.rglob(f"*{layout.PART_SUFFIX}")
    synced = json.loads(Path(f"{part}.synced").read_text())["length"]
    if record is None:
        (writer / layout.WRITER_FILE).unlink()
    else:
        (writer / layout.WRITER_FILE).write_text(record)
    hub.requests.clear()
    pull_on(hub, shelf, repo, tmp_path)
    assert hub.bytes_sent(ONE) == SIZE - synced


def test_a_folder_without_anything(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """An empty folder, and one with a stranger's files, are swept."""
    parent = Path(shelf.path, layout.staging_parent(repo.repo_id))
    snapshot = snapshot_of(repo)
    (parent / f"{snapshot.id}.000000000000").mkdir(parents=True)
    odd = parent / f"{snapshot.id}.111111111111"
    (odd / "config.json" / "deeper").mkdir(parents=True)
    (odd / f"{ONE}{layout.PART_SUFFIX}").write_text("not it")
    (odd / f"{ONE}{layout.SYNCED_SUFFIX}").write_text('{"length": "many"}')
    pull_on(hub, shelf, repo, tmp_path)


def test_several_folders(shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path) -> None:
    """Of several dead pulls' folders the best of each file is used, and all are swept."""
    written = die_after(hub, shelf, repo, tmp_path, 4_000_000)
    (writer,) = staging_folders(shelf, repo)
    for name, length in (("aaaaaaaaaaaa", 1_000_000), ("zzzzzzzzzzzz", 2_000_000)):
        other = writer.with_name(f"{snapshot_of(repo).id}.{name}")
        shutil.copytree(writer, other)
        os.truncate(other / f"{ONE}{layout.PART_SUFFIX}", length)
        (other / "config.json").unlink(missing_ok=True)
    (writer / "config.json").unlink(missing_ok=True)
    (other / "config.json").write_bytes(b"{}")
    (other / "config.json").chmod(0o444)
    hub.requests.clear()
    pull_on(hub, shelf, repo, tmp_path)
    assert hub.bytes_sent(ONE) == SIZE - written
    assert hub.bytes_sent("config.json") == 0


def test_killed_when_all_was_there_but_not_published(
    shelf: Shelf, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull that died between its last file and the rename needs no request to be finished."""
    repo = add_model(hub)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            quick_pull(shelf, spec_of(hub, repo))
    assert finished_paths(shelf, repo) == set(repo.files)
    hub.requests.clear()
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    assert hub.requests == []
    assert {event.how for event in events.of(FileDone)} == {"recovered"}
    assert events.of(Planned)[0].fetch == events.of(Published)[0].fetched == 0
    assert staging_folders(shelf, repo) == []


def test_a_folder_of_a_model_that_is_published(
    shelf: Shelf, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    """What a late or killed writer left of a model that is on the shelf is swept by a pull."""
    quick_pull(shelf, spec_of(hub, repo))
    snapshot = shelf.find(repo.repo_id)
    other = Path(shelf.path, layout.staging_parent(repo.repo_id), f"{snapshot.id}.feedfeedfeed")
    other.mkdir()
    (other / f"{ONE}{layout.PART_SUFFIX}").write_bytes(b"x" * 1000)
    unrelated = other.with_name(f"{'0' * 40}-{'1' * 8}.feedfeedfeed")
    unrelated.mkdir()
    events = Recorder()
    quick_pull(shelf, spec_of(hub, repo), events)
    assert events.of(Published)[0].how == "present"
    assert staging_folders(shelf, repo) == [unrelated]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["slow", "stall"])
def test_interrupted(
    shelf: Shelf, hub: Hub, repo: Repo, *, tmp_path: Path, sent: signal.Signals, kind: str
) -> None:
    """Ctrl-C and SIGTERM stop a pull at once, however slow the Hub, and keep what is written."""
    hub.misbehave(kind, ONE, after=3_000_000, rate=1_500_000)  # type: ignore[arg-type]
    with start_pod_pull(hub, shelf.path, snapshot_of(repo), tmp_path, {}) as running:
        wait_until(lambda: partial_lengths(shelf, repo).get(ONE, 0) >= MIB)
        began = time.monotonic()
        running.process.send_signal(sent)
        assert running.wait() == 128 + sent
        assert time.monotonic() - began < 2
    assert "Traceback" not in running.errors
    assert list(Path(shelf.path, "leases").iterdir()) == []
    written = partial_lengths(shelf, repo)[ONE]
    assert written >= MIB
    hub.release()
    hub.faults.clear()
    wait_for_quiet(hub)
    hub.requests.clear()
    pull_on(hub, shelf, repo, tmp_path)
    assert hub.bytes_sent(ONE) == SIZE - written


def unshared() -> list[str]:
    """The command that gives a child a PID namespace of its own; skips where that is refused."""
    forms = [["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]]
    forms.append([*forms[0], "--user", "--map-root-user"])
    for form in forms:
        with contextlib.suppress(OSError):
            if subprocess.run([*form, "true"], capture_output=True, check=False).returncode == 0:
                return form
    pytest.skip("this user may not make a PID namespace (unshare --pid)")


def test_a_live_writer_elsewhere_is_taken_over(shelf: Shelf, hub: Hub, tmp_path: Path) -> None:
    """A writer of another PID namespace that goes on writing reaches no published file.

    Its own Hub sends it rubbish after the takeover, so that a single byte of it would show.
    """
    whole = safetensors(SIZE)
    half = SIZE // 2 // FAST.chunk * FAST.chunk
    rubbish = Pattern(SIZE, 77, b"".join(whole.blocks(0, half)))
    files = {ONE: whole, "early.bin": Pattern(100_000, 5)}
    repo = hub.add("org/name", files, lfs=list(files))
    with Hub() as bad:
        other = bad.add("org/name", {**files, ONE: rubbish}, lfs=list(files))
        spec = dataclasses.replace(spec_of(bad, other), snapshot=snapshot_of(repo))
        assert spec.source is not None
        base = spec.source.base.replace(other.commit, repo.commit)
        other.commits[repo.commit] = other.files
        spec = dataclasses.replace(spec, source=dataclasses.replace(spec.source, base=base))
        bad.misbehave("slow", ONE, rate=4_000_000)
        job = PullJob(
            shelf.path, spec, lease_timing=LeaseTiming(heartbeat_seconds=1000), before=unshared()
        )
        with start_pull(job, tmp_path) as first:
            wait_until(lambda: partial_lengths(shelf, repo).get(ONE, 0) >= 2_000_000)
            assert finished_paths(shelf, repo) == {"early.bin"}
            taker = Recorder()
            published = quick_pull(shelf, spec_of(hub, repo), taker)
            assert first.process.poll() is None
            at_takeover = bad.bytes_sent(ONE)
            assert_right(published, repo)
            assert taker.of(Planned)[0].here >= 2_000_000
            bad.faults.clear()
            code = first.wait()
    assert bad.bytes_sent(ONE) > at_takeover
    assert code in (0, 14, 16), first.errors or first.last()
    assert first.last()["message"] or code == 0
    assert_right(shelf.find("org/name"), repo)
    assert len(shelf.snapshots()) == 1


def test_a_file_that_the_shelf_has_lost_is_fetched_alone(
    hub: Hub, shelf: Shelf, repo: Repo
) -> None:
    """If somebody deleted a published file, the next pull fetches it and nothing else."""
    snapshot = quick_pull(shelf, spec_of(hub, repo))
    folder = os.stat(snapshot.path or "").st_ino
    os.chmod(snapshot.path or "", 0o755)
    Path(snapshot.path or "", ONE).unlink()
    wait_for_quiet(hub)
    hub.requests.clear()
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    assert {request.file for request in hub.requests} == {ONE}
    assert events.of(Published)[0].how == "pulled"
    assert os.stat(snapshot.path or "").st_ino == folder
    assert staging_folders(shelf, repo) == []
    hub.requests.clear()
    quick_pull(shelf, spec_of(hub, repo), events)
    assert hub.requests == []
