"""Which files are prefetched, in which order, and how much of a host's memory they may take."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelshelf.start import memory
from modelshelf.start.prefetch import ModelFile, PrefetchPlan, plan_prefetch, prefetch

GIB = 1 << 30


def _files(**sizes: int) -> list[ModelFile]:
    return [ModelFile(f"/m/{name.replace('__', '.')}", size) for name, size in sizes.items()]


def test_files_are_read_in_the_engine_s_order() -> None:
    """Small files come first, then weights by the number of their shard, then all others."""
    files = _files(
        m10__safetensors=GIB, m2__safetensors=GIB, other__pdf=GIB, config__json=1, vocab__txt=2
    )
    assert plan_prefetch(files, None) == PrefetchPlan(
        tuple(
            _files(
                config__json=1,
                vocab__txt=2,
                m2__safetensors=GIB,
                m10__safetensors=GIB,
                other__pdf=GIB,
            )
        ),
        "",
    )


def test_a_file_that_does_not_fit_is_left_out_with_a_reason() -> None:
    """A file is read whole or not at all, and smaller files after it are still read."""
    files = _files(config__json=10, m1__gguf=100, m2__gguf=50)
    assert plan_prefetch(files, 159) == PrefetchPlan(
        tuple(_files(config__json=10, m1__gguf=100)), "50 bytes do not fit into 159 of memory"
    )
    assert plan_prefetch(files, 60).files == tuple(_files(config__json=10, m2__gguf=50))
    assert plan_prefetch(files, 160).reason == ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_room_is_what_a_container_s_limit_leaves(tmp_path: Path) -> None:
    """Page cache that the kernel can drop counts as free, and a tenth is kept as a reserve."""
    _write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.page_cache_room(str(tmp_path)) == int(8000 * 1024 * 0.9)

    _write(tmp_path / "proc/self/cgroup", "0::/kubepods/pod1/c1\n")
    _write(tmp_path / "sys/fs/cgroup/memory.max", "5000000\n")
    _write(tmp_path / "sys/fs/cgroup/memory.current", "4500000\n")
    _write(
        tmp_path / "sys/fs/cgroup/memory.stat",
        "anon 100\nfile 999999\nshmem 699999\ninactive_file 200000\nactive_file 100000\n",
    )
    assert memory.page_cache_room(str(tmp_path)) == int(800_000 * 0.9)


def test_the_narrowest_of_nested_limits_counts(tmp_path: Path) -> None:
    """The limit of a group above ours counts as well, and `max` is no limit."""
    _write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    for folder, limit, used in (("a/b", "max", 1), ("a", "1000", 400), (".", "9000", 600)):
        _write(tmp_path / "sys/fs/cgroup" / folder / "memory.max", limit)
        _write(tmp_path / "sys/fs/cgroup" / folder / "memory.current", str(used))
    assert memory.page_cache_room(str(tmp_path)) == int(600 * 0.9)


def test_version_1_of_cgroups_has_other_names(tmp_path: Path) -> None:
    """The memory controller has a folder of its own, and its totals include the groups below."""
    _write(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n")
    base = tmp_path / "sys/fs/cgroup/memory/x"
    _write(base / "memory.limit_in_bytes", "1000")
    _write(base / "memory.usage_in_bytes", "900")
    _write(base / "memory.stat", "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 0\n")
    assert memory.page_cache_room(str(tmp_path)) == int(400 * 0.9)


def test_a_system_without_these_files_has_no_limit(tmp_path: Path) -> None:
    """Systems other than Linux do not say how much memory is free."""
    assert memory.page_cache_room(str(tmp_path)) is None


def test_nothing_is_read_into_a_full_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read, and the reason names the bytes."""
    _write(tmp_path / "model/m.gguf", "x" * 1000)
    monkeypatch.setattr("modelshelf.start.prefetch.page_cache_room", lambda: 999)
    done = prefetch([str(tmp_path / "model")], None, threading.Event())
    assert (done.bytes, done.reason) == (0, "1,000 bytes do not fit into 999 of memory")


def test_every_byte_is_read_once(tmp_path: Path) -> None:
    """All files of a folder are read, and all ranges of a file."""
    sizes = {"a.gguf": (5 << 20) + 3, "sub/b.json": 7, "empty": 0}
    for name, size in sizes.items():
        _write(tmp_path / "model" / name, "x" * size)
    _write(tmp_path / "c.bin", "xy")
    paths = [str(tmp_path / "model"), str(tmp_path / "c.bin")]
    done = prefetch(paths, None, threading.Event())
    assert (done.bytes, done.reason) == (sum(sizes.values()) + 2, "")


def test_prefetch_never_fails(tmp_path: Path) -> None:
    """A file that cannot be read, or a stop, is the reason why not all was read."""
    gone = prefetch([str(tmp_path / "gone")], None, threading.Event())
    assert gone.bytes == 0
    assert "No such file" in gone.reason

    stop = threading.Event()
    stop.set()
    _write(tmp_path / "a.bin", "x")
    assert prefetch([str(tmp_path)], None, stop).reason == "stopped before the end"
