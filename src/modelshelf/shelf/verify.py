"""Reading published snapshots again, and comparing every byte with what was published."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import threading
from collections.abc import Sequence

from modelshelf.shelf.digests import Digest, hash_range
from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.events import Damaged, Hashed, Listener, Verified, ignore
from modelshelf.shelf.values import File, Snapshot

_STEP_BYTES = 64 << 20  # read between two reports of progress, and two checks whether to stop


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not what was published.

    Attributes:
        snapshot: The snapshot that it belongs to.
        file: What it should be.
        problem: How it differs, as a sentence without a full stop.
    """

    snapshot: Snapshot
    file: File
    problem: str


def verify(
    snapshots: Sequence[Snapshot], *, listener: Listener = ignore, threads: int | None = None
) -> list[Fault]:
    """Hash every file of some snapshots again, the largest first, in parallel.

    Args:
        snapshots: Published snapshots, as a `Shelf` lists them.
        listener: Gets events about what was read and what is damaged, from one thread at a time.
        threads: How many files to read at once; by default one for each core.

    Returns:
        The damaged files; empty if there are none.
    """
    pairs = sorted(((s, f) for s in snapshots for f in s.files), key=lambda pair: -pair[1].size)
    progress = _Progress(sum(file.size for _, file in pairs), listener)
    faults: list[Fault] = []
    pool = concurrent.futures.ThreadPoolExecutor(threads or _available_cores())
    try:
        for fault in pool.map(lambda pair: _check(pair[0], pair[1], progress), pairs):
            if fault is not None:
                faults.append(fault)
                damaged = fault.snapshot
                progress.tell(Damaged(damaged.repo_id, damaged.id, fault.file.path, fault.problem))
    except BaseException:
        progress.stopped = True
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    for snapshot in snapshots:
        count = sum(fault.snapshot is snapshot for fault in faults)
        files = len(snapshot.files)
        progress.tell(Verified(snapshot.repo_id, snapshot.id, files, snapshot.size, count))
    return faults


def _available_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells which cores a process may use
        return os.cpu_count() or 1


class _Progress:
    """Counts bytes for all threads, and passes events on.

    Attributes:
        stopped: Whether the threads should stop.
    """

    def __init__(self, total: int, listener: Listener) -> None:
        self._lock = threading.Lock()
        self._total = total
        self._done = 0
        self._listener = listener
        self.stopped = False

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._listener(Hashed(self._done, self._total))

    def tell(self, event: Damaged | Verified) -> None:
        with self._lock:
            self._listener(event)


def _check(snapshot: Snapshot, file: File, progress: _Progress) -> Fault | None:
    path = os.path.join(snapshot.path or "", *file.path.split("/"))
    digest = Digest(file)
    try:
        with open(path, "rb", buffering=0) as reader:
            size = os.fstat(reader.fileno()).st_size
            if size != file.size:
                return Fault(snapshot, file, f"it has {size:,} bytes instead of {file.size:,}")
            for start in range(0, size, _STEP_BYTES):
                if progress.stopped:
                    return None
                length = min(_STEP_BYTES, size - start)
                hash_range(reader.fileno(), digest, start + length, start)
                progress.add(length)
    except FileNotFoundError:
        return Fault(snapshot, file, "it is missing")
    except IntegrityError as error:
        return Fault(snapshot, file, str(error))
    except OSError as error:
        return Fault(snapshot, file, f"it cannot be read: {error.strerror}")
    problem = digest.mismatch()
    return Fault(snapshot, file, problem) if problem else None
