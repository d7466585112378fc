"""Two virtual machines as nodes, with an NFS share for both."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import disk, machines
from lab.machines import TwoNodes
from lab.parts import inside


def why_not() -> str | None:
    """Say in one line why there are no such nodes here, or return None."""
    if reason := disk.why_not():
        return reason
    if not inside():
        return "two nodes live in a namespace: python -m lab run pytest tests/nfs"
    return None


@pytest.fixture(scope="session")
def nodes() -> Iterator[TwoNodes]:
    """Two Ready nodes and their share, for all tests of a run."""
    if reason := why_not():
        pytest.skip(reason)
    # Not in pytest's folders: those are kept for three runs, and the disks' copies are large.
    with (
        tempfile.TemporaryDirectory(prefix="modelshelf-nodes-") as folder,
        machines.two_nodes(Path(folder)) as nodes,
    ):
        yield nodes


@pytest.fixture
def namespace(nodes: TwoNodes) -> Iterator[str]:
    """A namespace of the test's own without Pod Security, deleted afterwards with its pods."""
    name = f"test-{secrets.token_hex(3)}"
    nodes.kubectl("create", "namespace", name)
    nodes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
    yield name
    # Pods first: a namespace looks for what is left in it every few seconds only.
    nodes.kubectl("delete", "pods", "--all", "-n", name, "--timeout=120s")
    nodes.kubectl("delete", "namespace", name, "--timeout=120s")
