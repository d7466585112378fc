"""Bringing a checkpoint from a share into the page cache: ours, `cat`, and vLLM's own prefetch.

Each takes its turn on a share that is mounted anew, so nothing of it is in the page cache.
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

OURS, CAT, PREFETCH = "`warm`", "`cat`, one file after another", "vLLM's prefetch"
RATE = 125e6  # bytes per second: a link of 1 Gbit/s
FAR, NEAR = 0.02, 0.005  # seconds a request takes
_SLICE = 2**24

_WARM = """\
import json, sys, threading, time
from modelshelf.start.prefetch import prefetch
began = time.monotonic()
warmed = prefetch(sys.argv[1:], None, threading.Event())
print(json.dumps({"seconds": time.monotonic() - began, "reason": warmed.reason}))
"""
# vLLM starts a thread and goes on; what is measured is that thread's time.
_PREFETCH = """\
import json, sys, threading, time
from vllm.model_executor.model_loader import weight_utils
before = set(threading.enumerate())
began = time.monotonic()
weight_utils._prefetch_all_checkpoints(sys.argv[1:])
while others := set(threading.enumerate()) - before:
    for thread in others:
        if thread.is_alive():  # and not about to be started by another one
            thread.join()
print(json.dumps({"seconds": time.monotonic() - began}))
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Warming:
    """One checkpoint read by one contender.

    Attributes:
        delay: Seconds that each request took.
        files: In how many files the checkpoint was.
        contender: `OURS`, `CAT` or `PREFETCH`.
        bytes: Of the checkpoint.
        seconds: How long it took.
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
    folder: Path, size: int, engine_python: str, tell: Callable[[str], None]
) -> list[Warming]:
    """Every contender on every layout and delay.

    Args:
        folder: An empty one, in memory.
        size: Bytes of the checkpoint.
        engine_python: The Python of an environment with vLLM.
        tell: Takes a line about what was measured.
    """
    readers = _readers(engine_python, folder)
    found = []
    for files in (1, 4):
        source = folder / str(files)
        _checkpoint(source, size, files)
        for delay in (FAR, NEAR):
            for contender, read in readers.items():
                seconds = _once(source, delay, read)
                found.append(Warming(delay, files, contender, size, seconds))
                rate = f"{size / seconds / 1e6:.1f} MB/s"
                tell(f"warming: {files} files, {delay * 1000:.0f} ms, {contender}: {rate}")
        for path in source.iterdir():
            path.unlink()
    return found


def _once(source: Path, delay: float, read: Reader) -> float:
    with share.mounted(source, RATE, delay) as (place, served):
        seconds = read([str(path) for path in sorted(place.iterdir())])
    whole = sum(path.stat().st_size for path in source.iterdir())
    if served["bytes"] < whole:
        raise FailedError(f"{served['bytes']} of {whole} bytes were read from the share")
    return seconds


def _readers(engine_python: str, home: Path) -> dict[str, Reader]:
    env = clean_environment(str(home))
    theirs = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": ""}

    def inside(argv: Sequence[str], env: dict[str, str]) -> Reader:
        def read(paths: Sequence[str]) -> float:
            said = _run([*argv, *paths], env)
            result = json.loads(said.splitlines()[-1])
            if reason := result.get("reason"):
                raise FailedError(f"not all was warmed: {reason}")
            return float(result["seconds"])

        return read

    def cat(paths: Sequence[str]) -> float:
        began = time.monotonic()
        with open(os.devnull, "wb") as nothing:
            subprocess.run(["cat", *paths], stdout=nothing, check=True)
        return time.monotonic() - began

    return {
        OURS: inside(python("-c", _WARM), env),
        CAT: cat,
        PREFETCH: inside([engine_python, "-c", _PREFETCH], env | theirs),
    }


def _run(argv: Sequence[str], env: dict[str, str]) -> str:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"{argv[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _checkpoint(folder: Path, size: int, files: int) -> None:
    """Random bytes; nobody looks at them."""
    folder.mkdir()
    for n in range(files):
        with (folder / f"model-{n + 1:05}-of-{files:05}.safetensors").open("wb") as file:
            left = size // files
            while left:
                left -= file.write(os.urandom(min(_SLICE, left)))
