"""A small run of `make bench`, which shows that it works."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_bench_writes_its_page_and_cleans_up(tmp_path: pathlib.Path) -> None:
    """A small run measures everything, writes the page, and leaves no file in memory."""
    page = tmp_path / "benchmarks.md"
    argv = ["--rounds", "1", "--size", "0.02", "--output", str(page)]
    with subprocess.Popen(
        [sys.executable, "-m", "bench", *argv],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
    ) as bench:
        _, stderr = bench.communicate(timeout=110)
    assert bench.returncode == 0, stderr
    rows = re.findall(r"^\| (.+?) \| `?(.+?)`? \| \d+\.\d\d \(", page.read_text(), re.MULTILINE)
    assert len({served for served, _ in rows}) == 4
    assert {who for _, who in rows} == {
        "modelshelf pull",
        "snapshot_download",
        "four curls",
        "four curls, openssl",
    }
    assert len(rows) == 16
    assert not list(pathlib.Path("/dev/shm").glob(f"modelshelf-bench-{bench.pid}-*"))
