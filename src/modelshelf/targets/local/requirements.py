"""What serving on this machine requires besides modelshelf itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from modelshelf.shelf.errors import UsageError
from modelshelf.targets.local.router import ROUTER_PACKAGE


def can_import(package: str) -> bool:
    """Whether modelshelf's own Python has a package."""
    return importlib.util.find_spec(package) is not None


def check_requirements(
    packages: Sequence[str],
    replicas: int,
    platform: str,
    is_installed: Callable[[str], bool] = can_import,
) -> None:
    """Refuse what cannot be served here, before anything is started.

    Args:
        packages: The packages that the engine needs in modelshelf's own Python.
        replicas: The number of replicas.
        platform: `sys.platform`.
        is_installed: Whether a package is installed.

    Raises:
        UsageError: There are fewer than one replica, or several on a system without the router, or
            a package is not installed.
    """
    if replicas < 1:
        raise UsageError(f"{replicas} replicas cannot serve", hint="give --replicas 1 or more")
    if replicas > 1 and platform != "linux":
        raise UsageError(
            f"several replicas need vllm-router, which exists for Linux only, not for {platform}",
            hint="serve one replica here, or several on Linux or Kubernetes",
        )
    required = [*packages] if replicas == 1 else [*packages, ROUTER_PACKAGE]
    missing = [package for package in required if not is_installed(package)]
    if missing:
        raise UsageError(
            f"serving on this machine needs {' and '.join(missing)}, which is not installed",
            hint="pip install 'modelshelf[local]'",
        )
