"""Which GPUs each of several replicas has: an engine takes all of a GPU's memory, unless told."""

from __future__ import annotations

import os
from collections.abc import Mapping

from modelshelf.shelf.errors import UsageError

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = "/proc/driver/nvidia/gpus"  # holds a folder for each GPU


def visible(environment: Mapping[str, str], driver: str = _DRIVER) -> list[str]:
    """The GPUs of NVIDIA that may be used, by number or name; none where there is no driver."""
    if VARIABLE in environment:
        return [name for name in environment[VARIABLE].split(",") if name]
    try:
        return [str(number) for number in range(len(os.listdir(driver)))]
    except OSError:
        return []


def share(gpus: list[str], number: int, replicas: int) -> dict[str, str]:
    """The variable that gives a replica its part of the GPUs; nothing to say for a single one.

    Raises:
        UsageError: There are fewer GPUs than replicas.
    """
    if replicas == 1 or not gpus:
        return {}
    each = len(gpus) // replicas
    if each == 0:
        raise UsageError(
            f"{replicas} replicas need a GPU each, and there are {len(gpus)}",
            hint=f"serve {len(gpus)} here, or more on Kubernetes",
        )
    return {VARIABLE: ",".join(gpus[number * each : (number + 1) * each])}
