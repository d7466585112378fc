"""`start` with real processes: whatever happens, nothing of an engine is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.file_modes import where_modes_bind
from support.pod_packages import command_line

# An engine whose health path answers. On SIGTERM it waits a moment, writes a file and exits with 3.
# Its child gets no signal from it.
SERVER = """\
    import http.server, pathlib, signal, subprocess, sys, threading, time
    child = subprocess.Popen(["sleep", "600"])
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked.wait()
    time.sleep(float(sys.argv[3]))
    pathlib.Path(sys.argv[2]).write_text(f"child: {child.poll()}")
    sys.exit(3)
"""
ENGINE = "sleep 600 & sleep 600"
NEVER_READY = {"health": "http://127.0.0.1:9/"}  # nothing listens there
_CHILDREN = "trap '' TERM INT; sleep 600 & setsid sleep 600 & (setsid sh -c 'sleep 600 & wait' &)"
STUBBORN = f"{_CHILDREN}; sleep 600"
_DEADLINE_SECONDS = 60.0  # long, since the machine may be busy


class Start:
    """A `start` in a process of its own. A variable in their environment marks its processes."""

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        spec: dict[str, Any] | None = None,
        *,
        before: Sequence[str] = (),
        env: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.mark = f"MODELSHELF_TEST={uuid.uuid4()}"
        self._out = folder / f"{self.mark}.out"
        path = folder / f"{self.mark}.json"
        path.write_text(json.dumps(spec or {}))
        name, value = self.mark.split("=")
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*before, *command_line("start", path, *argv)],
                env={"PATH": os.environ["PATH"], name: value, **(env or {})},
                stdin=stdin,
                stdout=out,
            )

    def events(self) -> list[dict[str, Any]]:
        """What it has reported so far."""
        lines = self._out.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def names(self) -> list[str]:
        """The names of the events that it has reported so far."""
        return [event["event"] for event in self.events()]

    def output(self) -> str:
        """What the engine has written."""
        return "\n".join(s for s in self._out.read_text().split("\n") if not s.startswith("{"))

    def living(self) -> list[str]:
        """The command lines of all its processes that still run."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                process = Path("/proc", pid)
                if self.mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(f"{pid} {(process / 'cmdline').read_bytes()!r}")
        return found

    def wait(self) -> int:
        """Wait for its end, assert that nothing of it is left, and return its exit code."""
        code = self.process.wait(_DEADLINE_SECONDS)
        assert self.living() == []
        return code


def _until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The command line of a server, to which a port, a file and a time to drain are added."""
    path = tmp_path / "server.py"
    path.write_text(textwrap.dedent(SERVER))
    return [sys.executable, str(path)]


@pytest.fixture
def port() -> int:
    """A free port of loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("engine", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)],
)
def test_its_exit_code_is_the_engine_s(tmp_path: Path, engine: str, code: int) -> None:
    """A script sees no difference, and each event has the time at which it was written."""
    began = time.time()
    start = Start(tmp_path, ["sh", "-c", engine])
    assert start.wait() == code
    assert start.names() == ["engine-starting", "engine-ended"]
    assert start.events()[0]["argv"] == ["sh", "-c", engine]
    assert start.events()[1]["exit_code"] == code
    assert all(began - 1 < event["time"] < time.time() + 1 for event in start.events())


def test_an_engine_s_leftover_processes_end_with_it(tmp_path: Path) -> None:
    """Children that ignore SIGTERM, that left its session, and orphans of orphans are killed."""
    assert Start(tmp_path, ["sh", "-c", _CHILDREN]).wait() == 0


def test_orphans_leave_no_zombies(tmp_path: Path) -> None:
    """Orphans become our children and are reaped while the engine runs."""
    orphan = "(setsid sh -c 'sleep 0.01 &' &)"
    start = Start(tmp_path, ["sh", "-c", f"{orphan}; {orphan}; {orphan}; echo all; sleep 600"])
    _until(lambda: "all" in start.output())
    children = Path(f"/proc/{start.process.pid}/task/{start.process.pid}/children")
    _until(lambda: len(children.read_text().split()) == 1)
    start.process.terminate()
    assert start.wait() == 143


def test_a_signal_at_any_moment_ends_a_start(tmp_path: Path) -> None:
    """From the first moment on, when Python has hardly begun, SIGTERM ends it with 143 or -15."""

    def stopped_after(seconds: float) -> int:
        start = Start(tmp_path, ["sh", "-c", ENGINE], NEVER_READY)
        time.sleep(seconds)
        start.process.terminate()
        return start.wait()

    with ThreadPoolExecutor(4) as pool:
        codes = set(pool.map(stopped_after, [step / 40 for step in range(24)]))
    assert codes <= {-signal.SIGTERM, 128 + signal.SIGTERM}


def test_an_engine_that_loses_signals_is_killed(tmp_path: Path) -> None:
    """Like vLLM, it ignores SIGTERM while it starts, and its children have left its group."""
    start = Start(tmp_path, ["sh", "-c", f"echo up; {STUBBORN}"], NEVER_READY)
    _until(lambda: "up" in start.output())
    start.process.terminate()
    assert start.wait() == 143


