"""Serving on this machine: real replicas, a real router, the real client."""

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
from support.serve_process import children, client, gone, launched, serving, until
from support.small_models import put

from modelshelf.cli.main import main
from modelshelf.engines.spec import PORT_TAKEN
from modelshelf.shelf.errors import BusyError, NotOnShelfError, TargetError, TimedOutError
from modelshelf.shelf.events import Event
from modelshelf.shelf.shelf import Shelf
from modelshelf.targets.local import Server, serve
from modelshelf.targets.local.events import ReplicaDied, ReplicaReady, ReplicaStarting, RouterDied
from modelshelf.targets.local.recording import read_timeline

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
def told() -> list[Event]:
    """What a server tells of."""
    return []


@pytest.fixture(scope="module")
def one(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One replica, served from an environment full of secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        server = serve(REPO_ID, shelf=shelf, **SMALL)
    with server:
        yield server


def ask(api: openai.OpenAI, question: str = QUESTION, tokens: int = 16) -> str:
    """The answer to a question, always the same one."""
    answer = api.chat.completions.create(
        model=REPO_ID,
        messages=[{"role": "user", "content": question}],
        max_tokens=tokens,
        temperature=0,
    )
    return answer.choices[0].message.content or ""


def long_stream(api: openai.OpenAI, tokens: int) -> openai.Stream[Any]:
    """An answer that takes a while, piece by piece."""
    return api.chat.completions.create(
        model=REPO_ID,
        messages=[{"role": "user", "content": "Write a very long story about the sea."}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )


def test_the_model_answers(one: Server) -> None:
    """A question that this model gets right is answered through the OpenAI-compatible API."""
    with client(one.url) as api:
        assert "Paris" in ask(api)


def test_the_answer_streams(one: Server) -> None:
    """Piece by piece the same answer comes, with a reason for its end."""
    with client(one.url) as api:
        pieces = list(long_stream(api, 12))
        assert sum(bool(p.choices and p.choices[0].delta.content) for p in pieces) > 5
        assert pieces[-1].choices[0].finish_reason == "length"


def test_the_model_goes_by_its_own_name(one: Server) -> None:
    """The list of models has the repository's name."""
    with client(one.url) as api:
        assert [model.id for model in api.models.list()] == [REPO_ID] == [one.model]


def test_starts_are_repeated_and_become_a_table_and_a_chart(
    shelf: Shelf, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each start is told as JSON; the table ends with the medians, the chart has a bar for each."""
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


def test_a_model_that_is_served_is_not_removed(one: Server, shelf: Shelf) -> None:
    """`rm` refuses while somebody reads the files."""
    with pytest.raises(BusyError, match="being served by process"):
        shelf.remove(one.snapshot)


def test_logs_are_where_the_server_says(one: Server) -> None:
    """The engine's own words are in a file of the state folder."""
    assert pathlib.Path(one.log_dir).name.startswith("SmolLM2-135M-Instruct-")
    assert "model loaded" in pathlib.Path(one.log_dir, "replica-0.log").read_text()


def test_the_start_is_recorded_by_phase(one: Server) -> None:
    """Beside the log stands what the start took; its phases follow each other until it answered."""
    start = read_timeline(str(pathlib.Path(one.log_dir, "replica-0.log")))
    assert start
    assert [phase.name for phase in start.phases] == ["import", "weights", "ready"]
    assert sum(phase.seconds for phase in start.phases) == pytest.approx(start.ready, abs=0.01)


def test_a_replica_has_no_secret_in_its_environment(one: Server) -> None:
    """Neither tokens nor proxies reach a replica, and it is told to stay offline."""
    [pid] = [p for p in _own_children() if b"llamacpp_server" in _cmdline(p)]
    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert b"HF_HUB_OFFLINE=1\0" in environ
    assert b"secret" not in environ


def test_nothing_is_left_when_it_ends(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """After `stop` no process runs, the port is closed, and `rm` would be allowed."""
    before = _own_children()
    with serve(REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, **SMALL) as server:
        pids = [pid for pid in _own_children() if pid not in before]
        assert len(pids) == 3
        leases = len(os.listdir(os.path.join(shelf.path, "leases"))) - 1
    assert all(gone(pid) for pid in pids)
    logs = {"replica-0.log", "replica-1.log", "router.log"}
    assert set(os.listdir(tmp_path)) == logs | {f"replica-{n}.timeline.json" for n in (0, 1)}
    assert not _connects(server.url)
    assert len(os.listdir(os.path.join(shelf.path, "leases"))) == leases


@dataclasses.dataclass
class Load:
    """Clients that ask without a pause, and what they got: how often, and what failed."""

    url: str
    answers: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(k,)) for k in range(4)]

    def _ask(self, number: int) -> None:
        with client(self.url) as api:
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


def test_a_killed_replica_is_not_missed_and_comes_back(
    shelf: Shelf, told: list[Event], tmp_path: pathlib.Path
) -> None:
    """Under load, SIGKILL of one replica fails no request, and its successor gets some again."""
    with serve(
        REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, on_event=told.append, **SMALL
    ) as server:
        first = next(e for e in told if isinstance(e, ReplicaStarting) and e.replica == 0)
        with Load(server.url) as load:
            until(lambda: load.answers >= 8)
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: len(_readied(told, 0)) == 2)
            before = _requests(first.port)
            until(lambda: _requests(first.port) > before + 2)
    assert load.failures == []
    assert [e for e in told if isinstance(e, ReplicaDied)] == [ReplicaDied(0, -signal.SIGKILL, 0.5)]
    assert len(_readied(told, 1)) == 1


def test_a_killed_router_comes_back(
    shelf: Shelf, told: list[Event], tmp_path: pathlib.Path
) -> None:
    """When the router dies, it is started again on the same port."""
    before = _own_children()
    with serve(
        REPO_ID, shelf=shelf, replicas=2, log_dir=tmp_path, on_event=told.append, **SMALL
    ) as server:
        replicas = {e.pid for e in told if isinstance(e, ReplicaStarting)}
        [router] = [p for p in _own_children() if p not in replicas and p not in before]
        os.kill(router, signal.SIGKILL)
        until(lambda: RouterDied(-signal.SIGKILL, 0.5) in told)
        until(lambda: _connects(server.url))
        with client(server.url) as api:
            assert "Paris" in ask(api)


@pytest.mark.parametrize("replicas", [1, 2])
def test_sigterm_lets_a_stream_end(shelf: Shelf, tmp_path: pathlib.Path, replicas: int) -> None:
    """What is being answered is answered to its end; new requests are refused meanwhile."""
    with _apart(shelf, tmp_path, replicas=replicas) as server, client(server.url) as api:
        pids = server.pids()
        assert len(pids) == {1: 1, 2: 3}[replicas]
        stream = long_stream(api, 150)
        pieces = [next(stream)]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not _connects(server.url))
        pieces += stream
        assert pieces[-1].choices[0].finish_reason == "length"
        assert server.process.wait(10) == 0
        assert all(gone(pid) for pid in pids)


