"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub
from hypothesis import settings

from modelshelf.shelf.shelf import Shelf

# A database of examples would be written into the tree, which may be read-only.
settings.register_profile("modelshelf", database=None, deadline=None)
settings.load_profile("modelshelf")

# A shell starts a background job with SIGINT ignored, and children inherit that. Tests that send
# Ctrl-C to a child would then wait in vain.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty shelf."""
    return Shelf.create(tmp_path / "shelf")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub that serves files itself."""
    with Hub() as hub:
        yield hub


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that gives new files to their owner alone, for as long as the test lasts."""
    old = os.umask(0o077)
    yield
    os.umask(old)
