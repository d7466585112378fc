"""Serving on this machine, with real replicas, a real router, and the real client."""

from __future__ import annotations

import collections
import dataclasses
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import openai
import pytest
from support.real_model import FILE, QUESTION, REPO_ID, smollm2
from support.serve_process import (
    child_pids,
    has_ended,
    launch_server,
    openai_client,
    ready_server,
    wait_until,
)
from support.small_models import put

from modelshelf.cli.main import main
from modelshelf.engines.local_engine import PORT_IN_USE_EXIT_CODE
from modelshelf.shelf.errors import BusyError, NotOnShelfError, TargetError, TimedOutError
from modelshelf.shelf.events import Event
from modelshelf.shelf.shelf import Shelf
from modelshelf.targets.local import Server, serve
from modelshelf.targets.local.events import ReplicaDied, ReplicaReady, ReplicaStarting, RouterDied
from modelshelf.targets.local.log_recorder import load_timeline

SECRETS = {
    "HF_TOKEN": "hf_secret",
    "HUGGING_FACE_HUB_TOKEN": "hf_secret",
    "HTTPS_PROXY": "http://secret@proxy.invalid",
    "SOME_API_KEY": "secret",
}
SMALL: dict[str, Any] = {"context_length": 512, "threads": 1, "parallel": 2, "port": 0}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf with one real model."""
    shelf = Shelf.create(tmp_path_factory.mktemp("serve") / "shelf")
    put(shelf, REPO_ID, {FILE: smollm2().read_bytes(), "README.md": b"A model."})
    return shelf


@pytest.fixture
def events() -> list[Event]:
    """The events that a server reports."""
    return []


@pytest.fixture(scope="module")
def server(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one replica, whose surrounding environment has secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        running = serve(REPO_ID, shelf=shelf, **SMALL)
    with running:
        yield running


def ask(api: openai.OpenAI, question: str = QUESTION, tokens: int = 16) -> str:
    """Ask a question; the same question always has the same answer."""
    answer = api.chat.completions.create(
        model=REPO_ID,
        messages=[{"role": "user", "content": question}],
        max_tokens=tokens,
        temperature=0,
    )
    return answer.choices[0].message.content or ""


def long_stream(api: openai.OpenAI, tokens: int) -> openai.Stream[Any]:
    """Request a stream that takes a while."""
    return api.chat.completions.create(
        model=REPO_ID,
        messages=[{"role": "user", "content": "Write a very long story about the sea."}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )


def test_the_model_answers(server: Server) -> None:
    """The OpenAI-compatible API answers a question that this model knows."""
    with openai_client(server.url) as api:
        assert "Paris" in ask(api)


def test_the_answer_streams(server: Server) -> None:
    """The answer comes in pieces, and the last one has a finish reason."""
    with openai_client(server.url) as api:
        pieces = list(long_stream(api, 12))
        assert sum(bool(p.choices and p.choices[0].delta.content) for p in pieces) > 5
        assert pieces[-1].choices[0].finish_reason == "length"


def test_the_model_has_the_name_of_its_repository(server: Server) -> None:
    """The API lists the model under the name of its repository."""
    with openai_client(server.url) as api:
        assert [model.id for model in api.models.list()] == [REPO_ID] == [server.model]


def test_the_coldstart_benchmark_writes_a_table_and_a_chart(
    shelf: Shelf, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each start is printed as JSON; the table ends with medians, and the chart has all starts."""
    chart, table = tmp_path / "starts.svg", tmp_path / "starts.md"
    argv = ["bench", "coldstart", REPO_ID, f"--shelf={shelf.path}", "--starts=2", "--cold"]
    argv += ["--context-length=512", f"--chart={chart}", f"--table={table}", "--json"]
    assert main(argv) == 0
    starts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [start["start"] for start in starts] == ["start 1", "start 2"]
    assert all(start["ready"] > 0 for start in starts)
    rows = [line.split("|")[1].strip() for line in table.read_text().splitlines()]
    assert rows == ["start", "---", "start 1", "start 2", "median"]
    assert chart.read_text().count("<title>weights: ") == 2
    assert main(["bench", "coldstart"]) == 2


