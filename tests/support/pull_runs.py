"""Pulls from the loopback Hub, in this process or in a child, and checks of their results."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hub import Content, Hub, Repo, safetensors
from hub.content import sha256
from support.pod_packages import command_line

from modelshelf.shelf import layout
from modelshelf.shelf.events import Event
from modelshelf.shelf.leases import LeaseTiming
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.fetch import FetchSettings
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.pull import PullSpec, pull
from modelshelf.transfer.ramp import ConnectionLimits
from modelshelf.transfer.retries import Backoff

KIB, MIB = 1 << 10, 1 << 20
NOBODY = 65534

# Small and impatient, so that every fault shows soon.
FAST = FetchSettings(
    chunk=256 * KIB,
    piece=64 * KIB,
    stall=0.5,
    limits=ConnectionLimits(min_connections=4, max_connections=4),
    backoff=Backoff(max_tries=4, first_seconds=0.01, max_seconds=1.0),
)

E = TypeVar("E", bound=Event)


class Recorder:
    """A listener that keeps all events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def text(self) -> str:
        """All events as JSON."""
        return json.dumps([event.to_json() for event in self.events])


def add_model(hub: Hub, repo_id: str = "org/name", *, token: str | None = None) -> Repo:
    """A model of two large files and a small one: 3 MB and 1 MB in LFS, the rest in git."""
    files: dict[str, bytes | Content] = {
        "model.safetensors": safetensors(3_000_000, 1),
        "adapter/weights.safetensors": safetensors(1_000_000, 2),
        "config.json": b'{"model_type": "llama"}',
    }
    lfs = [path for path in files if path.endswith(".safetensors")]
    return hub.add(repo_id, files, lfs, token=token, gated=token is not None)


def snapshot_of(repo: Repo, paths: Collection[str] | None = None) -> Snapshot:
    """What a source makes of a repository's `main`: all files, or those chosen."""
    files = [
        File(
            entry.path,
            entry.size,
            lfs_sha256=entry.sha256,
            git_sha1=None if entry.sha256 else entry.git_sha1,
        )
        for entry in repo.files.values()
        if paths is None or entry.path in paths
    ]
    return Snapshot(
        source=f"hf://{repo.repo_id}@main",
        repo_id=repo.repo_id,
        revision="main",
        commit=repo.commit,
        files=tuple(sorted(files, key=lambda file: file.path)),
    )


def spec_of(
    hub: Hub, repo: Repo, *, token: str | None = None, paths: Collection[str] | None = None
) -> PullSpec:
    """The spec of a pull from a Hub, as the command line makes it."""
    snapshot = snapshot_of(repo, paths)
    return PullSpec(snapshot, HubSource.of_snapshot(hub.url, snapshot, token))


def quick_pull(
    shelf: Shelf,
    spec: PullSpec,
    listener: Callable[[Event], None] | None = None,
    **changes: Any,
) -> Snapshot:
    """Pull with `FAST` settings, some of them changed."""
    return pull(
        shelf,
        spec,
        listener=listener or Recorder(),
        settings=dataclasses.replace(FAST, **changes),
        lease_timing=LeaseTiming(heartbeat_seconds=0.2, stale_seconds=1.0),
    )


def assert_right(snapshot: Snapshot, repo: Repo) -> None:
    """Every file lies on the shelf with the repository's own bytes, and nothing else does."""
    assert snapshot.path is not None
    found = {}
    for folder, _, names in os.walk(snapshot.path):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o555
        for name in names:
            path = os.path.join(folder, name)
            assert stat.S_ISREG(os.lstat(path).st_mode)
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o444
            found[os.path.relpath(path, snapshot.path)] = path
    assert set(found) == {file.path for file in snapshot.files} | {layout.SNAPSHOT_FILE}
    for file in snapshot.files:
        with open(found[file.path], "rb") as reader:
            content = hashlib.file_digest(reader, "sha256").hexdigest()
        assert content == sha256(repo.files[file.path].content) == file.sha256


def staging_folders(shelf: Shelf, repo: Repo) -> list[Path]:
    """The writers' folders of a model that are there."""
    parent = Path(shelf.path, layout.staging_parent(repo.repo_id))
    return sorted(parent.iterdir()) if parent.is_dir() else []


