"""Reading snapshots again, whole, and comparing every byte with what was published."""

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

_STEP = 64 << 20  # bytes between two looks at whether to go on


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not what was published: `problem` says how."""

    snapshot: Snapshot
    file: File
    problem: str


def verify(
    snapshots: Sequence[Snapshot], *, listener: Listener = ignore, threads: int | None = None
) -> list[Fault]:
    """Hash every file of some snapshots again, the largest first, in parallel.

    Args:
        snapshots: Published ones, as a `Shelf` lists them.
        listener: Told what is read and what is damaged, by one thread at a time.
        threads: How many files at once; one for each core by default.

    Returns:
        What is damaged; empty if nothing is.
    """
    jobs = sorted(((s, f) for s in snapshots for f in s.files), key=lambda job: -job[1].size)
    tally = _Tally(sum(file.size for _, file in jobs), listener)
    faults: list[Fault] = []
    pool = concurrent.futures.ThreadPoolExecutor(threads or _cores())
    try:
        for fault in pool.map(lambda job: _check(job[0], job[1], tally), jobs):
            if fault is not None:
                faults.append(fault)
                where = fault.snapshot
                tally.tell(Damaged(where.repo_id, where.id, fault.file.path, fault.problem))
    except BaseException:
        tally.stopped = True
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    for snapshot in snapshots:
        damaged = sum(fault.snapshot is snapshot for fault in faults)
        files = len(snapshot.files)
        tally.tell(Verified(snapshot.repo_id, snapshot.id, files, snapshot.size, damaged))
    return faults


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells which of them are ours
        return os.cpu_count() or 1


class _Tally:
    """Counts for all threads."""

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


def _check(snapshot: Snapshot, file: File, tally: _Tally) -> Fault | None:
    path = os.path.join(snapshot.path or "", *file.path.split("/"))
    digest = Digest(file)
    try:
        with open(path, "rb", buffering=0) as reader:
            size = os.fstat(reader.fileno()).st_size
            if size != file.size:
                return Fault(snapshot, file, f"it has {size:,} bytes instead of {file.size:,}")
            for start in range(0, size, _STEP):
                if tally.stopped:
                    return None
                length = min(_STEP, size - start)
                hash_range(reader.fileno(), digest, start + length, start)
                tally.add(length)
    except FileNotFoundError:
        return Fault(snapshot, file, "it is missing")
    except IntegrityError as error:
        return Fault(snapshot, file, str(error))
    except OSError as error:
        return Fault(snapshot, file, f"it cannot be read: {error.strerror}")
    problem = digest.mismatch()
    return Fault(snapshot, file, problem) if problem else None
