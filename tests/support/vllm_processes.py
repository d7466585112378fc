"""Real vLLM processes, with what they write, say and leave behind: for tests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.pod_packages import command_line

MODULE = ("-m", "vllm.entrypoints.openai.api_server")
_READY = 150.0  # seconds within which an engine must answer
_ENDED = 30.0  # seconds within which it must end after SIGTERM


@dataclasses.dataclass
class Engine:
    """A running engine.

    Attributes:
        process: Its first process.
        port: Where it will listen.
        log: All that it wrote.
        folder: Where its processes work, and no others.
        seconds: How long it took until it was ready; 0 before.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: pathlib.Path
    folder: pathlib.Path
    seconds: float = 0.0

    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What our supervisor told of one kind of event, where one runs the engine."""
        lines = [line for line in self.said().splitlines() if line.startswith('{"event"')]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def answers(self) -> bool:
        """Whether it is ready."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask("GET", "/health")[0] == http.HTTPStatus.OK
        return False

    def wait_ready(self, began: float) -> None:
        """Wait until it answers.

        Raises:
            AssertionError: It ended, or took too long; the message ends with what it wrote.
        """
        while not self.answers():
            late = time.monotonic() - began > _READY
            assert self.process.poll() is None and not late, self.said()[-6000:]  # noqa: PT018
            time.sleep(0.1)
        self.seconds = time.monotonic() - began

    def complete(self, prompt: str, tokens: int = 24) -> str:
        """The greedy completion of a prompt."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        status, answer = self._ask("POST", "/v1/completions", body)
        assert status == http.HTTPStatus.OK, answer
        return str(json.loads(answer)["choices"][0]["text"])

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal to its first process, wait for its end, and return its exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(_ENDED)

    def members(self) -> list[int]:
        """Its living processes, whoever is their parent and in whatever session."""
        return [pid for pid in _pids() if _works_in(pid, self.folder)]

    def segments(self) -> set[str]:
        """The files in /dev/shm that its processes have mapped or open."""
        found: set[str] = set()
        for pid in self.members():
            with contextlib.suppress(OSError):
                maps = pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
                found.update(re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE))
        return {path for path in found if os.path.exists(path)}

    def listens(self) -> bool:
        """Whether anybody takes connections on its port."""
        with socket.socket() as client:
            client.settimeout(2)
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@dataclasses.dataclass(frozen=True)
class Starter:
    """Starts engines of one environment with one model.

    Attributes:
        python: The interpreter that can import vLLM.
        model: A Hugging Face folder.
        home: A folder for all that engines write; they share it, as they would on one machine.
    """

    python: pathlib.Path
    model: pathlib.Path
    home: pathlib.Path

    def env(self, **changed: str) -> dict[str, str]:
        """The small environment of an engine."""
        fixed = {
            "HOME": str(self.home),
            "VLLM_CACHE_ROOT": str(self.home / "vllm"),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return {"PATH": os.environ["PATH"], **fixed, **changed}

    def argv(self, *arguments: str, port: int = 8000) -> list[str]:
        """The stock command line; the model's name is `smol`."""
        fixed = ["--host=127.0.0.1", f"--port={port}", "--max-model-len=1024", "--max-num-seqs=8"]
        fixed.append("--dtype=float32")  # processors without AVX-512 take minutes with bfloat16
        named = ["--model", str(self.model), "--served-model-name=smol"]
        return [str(self.python), *MODULE, *named, *fixed, *arguments]

    @contextlib.contextmanager
    def launched(
        self, argv: Sequence[str], port: int, env: Mapping[str, str] | None = None
    ) -> Iterator[Engine]:
        """Run a command line that will listen on a port; nothing of it outlives the block."""
        folder = self.home / f"engine-{port}-{time.monotonic_ns()}"
        folder.mkdir()
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=dict(env or self.env()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        engine = Engine(process, port, log, folder)
        try:
            yield engine
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDED)
            process.kill()
            process.wait()
            for pid in engine.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def running(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Engine]:
        """A stock start with these arguments, once it is ready."""
        port, began = free_port(), time.monotonic()
        with self.launched(self.argv(*arguments, port=port), port, env) as engine:
            engine.wait_ready(began)
            yield engine

    @contextlib.contextmanager
    def below_start(self, *arguments: str, **spec: Any) -> Iterator[Engine]:
        """An engine below our supervisor, not ready yet.

        Args:
            *arguments: Of vLLM.
            **spec: What its spec has beside the URL that it watches.
        """
        port = free_port()
        path = self.home / f"start-{port}.json"
        path.write_text(json.dumps({"health": f"http://127.0.0.1:{port}/health", **spec}))
        argv = command_line("start", path, *self.argv(*arguments, port=port))
        with self.launched(argv, port) as engine:
            yield engine


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _works_in(pid: int, folder: pathlib.Path) -> bool:
    """Whether a living process works in a folder; a new title may overwrite its environment."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd") == str(folder)
    return False
