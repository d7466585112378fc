"""Running programs as child processes, and measuring time and memory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence


class FailedError(Exception):
    """A measured program failed, so its time means nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Took:
    """Time and memory of one run.

    Attributes:
        seconds: From the start of the first child to the end of the last.
        cpu: Seconds of processor time of all children, user and system time together.
        memory: Bytes of the largest resident set of a child.
    """

    seconds: float
    cpu: float
    memory: int


def python(*words: str) -> list[str]:
    """The argv that runs this Python with these arguments."""
    return [sys.executable, *words]


def clean_environment(home: str, **extra: str) -> dict[str, str]:
    """An environment without the user's tokens, proxies and settings."""
    env = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"}
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return env | extra


def measure(argvs: Sequence[Sequence[str]], env: dict[str, str]) -> Took:
    """Run programs at the same time, until all have ended.

    Raises:
        FailedError: A program did not exit with 0; the message has the end of its stderr.
    """
    start = time.monotonic()
    children = [
        subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for argv in argvs
    ]
    try:
        used = [_await(child) for child in children]
        seconds = time.monotonic() - start
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                child.wait()
            if child.stderr:
                child.stderr.close()
    return Took(seconds, sum(cpu for cpu, _ in used), max(memory for _, memory in used))


def _await(child: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait for a child's end, and return its processor time and peak memory."""
    stderr = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        program = " ".join(map(str, child.args if isinstance(child.args, list) else []))
        last = stderr.decode(errors="replace")[-2000:]
        raise FailedError(f"{program} ended with {child.returncode}:\n{last}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
