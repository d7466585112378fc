"""Real vLLM processes, with what they write, say and leave behind: for tests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MODULE = ("-m", "vllm.entrypoints.openai.api_server")
_READY = 150.0  # seconds within which an engine must answer
_ENDED = 30.0  # seconds within which it must end after SIGTERM


@dataclasses.dataclass
class Engine:
    """A running engine, which is the leader of a session of its own.

    Attributes:
        process: Its first process.
        port: Where it will listen.
        log: All that it wrote.
        seconds: How long it took until it was ready; 0 before.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: pathlib.Path
    seconds: float = 0.0

    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

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
        """The living processes of its session."""
        return [pid for pid in _pids() if _session(pid) == self.process.pid]

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
        named = ["--model", str(self.model), "--served-model-name=smol"]
        return [str(self.python), *MODULE, *named, *fixed, *arguments]

    @contextlib.contextmanager
    def launched(
        self, argv: Sequence[str], port: int, env: Mapping[str, str] | None = None
    ) -> Iterator[Engine]:
        """Run a command line that will listen on a port; nothing of it outlives the block."""
        log = self.home / f"engine-{port}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=self.home,
                env=dict(env or self.env()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        engine = Engine(process, port, log)
        try:
            yield engine
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDED)
            for pid in engine.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def running(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Engine]:
        """A stock start with these arguments, once it is ready."""
        port, began = free_port(), time.monotonic()
        with self.launched(self.argv(*arguments, port=port), port, env) as engine:
            engine.wait_ready(began)
            yield engine


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _session(pid: int) -> int:
    """The session of a living process; 0 of one that is gone or a zombie."""
    with contextlib.suppress(OSError):
        words = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        state, _, _, session, *_ = words.split()
        return 0 if state == "Z" else int(session)
    return 0
