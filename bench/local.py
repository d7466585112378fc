"""What needs no hub: verifying, listing, starting."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import statistics
import threading
import time

from bench.fixture import Hub
from bench.timing import clean_environment, measure, python
from modelshelf.core import layout
from modelshelf.core.model import File, Snapshot, canonical_json
from modelshelf.core.shelf import Shelf

_BLOCK = 256 * 1024
_SNAPSHOTS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    """How fast `modelshelf verify` hashed the model in four files.

    Attributes:
        speeds: Bytes a second of each run, start of Python included.
        one_core: Bytes a second that sha256 hashes in this Python, alone on one core.
        all_cores: The same on all cores at once, together.
        cores: How many there are.
    """

    speeds: list[float]
    one_core: float
    all_cores: float
    cores: int


def verify(hub: Hub, rounds: int, folder: str) -> Verified:
    """Pull the model once and verify it `rounds` times, sha256 alone measured between."""
    shelf = os.path.join(folder, "verified")
    env = clean_environment(folder, HF_ENDPOINT=hub.plain, HF_HUB_DISABLE_TELEMETRY="1")
    pull = python("-m", "modelshelf", "pull", f"hf://{hub.four.repo_id}", "--shelf", shelf, "-q")
    measure([pull], env)
    cores = len(os.sched_getaffinity(0))
    speeds, one, every = [], [], []
    for _ in range(rounds):
        one.append(sha256_speed(1))
        every.append(sha256_speed(cores))
        took = measure([python("-m", "modelshelf", "verify", "--shelf", shelf, "-q")], env)
        speeds.append(hub.four.size / took.seconds)
    return Verified(speeds, statistics.median(one), statistics.median(every), cores)


def sha256_speed(threads: int, seconds: float = 1.0) -> float:
    """Bytes a second that sha256 hashes in this Python, over blocks that stay in the processor."""
    counts = [0] * threads

    def work(number: int) -> None:
        digest, block = hashlib.sha256(), os.urandom(_BLOCK)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            digest.update(block)
            counts[number] += _BLOCK

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - began)


@dataclasses.dataclass(frozen=True, slots=True)
class Starts:
    """Seconds that short commands take, medians.

    Attributes:
        help: `modelshelf --help`.
        ls: `modelshelf ls` over a thousand snapshots.
        bare: Python that does nothing.
        imported: `import modelshelf`, Python's own start included.
    """

    help: float
    ls: float
    bare: float
    imported: float


def starts(rounds: int, folder: str) -> Starts:
    """Time the short commands, alternating."""
    shelf = os.path.join(folder, "thousand")
    _fill(shelf)
    env = clean_environment(folder)
    commands = {
        "help": python("-m", "modelshelf", "--help"),
        "ls": python("-m", "modelshelf", "ls", "--shelf", shelf),
        "bare": python("-c", "pass"),
        "imported": python("-c", "import modelshelf"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            took = measure([argv], env)
            # The first round reads the files from the disk and compiles them.
            if number:
                times[name].append(took.seconds)
    return Starts(**{name: statistics.median(each) for name, each in times.items()})


def _fill(path: str) -> None:
    """A shelf of a thousand snapshots of ten files each; only their descriptions exist."""
    Shelf.create(path)
    for number in range(_SNAPSHOTS):
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        files = tuple(
            File(f"model-{n:05}.safetensors", 10**9, digest, None, digest) for n in range(10)
        )
        repo_id = f"org{number % 40}/model{number // 4}"
        source = f"hf://{repo_id}@main"
        snapshot = Snapshot(source, repo_id, "main", digest[:40], files, 1.7e9 + number, "bench")
        folder = os.path.join(path, layout.snapshot_folder(repo_id, snapshot.id))
        os.makedirs(folder)
        with open(os.path.join(folder, layout.SNAPSHOT_FILE), "wb") as file:
            file.write(canonical_json(snapshot.to_json()))