def test_a_model_that_is_served_is_not_removed(server: Server, shelf: Shelf) -> None:
    """`rm` refuses while a server reads the files."""
    with pytest.raises(BusyError, match="being served by process"):
        shelf.remove(server.snapshot)


def test_logs_are_where_the_server_says(server: Server) -> None:
    """The engine's log is in a file of the state folder."""
    assert pathlib.Path(server.log_dir).name.startswith("SmolLM2-135M-Instruct-")
    assert "model loaded" in pathlib.Path(server.log_dir, "replica-0.log").read_text()


def test_the_start_is_recorded_by_phase(server: Server) -> None:
    """The timeline beside the log has phases without gaps, until the server answered."""
    start = load_timeline(str(pathlib.Path(server.log_dir, "replica-0.log")))
    assert start
    assert [phase.name for phase in start.phases] == ["import", "weights", "ready"]
    assert sum(phase.seconds for phase in start.phases) == pytest.approx(start.ready, abs=0.01)


def test_a_replica_has_no_secret_in_its_environment(server: Server) -> None:
    """A replica gets no token and no proxy, and it is offline."""
    [pid] = [p for p in _own_children() if b"llamacpp_server" in _cmdline(p)]
    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert b"HF_HUB_OFFLINE=1\0" in environ
    assert b"secret" not in environ


def test_a_stopped_server_leaves_nothing(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """After `stop` no process runs, the port is closed, and the lease is released."""
    before = _own_children()
    with serve(REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, **SMALL) as server:
        pids = [pid for pid in _own_children() if pid not in before]
        assert len(pids) == 3
        leases = len(os.listdir(os.path.join(shelf.path, "leases"))) - 1
    assert all(has_ended(pid) for pid in pids)
    logs = {"replica-0.log", "replica-1.log", "router.log"}
    assert set(os.listdir(tmp_path)) == logs | {f"replica-{n}.timeline.json" for n in (0, 1)}
    assert not _connects(server.url)
    assert len(os.listdir(os.path.join(shelf.path, "leases"))) == leases


@dataclasses.dataclass
class Load:
    """Clients that send requests without a pause, and count answers and failures."""

    url: str
    answers: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(k,)) for k in range(4)]

    def _ask(self, number: int) -> None:
        with openai_client(self.url) as api:
            while not self._done.is_set():
                try:
                    ask(api, f"{number}: {QUESTION}", tokens=4)
                    self.answers += 1
                except openai.OpenAIError as error:
                    self.failures.append(repr(error))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_a_killed_replica_fails_no_request_and_is_restarted(
    shelf: Shelf, events: list[Event], tmp_path: pathlib.Path
) -> None:
    """SIGKILL of one replica under load fails no request, and the restarted one gets requests."""
    with serve(
        REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, on_event=events.append, **SMALL
    ) as server:
        first = next(e for e in events if isinstance(e, ReplicaStarting) and e.replica == 0)
        with Load(server.url) as load:
            wait_until(lambda: load.answers >= 8)
            os.kill(first.pid, signal.SIGKILL)
            wait_until(lambda: len(_ready_events(events, 0)) == 2)
            before = _requests(first.port)
            wait_until(lambda: _requests(first.port) > before + 2)
    assert load.failures == []
    assert [e for e in events if isinstance(e, ReplicaDied)] == [
        ReplicaDied(0, -signal.SIGKILL, 0.5)
    ]
    assert len(_ready_events(events, 1)) == 1


