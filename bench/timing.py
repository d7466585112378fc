"""Running programs as children, and what they took."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence


class FailedError(Exception):
    """A program that was measured failed, so its time means nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Took:
    """What one run took.

    Attributes:
        seconds: From the start of the first child to the end of the last.
        cpu: Seconds of processor time of all children, user and system.
        memory: Bytes: the largest resident set of a child.
    """

    seconds: float
    cpu: float
    memory: int


def python(*words: str) -> list[str]:
    """The argv that runs this very Python."""
    return [sys.executable, *words]


def clean_environment(home: str, **extra: str) -> dict[str, str]:
    """What a child gets to see: no token, no proxy, no settings of whoever runs the benchmark."""
    env = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"}
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return env | extra


def measure(argvs: Sequence[Sequence[str]], env: dict[str, str]) -> Took:
    """Run programs side by side to their end.

    Raises:
        FailedError: One ended with another status than 0; the message holds its last words.
    """
    began = time.monotonic()
    children = [
        subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for argv in argvs
    ]
    try:
        used = [_await(child) for child in children]
        seconds = time.monotonic() - began
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                child.wait()
            if child.stderr:
                child.stderr.close()
    return Took(seconds, sum(cpu for cpu, _ in used), max(memory for _, memory in used))


def _await(child: subprocess.Popen[bytes]) -> tuple[float, int]:
    """The processor time and peak memory of a child that has ended."""
    said = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        program = " ".join(map(str, child.args if isinstance(child.args, list) else []))
        last = said.decode(errors="replace")[-2000:]
        raise FailedError(f"{program} ended with {child.returncode}:\n{last}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