def test_a_ready_engine_finishes_its_requests(
    tmp_path: Path, program: list[str], port: int
) -> None:
    """Only the engine itself gets the signal, its children live on, and its exit code counts."""
    done = tmp_path / "done"
    health = {"health": f"http://127.0.0.1:{port}/health"}
    start = Start(tmp_path, [*program, str(port), str(done), "0.2"], health)
    _until(lambda: "engine-ready" in start.names())
    start.process.terminate()
    assert start.wait() == 3
    assert done.read_text() == "child: None"
    assert start.names() == ["engine-starting", "engine-ready", "engine-ended"]


def test_a_second_signal_ends_it_at_once(tmp_path: Path, program: list[str], port: int) -> None:
    """The engine does not get the time that it would take to drain."""
    health = {"health": f"http://127.0.0.1:{port}/health"}
    start = Start(tmp_path, [*program, str(port), str(tmp_path / "done"), "600"], health)
    _until(lambda: "engine-ready" in start.names())
    start.process.terminate()
    time.sleep(0.2)
    start.process.send_signal(signal.SIGINT)
    assert start.wait() == 143


def test_an_engine_does_not_outlive_us(tmp_path: Path) -> None:
    """When we are killed, the kernel kills its whole group, whatever signals that ignores."""
    start = Start(tmp_path, ["sh", "-c", "trap '' TERM IO; echo up; sleep 600 & sleep 600"])
    _until(lambda: "up" in start.output())
    start.process.kill()
    start.process.wait()
    _until(lambda: not start.living())


def test_it_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    """The kernel sends SIGIO when the process that started us has died, and everything ends."""
    start = Start(tmp_path, ["sh", "-c", f"echo up; {ENGINE}"])
    _until(lambda: "up" in start.output())
    start.process.send_signal(signal.SIGIO)
    assert start.wait() == 128 + signal.SIGIO


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root makes PID namespaces"
)
def test_it_is_a_good_first_process(tmp_path: Path) -> None:
    """Process 1 of a PID namespace gets only signals that it handles; SIGTERM is one of them."""

    def stopped_after(seconds: float) -> int:
        before = ["unshare", "--pid", "--fork", "--mount-proc"]
        start = Start(tmp_path, ["sh", "-c", ENGINE], NEVER_READY, before=before)
        children = Path(f"/proc/{start.process.pid}/task/{start.process.pid}/children")
        _until(lambda: any(_handles_sigterm(child) for child in children.read_text().split()))
        time.sleep(seconds)
        os.kill(int(children.read_text()), signal.SIGTERM)
        return start.wait()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(stopped_after, (0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1))) == {143}


def _handles_sigterm(pid: str) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_failed_unpacking_stops_no_start(tmp_path: Path) -> None:
    """An event reports it, and the engine gets an empty folder for its caches."""
    into = tmp_path / "own" / "caches"
    cache = {"folder": str(tmp_path / "gone"), "snapshot": "o/n@1", "into": str(into)}
    start = Start(tmp_path, ["env"], {"compile_cache": cache})
    assert start.wait() == 0
    assert start.names() == ["cache-missing", "engine-starting", "engine-ended"]
    assert f"VLLM_CACHE_ROOT={into}/" in start.output()
    assert "\nPYTHON" not in start.output()


def test_the_model_is_prefetched(tmp_path: Path) -> None:
    """Nothing of the model is in the page cache before, and all of it is there afterwards."""
    model = tmp_path / "model" / "m.safetensors"
    model.parent.mkdir()
    model.write_bytes(os.urandom(6 << 20))
    with model.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if _cached(file.fileno()):
            pytest.skip("this filesystem does not give its pages back, or does not say so")
        start = Start(
            tmp_path, ["sh", "-c", "sleep 600"], {"prefetch": {"paths": [str(model.parent)]}}
        )
        _until(lambda: "prefetched" in start.names())
        assert _cached(file.fileno())
    start.process.terminate()
    assert start.wait() == 143
    prefetched = next(event for event in start.events() if event["event"] == "prefetched")
    assert (prefetched["bytes"], prefetched["reason"]) == (6 << 20, "")
    assert prefetched["seconds"] > 0


def _cached(fd: int) -> bool:
    """Whether all of a file can be read without waiting for the disk."""
    try:
        return all(os.preadv(fd, [bytearray(1)], n << 20, os.RWF_NOWAIT) == 1 for n in range(6))
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    ("argv", "words"),
    [([], "nothing cannot be run"), (["/nowhere/vllm"], "/nowhere/vllm cannot be run")],
)
def test_a_command_that_cannot_be_run_is_an_error(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    """The error names the command, and its hint says where the command belongs."""
    start = Start(tmp_path, argv)
    assert start.wait() == 2
    assert words in start.events()[-1]["message"]
    assert "behind the spec" in start.events()[-1]["hint"]


def test_drain_asks_the_engine_itself(tmp_path: Path) -> None:
    """Where nothing listens on the engine's port, it ends after the shortest wait."""
    spec = tmp_path / "drain.json"
    spec.write_text('{"port": 9, "settle": 0.01}')
    run = subprocess.run(
        where_modes_bind(command_line("drain", spec)),
        capture_output=True,
        check=True,
    )
    event = json.loads(run.stdout)
    assert (event["event"], event["reason"]) == (
        "drained",
        "the engine does not count its requests",
    )
    assert 0.01 <= event["seconds"] < 30
    assert event["time"] > 0
