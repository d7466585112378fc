"""The machine and programs that the figures were measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
import subprocess

from support import nginx


def describe() -> dict[str, str]:
    """Name and value of what affects the figures of pulls."""
    return common() | {"nginx": nginx.find().version(), "curl": _curl()}


def common() -> dict[str, str]:
    """Name and value of what affects all figures."""
    cores = len(os.sched_getaffinity(0))
    memory = int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    return {
        "processor": f"{cores} cores, {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "huggingface_hub": importlib.metadata.version("huggingface_hub"),
    }


def _first(path: str, key: str) -> str:
    """The value of the first line `key: value` of a file of the kernel."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "unknown"


def _curl() -> str:
    process = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    return process.stdout.split()[1]
