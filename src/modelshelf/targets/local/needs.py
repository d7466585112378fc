"""What serving here needs besides modelshelf itself. Pure, but for a look at what is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from modelshelf.shelf.errors import UsageError
from modelshelf.targets.local.router import NEEDS as ROUTER_NEEDS


def installed(package: str) -> bool:
    """Whether a Python package can be imported here."""
    return importlib.util.find_spec(package) is not None


def require(
    packages: Sequence[str],
    replicas: int,
    platform: str,
    is_installed: Callable[[str], bool] = installed,
) -> None:
    """Refuse what cannot be served here before anything is started.

    Args:
        packages: What the engine needs in our own Python.
        replicas: How many replicas are wanted.
        platform: `sys.platform`.
        is_installed: Whether a package is there.

    Raises:
        UsageError: The number of replicas makes no sense, or not on this system, or a package is
            missing.
    """
    if replicas < 1:
        raise UsageError(f"{replicas} replicas cannot serve", hint="give --replicas 1 or more")
    if replicas > 1 and platform != "linux":
        raise UsageError(
            f"several replicas need vllm-router, which exists for Linux only, not for {platform}",
            hint="serve one replica here, or several on Linux or Kubernetes",
        )
    needed = [*packages] if replicas == 1 else [*packages, ROUTER_NEEDS]
    missing = [package for package in needed if not is_installed(package)]
    if missing:
        raise UsageError(
            f"serving on this machine needs {' and '.join(missing)}, which is not installed",
            hint="pip install 'modelshelf[local]'",
        )