def test_a_killed_router_is_restarted(
    shelf: Shelf, events: list[Event], tmp_path: pathlib.Path
) -> None:
    """A router that dies is restarted on the same port."""
    before = _own_children()
    with serve(
        REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, on_event=events.append, **SMALL
    ) as server:
        replicas = {e.pid for e in events if isinstance(e, ReplicaStarting)}
        [router] = [p for p in _own_children() if p not in replicas and p not in before]
        os.kill(router, signal.SIGKILL)
        wait_until(lambda: RouterDied(-signal.SIGKILL, 0.5) in events)
        wait_until(lambda: _connects(server.url))
        with openai_client(server.url) as api:
            assert "Paris" in ask(api)


@pytest.mark.parametrize("replicas", [1, 2])
def test_sigterm_lets_a_stream_finish(shelf: Shelf, tmp_path: pathlib.Path, replicas: int) -> None:
    """A stream in progress is finished, while new requests are refused."""
    with (
        _server_process(shelf, tmp_path, replicas=replicas) as server,
        openai_client(server.url) as api,
    ):
        pids = server.pids()
        assert len(pids) == {1: 1, 2: 3}[replicas]
        stream = long_stream(api, 150)
        pieces = [next(stream)]
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _connects(server.url))
        pieces += stream
        assert pieces[-1].choices[0].finish_reason == "length"
        assert server.process.wait(10) == 0
        assert all(has_ended(pid) for pid in pids)


def test_a_signal_to_every_process_lets_a_stream_finish(
    shelf: Shelf, tmp_path: pathlib.Path
) -> None:
    """A supervisor may send SIGTERM to router and replicas, too; the stream is still finished."""
    with _server_process(shelf, tmp_path, replicas=2) as server, openai_client(server.url) as api:
        pids = server.pids()
        stream = long_stream(api, 100)
        pieces = [next(stream)]
        for pid in [*pids, server.process.pid]:
            os.kill(pid, signal.SIGTERM)
        pieces += stream
        assert pieces[-1].choices[0].finish_reason == "length"
        assert server.process.wait(10) == 0
        assert all(has_ended(pid) for pid in pids)


