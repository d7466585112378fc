"""The mirror while models are added and removed, clients disconnect, and it is stopped."""

import contextlib
import hashlib
import importlib.util
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.mirror_process import Mirror, running
from support.small_models import put

from modelshelf.mirror.server import run
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.shelf import Shelf

BIG = os.urandom(1 << 20) * 48
FILE = "/o/n/resolve/main/w.safetensors"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A shelf with a model of one large file."""
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, "o/n", {"w.safetensors": BIG})
    return shelf


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether a condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def begin(mirror: Mirror, path: str = FILE) -> socket.socket:
    """Ask for a file on a raw connection with a small window, and read nothing of it."""
    host, port = mirror.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(10)
    connection.connect((host, int(port)))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def read_body(connection: socket.socket) -> bytes:
    """The body of an answer: as many bytes as BIG has, or fewer where the connection ends."""
    with connection.makefile("rb") as stream:
        while stream.readline() != b"\r\n":
            pass
        return stream.read(len(BIG))


def test_models_come_and_go_without_a_restart(shelf: Shelf) -> None:
    """A model published while serving is found, a removed one is not."""
    with running(shelf.path) as mirror:
        assert mirror.ask("/api/models/o/new").status == 404
        snapshot = put(shelf, "o/new", {"a": b"1"})
        assert soon(lambda: mirror.ask("/o/new/resolve/main/a").body == b"1", 2)
        newer = put(shelf, "o/new", {"a": b"2"}, commit="1" * 40)
        assert soon(lambda: mirror.ask("/o/new/resolve/main/a").body == b"2", 2)
        for gone in (snapshot, newer):
            shelf.remove(gone)
        assert soon(lambda: mirror.ask("/api/models/o/new").status == 404, 2)


def test_a_model_removed_at_once_is_not_found(shelf: Shelf) -> None:
    """A file of a model that was just removed is a 404, even before the mirror notices."""
    with running(shelf.path) as mirror:
        assert mirror.ask(FILE, method="HEAD").status == 200
        shelf.remove(shelf.find("o/n"))
        assert mirror.ask(FILE, method="HEAD").status == 404


def test_a_transfer_outlives_the_models_removal(shelf: Shelf) -> None:
    """A transfer under way is finished although the files are renamed and deleted."""
    with running(shelf.path) as mirror, begin(mirror) as connection:
        assert soon(lambda: mirror.counters()["file_requests"] == 1)
        shelf.remove(shelf.find("o/n"))
        shelf.empty_trash(grace=0)
        assert read_body(connection) == BIG


def test_a_file_that_shrinks_cuts_the_connection(shelf: Shelf) -> None:
    """If the file is too short, the body ends early, so that the client notices."""
    path = Path(str(shelf.find("o/n").path)) / "w.safetensors"
    with running(shelf.path) as mirror:
        with begin(mirror) as connection:
            assert soon(lambda: mirror.counters()["file_bytes"] > 0)
            os.chmod(path, 0o644)
            os.truncate(path, len(BIG) // 2)
            assert len(read_body(connection)) < len(BIG)
        assert mirror.ask("/api/models/o/n").status == 200


def test_reading_stops_when_the_client_hangs_up(shelf: Shelf) -> None:
    """A client that disconnects is noticed long before the end of the file."""
    with running(shelf.path) as mirror:
        begin(mirror).close()
        time.sleep(0.3)
        assert mirror.counters()["file_bytes"] < len(BIG) // 2


def test_many_clients_at_once_stay_cheap(shelf: Shelf) -> None:
    """32 clients get the right bytes, and no file is held in memory."""
    digest = hashlib.sha256(BIG).hexdigest()
    with running(shelf.path) as mirror, ThreadPoolExecutor(32) as pool:
        spans = [(n << 20, (n + 8) << 20) for n in range(32)]
        headers = [{"range": f"bytes={a}-{b - 1}"} for a, b in spans]
        replies = pool.map(lambda h: mirror.ask(FILE, headers=h).body, headers)
        for (start, stop), body in zip(spans, replies, strict=True):
            assert body == BIG[start:stop]
        assert hashlib.sha256(mirror.ask(FILE).body).hexdigest() == digest
        status = Path(f"/proc/{mirror.process.pid}/status").read_text()
        (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        assert int(peak) * 1024 < 250_000_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_lets_answers_finish(
    shelf: Shelf, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """Idle connections are closed, a transfer under way is finished, and the exit is clean."""
    with running(shelf.path) as mirror, contextlib.closing(mirror.connect()) as idle:
        idle.request("GET", "/api/models/o/n")
        idle.getresponse().read()
        with begin(mirror) as connection:
            assert soon(lambda: mirror.counters()["file_requests"] == 1)
            mirror.process.send_signal(number)
            time.sleep(0.2)
            assert read_body(connection) == BIG
        assert mirror.process.wait(5) == 0
    assert capfd.readouterr().err == ""


def test_a_client_that_does_not_read_cannot_hold_it(
    shelf: Shelf, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stalled transfer is cancelled after the grace period, and nothing is logged."""
    with running(shelf.path) as mirror, begin(mirror):
        assert soon(lambda: mirror.counters()["file_requests"] == 1)
        mirror.process.send_signal(signal.SIGTERM)
        assert mirror.process.wait(6) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("host", "told"), [("0.0.0.0", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")]
)
def test_the_url_it_tells_can_be_asked(shelf: Shelf, host: str, told: str) -> None:
    """For any listening address, a client on this machine can reach the URL."""
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with running(shelf.path, host) as mirror:
        assert mirror.url.startswith(f"http://{told}:")
        assert mirror.ask("/api/models/o/n").json()["id"] == "o/n"


def test_a_taken_port_is_told(shelf: Shelf) -> None:
    """The error names the port, and the hint says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TargetError, match=f"port {port} on 127.0.0.1 is taken") as told:
            run(shelf, "127.0.0.1", port)
    assert "--port" in told.value.hint


@pytest.mark.parametrize(
    ("host", "port"), [("no host", 0), ("127.0.0.1", 65_536), ("127.0.0.1", -1)]
)
def test_a_senseless_address_is_told(shelf: Shelf, host: str, port: int) -> None:
    """An unknown host and an impossible port are refused before the mirror listens."""
    with pytest.raises(UsageError):
        run(shelf, host, port)


def test_a_missing_extra_is_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without starlette and uvicorn the error says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="starlette and uvicorn") as told:
        run(shelf, "127.0.0.1", 0)
    assert told.value.hint == "pip install 'modelshelf[mirror]'"
