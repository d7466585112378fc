"""Figures of commands that need no hub: verifying, listing, starting."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
import statistics
import threading
import time

from bench.nginx_hub import Hub
from bench.timing import clean_environment, measure, python
from modelshelf.shelf import layout
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File, Snapshot, canonical_json

_BLOCK_BYTES = 256 * 1024
_SNAPSHOTS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    """How fast `modelshelf verify` hashed the model of four files.

    Attributes:
        size: Bytes of the model.
        seconds: How long each run took.
        openssl: How long `openssl dgst -sha256` of the same files took, two at a time, each time.
        start: Seconds that verifying an empty shelf takes, for Python, imports and output.
        one_core: Bytes a second that sha256 of this Python hashes on one core.
        all_cores: Bytes a second that it hashes on all cores at once.
        read: Bytes a second at which all cores read the model's files without hashing.
        cores: How many cores there are.
    """

    size: int
    seconds: list[float]
    openssl: list[float]
    start: float
    one_core: float
    all_cores: float
    read: float
    cores: int

    @property
    def speed(self) -> float:
        """Bytes a second, without the time of the start."""
        return self.size / max(statistics.median(self.seconds) - self.start, 1e-3)

    @property
    def over_openssl(self) -> float:
        """OpenSSL's time divided by ours, Python's start included: the median of the rounds."""
        pairs = zip(self.openssl, self.seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def ceiling(self) -> float:
        """Bytes a second if all cores only read and then hash."""
        return 1 / (1 / (self.cores * self.one_core) + 1 / self.read)


def verify(hub: Hub, rounds: int, folder: str) -> Verified:
    """Pull the model once, verify it `rounds` times, and measure sha256 alone in between."""
    shelf, empty = os.path.join(folder, "verified"), os.path.join(folder, "empty")
    Shelf.create(empty)
    env = clean_environment(folder, HF_ENDPOINT=hub.plain, HF_HUB_DISABLE_TELEMETRY="1")
    pull = python("-m", "modelshelf", "pull", f"hf://{hub.four.repo_id}", "--shelf", shelf, "-q")
    measure([pull], env)
    cores = len(os.sched_getaffinity(0))
    verify = python("-m", "modelshelf", "verify", "-q", "--shelf")
    weights = [
        os.path.join(Shelf(shelf).find(hub.four.repo_id).path or "", file.name)
        for file in hub.four.weights
    ]
    openssl = [["openssl", "dgst", "-sha256", *weights[n::2]] for n in range(2)]
    samples = [
        (
            measure([[*verify, shelf]], env).seconds,
            measure(openssl, env).seconds,
            measure([[*verify, empty]], env).seconds,
            sha256_speed(1),
            sha256_speed(cores),
            _read_speed(hub, cores),
        )
        for _ in range(rounds)
    ]
    seconds, by_openssl, *others = zip(*samples, strict=True)
    start, one, every, read = (statistics.median(each) for each in others)
    return Verified(hub.four.size, list(seconds), list(by_openssl), start, one, every, read, cores)


def _read_speed(hub: Hub, threads: int) -> float:
    """Measure how many bytes a second all cores read of the model's files."""

    def read(path: str) -> int:
        buffer = memoryview(bytearray(_BLOCK_BYTES))
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
            return file.tell()

    start_time = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        count = sum(pool.map(read, [file.path for file in hub.four.weights]))
    return count / (time.monotonic() - start_time)


def sha256_speed(threads: int, seconds: float = 1.0) -> float:
    """Measure how many bytes a second sha256 hashes of a block in the processor's cache."""
    counts = [0] * threads

    def work(number: int) -> None:
        digest, block = hashlib.sha256(), os.urandom(_BLOCK_BYTES)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            digest.update(block)
            counts[number] += _BLOCK_BYTES

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    start_time = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - start_time)


@dataclasses.dataclass(frozen=True, slots=True)
class Starts:
    """Medians of the seconds that short commands take.

    Attributes:
        help: `modelshelf --help`.
        ls: `modelshelf ls` over a thousand snapshots.
        path: `modelshelf path` of the model of four files.
        pull_again: `modelshelf pull` of that model, which is on the shelf.
        bare: A Python program that does nothing.
        imported: `import modelshelf`, Python's own start included.
    """

    help: float
    ls: float
    path: float
    pull_again: float
    bare: float
    imported: float


def starts(hub: Hub, rounds: int, folder: str) -> Starts:
    """Time the short commands, alternating. `verify` has pulled the model before."""
    shelf, model = os.path.join(folder, "thousand"), ["--shelf", os.path.join(folder, "verified")]
    _fill(shelf)
    env = clean_environment(folder, HF_ENDPOINT=hub.plain, HF_HUB_DISABLE_TELEMETRY="1")
    repo_id = hub.four.repo_id
    commands = {
        "help": python("-m", "modelshelf", "--help"),
        "ls": python("-m", "modelshelf", "ls", "--shelf", shelf),
        "path": python("-m", "modelshelf", "path", repo_id, *model),
        "pull_again": python("-m", "modelshelf", "pull", f"hf://{repo_id}", "-q", *model),
        "bare": python("-c", "pass"),
        "imported": python("-c", "import modelshelf"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            run = measure([argv], env)
            # The first round is not counted: it reads the files from the disk and compiles them.
            if number:
                times[name].append(run.seconds)
    return Starts(**{name: statistics.median(each) for name, each in times.items()})


def _fill(path: str) -> None:
    """Make a shelf with the records of a thousand snapshots of ten files, without the files.

    `ls` then looks for each file and finds that it is missing.
    """
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
