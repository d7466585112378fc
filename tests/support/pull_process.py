"""A pull in a process of its own, for tests that kill, limit or demote it.

A job is one JSON object; `pull_runs.PullJob` describes it. Events go to stdout as JSON lines. The
last one, `ended`, has `exit_code`, `message` and `rss`: the most memory that was resident, in
bytes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "src"))

# A process that gives up being root may no longer read its own library: all is imported here.
import encodings.idna
import traceback

from modelshelf.shelf.errors import Error
from modelshelf.shelf.leases import LeaseTiming
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import Snapshot
from modelshelf.transfer import partial_file
from modelshelf.transfer.fetch import FetchSettings
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.pull import PullSpec, pull
from modelshelf.transfer.ramp import ConnectionLimits
from modelshelf.transfer.retries import Backoff

PRELOADED = (encodings.idna, traceback)


def write_line(line: dict[str, Any]) -> None:
    """Write one JSON line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def apply_limits(job: dict[str, Any]) -> None:
    """Apply the job's limits and user to this process."""
    if job["sync_every"]:
        partial_file.SYNC_INTERVAL_BYTES = job["sync_every"]
    if job["open_files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (job["open_files"], job["open_files"]))
    if job["umask"] is not None:
        os.umask(job["umask"])
    if job["user"]:
        os.setgroups([])
        os.setgid(job["group"] or job["user"])
        os.setuid(job["user"])


def run_job(job: dict[str, Any]) -> None:
    """Pull as the job says."""
    settings = dict(job["settings"])
    settings["limits"] = ConnectionLimits(**settings["limits"])
    settings["backoff"] = Backoff(**settings["backoff"])
    spec = PullSpec(Snapshot.from_json(job["snapshot"]), HubSource(job["base"], job["token"]))
    pull(
        Shelf.create(job["shelf"]),
        spec,
        listener=lambda event: write_line(event.to_json()),
        settings=FetchSettings(**settings),
        lease_timing=LeaseTiming(**job["lease_timing"]),
    )


def main(path: str) -> int:
    """Carry out a job; the exit code is the error's."""
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    apply_limits(job)
    end: dict[str, Any] = {"event": "ended", "exit_code": 0, "message": ""}
    try:
        run_job(job)
    except Error as error:
        end |= {"exit_code": error.exit_code, "message": f"{error} ({error.hint})"}
    end["rss"] = peak_memory_bytes()
    write_line(end)
    return int(end["exit_code"])


def peak_memory_bytes() -> int:
    """The most memory that this process had, in bytes.

    Not `ru_maxrss`: a child begins with its parent's.
    """
    with open("/proc/self/status", "rb") as status:
        [line] = [line for line in status if line.startswith(b"VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
