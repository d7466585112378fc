"""What serving on this machine requires."""

from __future__ import annotations

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.targets.local.requirements import check_requirements


def has_every_package(_package: str) -> bool:
    """Answer as a machine that has all packages."""
    return True


def has_no_package(_package: str) -> bool:
    """Answer as a machine that has no package."""
    return False


def test_one_replica_can_be_served_on_every_system() -> None:
    """A single replica needs neither Linux nor a router."""
    check_requirements(["xllamacpp"], 1, "darwin", lambda package: package == "xllamacpp")
    check_requirements(["xllamacpp"], 2, "linux", has_every_package)


def test_several_replicas_need_linux() -> None:
    """The error names the router and the system, and the hint the other ways."""
    with pytest.raises(
        UsageError, match="vllm-router, which exists for Linux only, not for darwin"
    ):
        check_requirements(["xllamacpp"], 2, "darwin", has_every_package)


def test_zero_replicas_are_refused() -> None:
    """Zero replicas are an error."""
    with pytest.raises(UsageError, match="0 replicas"):
        check_requirements(["xllamacpp"], 0, "linux", has_every_package)


def test_missing_packages_are_an_error() -> None:
    """The error names the packages, and the hint the command that installs them."""
    with pytest.raises(UsageError, match="needs xllamacpp and vllm_router") as caught:
        check_requirements(["xllamacpp"], 2, "linux", has_no_package)
    assert caught.value.hint == "pip install 'modelshelf[local]'"
