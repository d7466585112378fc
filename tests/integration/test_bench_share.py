"""The emulated share of the benchmark, mounted by the kernel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench import share

pytestmark = pytest.mark.skipif(bool(share.why_not()), reason=share.why_not() or "it can")
SIZE = 3_000_000


def test_a_share_is_read_at_its_rate_once(tmp_path: Path) -> None:
    """A file is read at most at the line's rate, and then again from the page cache."""
    content = bytes(range(256)) * (SIZE // 256)
    (tmp_path / "weights").write_bytes(content)
    with share.mounted(tmp_path, rate=10e6, delay=0.001) as (place, said):
        began = time.monotonic()
        assert (place / "weights").read_bytes() == content
        assert time.monotonic() - began >= len(content) / 10e6
        assert (place / "weights").read_bytes() == content
        assert [path.name for path in place.iterdir()] == ["weights"]
    assert len(content) <= said["bytes"] < 2 * len(content)
    assert not place.exists()
