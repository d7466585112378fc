"""Two virtual machines as nodes, with an NFS share between them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import machines
from lab import namespace as lab_namespace
from lab.images import PYTHON
from lab.machines import TwoNodes

_SWIFT = 40e6  # bytes that a node hashes in a second
_HASH = """\
import hashlib, time
block, began = bytes(16 << 20), time.perf_counter()
hashlib.sha256(block).digest()
print(len(block) / (time.perf_counter() - began))
"""
_PATIENT = ("--timeout=150s",)


def why_not() -> str | None:
    """One line saying why there are no such nodes here, or None."""
    if reason := lab_namespace.why_not():
        return reason
    if not lab_namespace.inside():
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


@pytest.fixture(scope="session")
def swift_nodes(nodes: TwoNodes) -> TwoNodes:
    """The nodes, where they are emulated so fast that an engine on them answers within a minute.

    An answer is a hundred times the work of anything else on them. On one and the same kind of
    machine they were seen to hash 75 MB/s, when it took 13 s, and 16 MB/s, when it took minutes.
    """
    name = f"speed-{secrets.token_hex(3)}"
    nodes.kubectl("run", name, f"--image={PYTHON}", "--restart=Never", "--", "python3", "-c", _HASH)
    nodes.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", *_PATIENT)
    rate = float(nodes.kubectl("logs", name))
    nodes.kubectl("delete", "pod", name, *_PATIENT)
    if rate < _SWIFT:
        pytest.skip(f"the emulated nodes hash {rate / 1e6:.0f} MB/s, too few for an engine on them")
    return nodes


@pytest.fixture
def namespace(nodes: TwoNodes) -> Iterator[str]:
    """A namespace of the test's own, which enforces nothing; gone afterwards with its pods."""
    name = f"test-{secrets.token_hex(3)}"
    nodes.kubectl("create", "namespace", name)
    nodes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
    yield name
    # Pods first: a namespace looks for what is left in it every few seconds only.
    nodes.kubectl("delete", "pods", "--all", "-n", name, "--timeout=120s")
    nodes.kubectl("delete", "namespace", name, "--timeout=120s")
