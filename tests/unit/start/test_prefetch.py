"""Which files are read ahead, in which order, and how much of a host's memory may go to that."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelshelf.start import memory
from modelshelf.start.prefetch import Plan, Readable, plan, prefetch

GIB = 1 << 30


def _files(**sizes: int) -> list[Readable]:
    return [Readable(f"/m/{name.replace('__', '.')}", size) for name, size in sizes.items()]


def test_files_are_read_in_the_engine_s_order() -> None:
    """Small files come first, then shards by number, then what no engine maps."""
    files = _files(
        m10__safetensors=GIB, m2__safetensors=GIB, other__pdf=GIB, config__json=1, vocab__txt=2
    )
    assert plan(files, None) == Plan(
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


def test_what_does_not_fit_is_left_out_and_told() -> None:
    """A file is read whole or not at all, since pages read in vain push others out."""
    files = _files(config__json=10, m1__gguf=100, m2__gguf=50)
    assert plan(files, 159) == Plan(
        tuple(_files(config__json=10, m1__gguf=100)), "50 bytes do not fit into 159 of memory"
    )
    assert plan(files, 60).files == tuple(_files(config__json=10, m2__gguf=50))
    assert plan(files, 160).reason == ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_container_s_limit_leaves_what_is_not_in_use(tmp_path: Path) -> None:
    """Page cache that can go counts as free, and a tenth of what is left stays untouched."""
    _write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.room(str(tmp_path)) == int(8000 * 1024 * 0.9)

    _write(tmp_path / "proc/self/cgroup", "0::/kubepods/pod1/c1\n")
    _write(tmp_path / "sys/fs/cgroup/memory.max", "5000000\n")
    _write(tmp_path / "sys/fs/cgroup/memory.current", "4500000\n")
    _write(
        tmp_path / "sys/fs/cgroup/memory.stat",
        "anon 100\nfile 999999\nshmem 699999\ninactive_file 200000\nactive_file 100000\n",
    )
    assert memory.room(str(tmp_path)) == int(800_000 * 0.9)


def test_the_narrowest_of_nested_limits_counts(tmp_path: Path) -> None:
    """A limit of a group above ours binds us as well; `max` is none."""
    _write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    for folder, limit, used in (("a/b", "max", 1), ("a", "1000", 400), (".", "9000", 600)):
        _write(tmp_path / "sys/fs/cgroup" / folder / "memory.max", limit)
        _write(tmp_path / "sys/fs/cgroup" / folder / "memory.current", str(used))
    assert memory.room(str(tmp_path)) == int(600 * 0.9)


def test_version_1_of_cgroups_has_other_names(tmp_path: Path) -> None:
    """Its controllers have folders of their own, and its numbers include the groups below."""
    _write(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n")
    base = tmp_path / "sys/fs/cgroup/memory/x"
    _write(base / "memory.limit_in_bytes", "1000")
    _write(base / "memory.usage_in_bytes", "900")
    _write(base / "memory.stat", "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 0\n")
    assert memory.room(str(tmp_path)) == int(400 * 0.9)


def test_a_system_that_says_nothing_bounds_nothing(tmp_path: Path) -> None:
    """Other systems than Linux have neither of these files."""
    assert memory.room(str(tmp_path)) is None


def test_a_container_that_is_full_gets_nothing_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names the bytes, and the start goes on."""
    _write(tmp_path / "model/m.gguf", "x" * 1000)
    monkeypatch.setattr("modelshelf.start.prefetch.room", lambda: 999)
    done = prefetch([str(tmp_path / "model")], None, threading.Event())
    assert (done.bytes, done.reason) == (0, "1,000 bytes do not fit into 999 of memory")


def test_every_byte_is_read_once(tmp_path: Path) -> None:
    """Folders are read whole, and files of more than one range in all of them."""
    sizes = {"a.gguf": (5 << 20) + 3, "sub/b.json": 7, "empty": 0}
    for name, size in sizes.items():
        _write(tmp_path / "model" / name, "x" * size)
    _write(tmp_path / "c.bin", "xy")
    paths = [str(tmp_path / "model"), str(tmp_path / "c.bin")]
    done = prefetch(paths, None, threading.Event())
    assert (done.bytes, done.reason) == (sum(sizes.values()) + 2, "")


def test_warming_never_fails(tmp_path: Path) -> None:
    """What cannot be read is the reason, and so is a stop."""
    gone = prefetch([str(tmp_path / "gone")], None, threading.Event())
    assert gone.bytes == 0
    assert "No such file" in gone.reason

    stop = threading.Event()
    stop.set()
    _write(tmp_path / "a.bin", "x")
    assert prefetch([str(tmp_path)], None, stop).reason == "stopped before the end"
