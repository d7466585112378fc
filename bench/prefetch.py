"""Ways of reading a checkpoint from a share into the page cache, compared.

The ways are the prefetch of `start`, `cat`, and vLLM's own prefetch. For each reading the share is
mounted anew, so that none of the checkpoint is in the page cache.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import share
from bench.timing import FailedError, clean_environment, python

OURS = "`start`'s prefetch"
CAT = "`cat`, one file after another"
VLLM = "vLLM's prefetch"
RATE = 125e6  # bytes per second: a network link of 1 Gbit/s
FAR, NEAR = 0.02, 0.005  # seconds that a request takes
_BLOCK_BYTES = 2**24

_OUR_PREFETCH = """\
import json, sys, threading, time
from modelshelf.start.prefetch import prefetch
start = time.monotonic()
prefetched = prefetch(sys.argv[1:], None, threading.Event())
print(json.dumps({"seconds": time.monotonic() - start, "reason": prefetched.reason}))
"""
# vLLM starts threads and goes on, so the time until they have ended is measured.
_VLLM_PREFETCH = """\
import json, sys, threading, time
from vllm.model_executor.model_loader import weight_utils
before = set(threading.enumerate())
start = time.monotonic()
weight_utils._prefetch_all_checkpoints(sys.argv[1:])
while others := set(threading.enumerate()) - before:
    for thread in others:
        if thread.is_alive():  # a thread that is only about to be started cannot be joined
            thread.join()
print(json.dumps({"seconds": time.monotonic() - start}))
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One checkpoint, read once in one way.

    Attributes:
        delay: Seconds that each request took.
        files: How many files the checkpoint consisted of.
        contender: The way of reading: `OURS`, `CAT` or `VLLM`.
        bytes: Size of the checkpoint.
        seconds: How long the reading took.
    """

    delay: float
    files: int
    contender: str
    bytes: int
    seconds: float

    @property
    def speed(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds


Reader = Callable[[Sequence[str]], float]


def compare(
    folder: Path, size: int, engine_python: str, report: Callable[[str], None]
) -> list[Reading]:
    """Measure every way of reading, for every number of files and every delay.

    Args:
        folder: An empty folder, in memory.
        size: Bytes of the checkpoint.
        engine_python: The Python of an environment with vLLM.
        report: Called with a line about each measurement.
    """
    readers = _readers(engine_python, folder)
    readings = []
    for files in (1, 4):
        source = folder / str(files)
        _write_checkpoint(source, size, files)
        for delay in (FAR, NEAR):
            for contender, read in readers.items():
                seconds = _measure(source, delay, read)
                readings.append(Reading(delay, files, contender, size, seconds))
                rate = f"{size / seconds / 1e6:.1f} MB/s"
                report(f"prefetch: {files} files, {delay * 1000:.0f} ms, {contender}: {rate}")
        for path in source.iterdir():
            path.unlink()
    return readings


def _measure(source: Path, delay: float, read: Reader) -> float:
    with share.mounted(source, RATE, delay) as (mount, served):
        seconds = read([str(path) for path in sorted(mount.iterdir())])
    size = sum(path.stat().st_size for path in source.iterdir())
    if served["bytes"] < size:
        raise FailedError(f"{served['bytes']} of {size} bytes were read from the share")
    return seconds


def _readers(engine_python: str, home: Path) -> dict[str, Reader]:
    env = clean_environment(str(home))
    vllm_env = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": ""}

    def by_program(argv: Sequence[str], env: dict[str, str]) -> Reader:
        def read(paths: Sequence[str]) -> float:
            output = _run([*argv, *paths], env)
            result = json.loads(output.splitlines()[-1])
            if reason := result.get("reason"):
                raise FailedError(f"the checkpoint was not prefetched whole: {reason}")
            return float(result["seconds"])

        return read

    def cat(paths: Sequence[str]) -> float:
        start = time.monotonic()
        with open(os.devnull, "wb") as devnull:
            subprocess.run(["cat", *paths], stdout=devnull, check=True)
        return time.monotonic() - start

    return {
        OURS: by_program(python("-c", _OUR_PREFETCH), env),
        CAT: cat,
        VLLM: by_program([engine_python, "-c", _VLLM_PREFETCH], env | vllm_env),
    }


def _run(argv: Sequence[str], env: dict[str, str]) -> str:
    process = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if process.returncode:
        raise FailedError(f"{argv[0]} ended with {process.returncode}:\n{process.stderr[-2000:]}")
    return process.stdout


def _write_checkpoint(folder: Path, size: int, files: int) -> None:
    """Write files of random bytes; their content does not matter to a reader."""
    folder.mkdir()
    for n in range(files):
        with (folder / f"model-{n + 1:05}-of-{files:05}.safetensors").open("wb") as file:
            remaining = size // files
            while remaining:
                remaining -= file.write(os.urandom(min(_BLOCK_BYTES, remaining)))