def test_sigterm_lets_an_answer_without_stream_finish(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """An answer that does not stream is finished, too."""
    with _server_process(shelf, tmp_path) as server, openai_client(server.url) as api:
        answers = collections.deque[str]()
        thread = threading.Thread(target=lambda: answers.append(ask(api, tokens=100)))
        thread.start()
        port = next(e["port"] for e in server.events if e["event"] == "replica-ready")
        wait_until(lambda: _metric(port, "requests_processing"))
        server.process.send_signal(signal.SIGTERM)
        thread.join()
        assert "Paris" in answers[0]
        assert server.process.wait(10) == 0


def test_draining_has_a_deadline(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """An answer that takes longer than the drain time is cut off."""
    with _server_process(shelf, tmp_path, drain=0.3) as server, openai_client(server.url) as api:
        stream = long_stream(api, 450)
        next(stream)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 2
        with pytest.raises(openai.APIConnectionError):
            list(stream)


def test_no_process_outlives_a_killed_parent(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """SIGKILL of the serving process ends the replicas and the router."""
    with _server_process(shelf, tmp_path, replicas=2) as server:
        pids = server.pids()
        assert len(pids) == 3
        server.process.kill()
        wait_until(lambda: all(has_ended(pid) for pid in pids), within=3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_a_parent_that_ends_while_it_loads(
    shelf: Shelf, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    """A replica ends with its parent even while it loads, when it runs no Python code."""
    with launch_server(shelf=shelf.path, ref=REPO_ID, log_dir=str(tmp_path), **SMALL) as process:
        assert process.stdout is not None
        starting = json.loads(process.stdout.readline())
        assert not has_ended(starting["pid"])
        process.send_signal(number)
        assert process.wait(5) != 0
        wait_until(lambda: has_ended(starting["pid"]), within=3)


def test_the_error_has_the_last_lines_of_an_engine_that_fails(tmp_path: pathlib.Path) -> None:
    """The error quotes the engine, the hint names the log, and no process or lease is left."""
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, "org/broken", {"broken.Q4_0.gguf": smollm2().read_bytes()[:5_000_000]})
    with pytest.raises(TargetError, match=r"ended with 1 before it was ready") as caught:
        serve("org/broken", shelf=shelf, replicas=2, log_dir=tmp_path / "logs", **SMALL)
    assert caught.value.exit_code == 20
    assert "model is corrupted or incomplete" in str(caught.value)
    assert str(tmp_path / "logs") in caught.value.hint
    assert os.listdir(os.path.join(shelf.path, "leases")) == []
    assert [pid for pid in _own_children() if str(tmp_path).encode() in _cmdline(pid)] == []


def test_an_engine_that_takes_too_long_is_ended(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """An engine that is not ready in time is ended; the error has its own exit code."""
    with pytest.raises(TimedOutError, match=r"was not ready after 0\.05 s") as caught:
        serve(REPO_ID, shelf=shelf, log_dir=tmp_path, ready_within=0.05, **SMALL)
    assert caught.value.exit_code == 16


def test_a_model_for_another_engine_is_not_served(tmp_path: pathlib.Path) -> None:
    """If llama.cpp can serve no snapshot of a model, nothing is started."""
    shelf = Shelf.create(tmp_path)
    put(shelf, "org/tensors", {"model.safetensors": b"x", "config.json": b"{}"})
    with pytest.raises(NotOnShelfError, match="has the files this needs"):
        serve("org/tensors", shelf=shelf)


def test_a_model_on_a_read_only_shelf_is_served(tmp_path: pathlib.Path, shelf: Shelf) -> None:
    """A model is served even if no lease can be taken; the log of an earlier run is kept."""
    copy = Shelf.create(tmp_path / "shelf")
    os.makedirs(os.path.join(copy.path, "models"))
    os.symlink(
        os.path.join(shelf.path, "models", REPO_ID.split("/", maxsplit=1)[0]),
        os.path.join(copy.path, "models", REPO_ID.split("/", maxsplit=1)[0]),
    )
    pathlib.Path(copy.path, "leases").write_bytes(b"")
    pathlib.Path(tmp_path, "replica-0.log").write_bytes(b"from an earlier run")
    with serve(REPO_ID, shelf=copy, log_dir=tmp_path, **SMALL) as server:
        assert _connects(server.url)
    assert pathlib.Path(tmp_path, "replica-0.log.1").read_bytes() == b"from an earlier run"


def test_a_port_in_use_and_a_wrong_parameter_have_exit_codes(tmp_path: pathlib.Path) -> None:
    """The process of llama.cpp has an exit code for each of the two errors."""
    with socket.create_server(("127.0.0.1", 0)) as other_server:
        ports = [other_server.getsockname()[1], 0]
        argv = [sys.executable, "-m", "modelshelf.engines.llamacpp_server", "--model", "x.gguf"]
        codes = [
            subprocess.run(
                [*argv, "--name", "a/b", "--port", str(port), "--param", "nonsense=1"],
                stderr=subprocess.PIPE,
                check=False,
            ).returncode
            for port in ports
        ]
    assert codes == [PORT_IN_USE_EXIT_CODE, 2]


def _server_process(shelf: Shelf, logs: pathlib.Path, **options: Any) -> Any:
    """A server in a process of its own, which can get signals."""
    return ready_server(shelf=shelf.path, ref=REPO_ID, log_dir=str(logs), **SMALL | options)


def _own_children() -> list[int]:
    return child_pids(os.getpid())


def _cmdline(pid: int) -> bytes:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _ready_events(events: list[Event], replica: int) -> list[ReplicaReady]:
    return [e for e in events if isinstance(e, ReplicaReady) and e.replica == replica]


def _connects(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _metric(port: int, name: str) -> float:
    """The value of one of llama.cpp's metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return next(float(m.split()[1]) for m in text.splitlines() if m.startswith(f"llamacpp:{name} "))


def _requests(port: int) -> float:
    """The number of answered requests, from a metric that grows with each answer."""
    return _metric(port, "tokens_predicted_total") / 4
