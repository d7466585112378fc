"""The GPUs of each replica. An engine takes all memory of each GPU that it sees."""

from __future__ import annotations

import os
from collections.abc import Mapping

from modelshelf.shelf.errors import UsageError

VISIBLE_GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER_FOLDER = "/proc/driver/nvidia/gpus"  # holds a folder for each GPU


def visible_gpus(environment: Mapping[str, str], driver_folder: str = _DRIVER_FOLDER) -> list[str]:
    """The numbers or names of the NVIDIA GPUs that may be used; empty without NVIDIA's driver."""
    if VISIBLE_GPUS_VARIABLE in environment:
        return [name for name in environment[VISIBLE_GPUS_VARIABLE].split(",") if name]
    try:
        return [str(number) for number in range(len(os.listdir(driver_folder)))]
    except OSError:
        return []


def gpu_variables(gpus: list[str], number: int, replicas: int) -> dict[str, str]:
    """The environment variable that gives a replica its share of the GPUs.

    Args:
        gpus: All GPUs that may be used.
        number: The replica's number, from 0.
        replicas: The number of replicas.

    Returns:
        Empty if there is no GPU, or only one replica, which may use all.

    Raises:
        UsageError: There are fewer GPUs than replicas.
    """
    if replicas == 1 or not gpus:
        return {}
    share = len(gpus) // replicas
    if share == 0:
        raise UsageError(
            f"{replicas} replicas need a GPU each, and there are {len(gpus)}",
            hint=f"serve {len(gpus)} here, or more on Kubernetes",
        )
    return {VISIBLE_GPUS_VARIABLE: ",".join(gpus[number * share : (number + 1) * share])}