def test_a_signal_to_every_process_lets_a_stream_end(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """Where a supervisor sends SIGTERM to router and replicas too, nothing is cut off either."""
    with _apart(shelf, tmp_path, replicas=2) as server, client(server.url) as api:
        pids = server.pids()
        stream = long_stream(api, 100)
        pieces = [next(stream)]
        for pid in [*pids, server.process.pid]:
            os.kill(pid, signal.SIGTERM)
        pieces += stream
        assert pieces[-1].choices[0].finish_reason == "length"
        assert server.process.wait(10) == 0
        assert all(gone(pid) for pid in pids)


def test_sigterm_lets_a_whole_answer_be_made(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """An answer that does not stream is finished too."""
    with _apart(shelf, tmp_path) as server, client(server.url) as api:
        answers = collections.deque[str]()
        thread = threading.Thread(target=lambda: answers.append(ask(api, tokens=100)))
        thread.start()
        port = next(e["port"] for e in server.events if e["event"] == "replica-ready")
        until(lambda: _metric(port, "requests_processing"))
        server.process.send_signal(signal.SIGTERM)
        thread.join()
        assert "Paris" in answers[0]
        assert server.process.wait(10) == 0


def test_draining_ends_in_time(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """An answer that takes longer than there is time for is cut off."""
    with _apart(shelf, tmp_path, drain=0.3) as server, client(server.url) as api:
        stream = long_stream(api, 450)
        next(stream)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 2
        with pytest.raises(openai.APIConnectionError):
            list(stream)


def test_no_process_outlives_a_killed_parent(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """SIGKILL of the serving process takes replicas and router with it."""
    with _apart(shelf, tmp_path, replicas=2) as server:
        pids = server.pids()
        assert len(pids) == 3
        server.process.kill()
        until(lambda: all(gone(pid) for pid in pids), within=3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_a_parent_that_ends_while_it_loads(
    shelf: Shelf, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    """The same before anything is ready, while a replica runs nothing of Python."""
    with launched(shelf=shelf.path, ref=REPO_ID, log_dir=str(tmp_path), **SMALL) as process:
        assert process.stdout is not None
        starting = json.loads(process.stdout.readline())
        assert not gone(starting["pid"])
        process.send_signal(number)
        assert process.wait(5) != 0
        until(lambda: gone(starting["pid"]), within=3)


def test_an_engine_that_cannot_start_says_why(tmp_path: pathlib.Path) -> None:
    """The error carries the engine's last lines, names the log, and leaves nothing behind."""
    shelf = Shelf.create(tmp_path / "shelf")
    put(shelf, "org/broken", {"broken.Q4_0.gguf": smollm2().read_bytes()[:5_000_000]})
    with pytest.raises(TargetError, match=r"ended with 1 before it was ready") as caught:
        serve("org/broken", shelf=shelf, replicas=2, log_dir=tmp_path / "logs", **SMALL)
    assert caught.value.exit_code == 20
    assert "model is corrupted or incomplete" in str(caught.value)
    assert str(tmp_path / "logs") in caught.value.hint
    assert os.listdir(os.path.join(shelf.path, "leases")) == []
    assert [pid for pid in _own_children() if str(tmp_path).encode() in _cmdline(pid)] == []


def test_an_engine_that_takes_too_long_is_given_up(shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """After its time to get ready it is ended, with an exit code of its own."""
    with pytest.raises(TimedOutError, match=r"was not ready after 0\.05 s") as caught:
        serve(REPO_ID, shelf=shelf, log_dir=tmp_path, ready_within=0.05, **SMALL)
    assert caught.value.exit_code == 16


def test_a_model_for_another_engine_is_not_served(tmp_path: pathlib.Path) -> None:
    """Without a snapshot that llama.cpp can serve, nothing is started."""
    shelf = Shelf.create(tmp_path)
    put(shelf, "org/tensors", {"model.safetensors": b"x", "config.json": b"{}"})
    with pytest.raises(NotOnShelfError, match="has the files this needs"):
        serve("org/tensors", shelf=shelf)


def test_a_shelf_that_cannot_be_written_is_served(tmp_path: pathlib.Path, shelf: Shelf) -> None:
    """Where no lease can be taken, the model is served all the same; the old log is kept."""
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


def test_a_taken_port_and_a_wrong_parameter_have_exit_codes(tmp_path: pathlib.Path) -> None:
    """The engine's process tells a port in use and a parameter that is none from other faults."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], 0]
        argv = [sys.executable, "-m", "modelshelf.engines.llamacpp_server", "--model", "x.gguf"]
        codes = [
            subprocess.run(
                [*argv, "--name", "a/b", "--port", str(port), "--param", "nonsense=1"],
                stderr=subprocess.PIPE,
                check=False,
            ).returncode
            for port in ports
        ]
    assert codes == [PORT_TAKEN, 2]


def _apart(shelf: Shelf, logs: pathlib.Path, **options: Any) -> Any:
    """A server in a process of its own, so that it can be given signals."""
    return serving(shelf=shelf.path, ref=REPO_ID, log_dir=str(logs), **SMALL | options)


def _own_children() -> list[int]:
    return children(os.getpid())


def _cmdline(pid: int) -> bytes:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _readied(told: list[Event], replica: int) -> list[ReplicaReady]:
    return [e for e in told if isinstance(e, ReplicaReady) and e.replica == replica]


def _connects(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _metric(port: int, name: str) -> float:
    """One of llama.cpp's own counters."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return next(float(m.split()[1]) for m in text.splitlines() if m.startswith(f"llamacpp:{name} "))


def _requests(port: int) -> float:
    """Something of llama.cpp's that grows with each request that it works on."""
    return _metric(port, "tokens_predicted_total") / 4