def finished_paths(shelf: Shelf, repo: Repo) -> set[str]:
    """The files that writers' folders hold whole and verified."""
    return {
        os.path.relpath(os.path.join(folder, name), writer)
        for writer in staging_folders(shelf, repo)
        for folder, _, names in os.walk(writer)
        for name in names
        if name != layout.WRITER_FILE and layout.PART_SUFFIX not in name
    }


def partial_lengths(shelf: Shelf, repo: Repo) -> dict[str, int]:
    """The files that are being written, and the length that the largest has of each."""
    lengths: dict[str, int] = {}
    for writer in staging_folders(shelf, repo):
        for folder, _, names in os.walk(writer):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), writer)
                if path.endswith(layout.PART_SUFFIX):
                    # It may lose its ending while we look.
                    with contextlib.suppress(FileNotFoundError):
                        length = os.stat(os.path.join(folder, name)).st_size
                        path = path.removesuffix(layout.PART_SUFFIX)
                        lengths[path] = max(lengths.get(path, 0), length)
    return lengths


def assert_nothing_published(shelf: Shelf) -> None:
    """No snapshot is on the shelf."""
    assert shelf.snapshots() == []


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until a condition is true; it is checked every few milliseconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def wait_for_quiet(hub: Hub) -> None:
    """Wait until a Hub has noticed that its clients are gone, and sends nothing more to them."""
    wait_until(lambda: hub.hub.connections + hub.host.connections == 0)


@dataclasses.dataclass
class PullJob:
    """What a pull in a process of its own does.

    Attributes:
        shelf: The shelf's folder.
        spec: What to pull.
        settings: How.
        lease_timing: How long another's lease counts.
        sync_every: Bytes between two syncs of a file; 0 for the real number.
        open_files: The most files that the process may have open; 0 for no limit of ours.
        umask: Its umask; None for this process's.
        user: The user that it becomes; 0 for none.
        group: The group that it becomes; 0 for the one with the user's number.
        environment: More variables.
        before: The beginning of the command line, for example `unshare`.
    """

    shelf: str
    spec: PullSpec
    settings: FetchSettings = FAST
    lease_timing: LeaseTiming = dataclasses.field(default_factory=lambda: LeaseTiming(0.2, 1.0))
    sync_every: int = 0
    open_files: int = 0
    umask: int | None = None
    user: int = 0
    group: int = 0
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """What `pull_process.py` reads."""
        assert self.spec.source is not None
        return {
            "shelf": self.shelf,
            "snapshot": self.spec.snapshot.to_json(),
            "base": self.spec.source.base,
            "token": self.spec.source.token,
            "settings": dataclasses.asdict(self.settings),
            "lease_timing": dataclasses.asdict(self.lease_timing),
            "sync_every": self.sync_every,
            "open_files": self.open_files,
            "umask": self.umask,
            "user": self.user,
            "group": self.group,
        }


class PullChild:
    """A pull in a process of its own.

    Attributes:
        process: The process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self.errors = ""

    def wait(self, seconds: float = 30.0) -> int:
        """Wait until it ends, and return its exit code. `events` and `errors` hold its output."""
        out, self.errors = self.process.communicate(timeout=seconds)
        self.events = [json.loads(line) for line in out.splitlines()]
        return self.process.returncode

    def last(self) -> dict[str, Any]:
        """The last line of its output."""
        assert self.events, self.errors
        return self.events[-1]

    def close(self) -> None:
        """Kill it if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(ValueError):
            self.process.communicate()


@contextlib.contextmanager
def start_pull(job: PullJob, folder: Path) -> Iterator[PullChild]:
    """Start a pull in a process of its own; its job's file is written to `folder`."""
    path = folder / f"job-{time.monotonic_ns()}.json"
    path.write_text(json.dumps(job.to_json()))
    command = [
        *job.before,
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("pull_process.py")),
        str(path),
    ]
    with contextlib.closing(PullChild(command, job.environment)) as running:
        yield running


@contextlib.contextmanager
def start_pod_pull(
    hub: Hub, shelf: str, snapshot: Snapshot, folder: Path, environment: Mapping[str, str]
) -> Iterator[PullChild]:
    """Start `pull SPEC.json` by the command line of pods, with its default settings."""
    path = folder / f"spec-{time.monotonic_ns()}.json"
    spec = {"shelf": shelf, "endpoint": hub.url, "snapshot": snapshot.to_json()}
    path.write_text(json.dumps(spec))
    with contextlib.closing(PullChild(command_line("pull", path), environment)) as running:
        yield running
