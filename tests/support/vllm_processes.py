"""Real vLLM processes for tests: starting and stopping them, and what they write and leave."""

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
_READY_SECONDS = 400.0  # within which an engine must answer
_END_SECONDS = 30.0  # within which it must end after SIGTERM


@dataclasses.dataclass
class Engine:
    """A running engine.

    Attributes:
        process: Its first process.
        port: The port on which it listens once it is ready.
        log: The file with its output.
        folder: The working directory of its processes, and of no others.
        seconds: How long it took until it was ready; 0 before that.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: pathlib.Path
    folder: pathlib.Path
    seconds: float = 0.0

    def output(self) -> str:
        """Read what it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Read the events of one kind that `start` has written, where it runs the engine."""
        lines = [line for line in self.output().splitlines() if line.startswith('{"event"')]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def is_ready(self) -> bool:
        """Whether its health path answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask("GET", "/health")[0] == http.HTTPStatus.OK
        return False

    def wait_ready(self, began: float) -> None:
        """Wait until it is ready.

        Args:
            began: When it was started, by `time.monotonic`.

        Raises:
            AssertionError: It ended, or took too long. The message is the end of its output.
        """
        while not self.is_ready():
            late = time.monotonic() - began > _READY_SECONDS
            assert self.process.poll() is None and not late, self.output()[-6000:]  # noqa: PT018
            time.sleep(0.1)
        self.seconds = time.monotonic() - began

    def complete(self, prompt: str, tokens: int = 24) -> str:
        """Return the greedy completion of a prompt."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        status, answer = self._ask("POST", "/v1/completions", body)
        assert status == http.HTTPStatus.OK, answer
        return str(json.loads(answer)["choices"][0]["text"])

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal to its first process, wait for its end, and return its exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(_END_SECONDS)

    def members(self) -> list[int]:
        """List its running processes, in any session and with any parent."""
        return [pid for pid in _pids() if _works_in(pid, self.folder)]

    def segments(self) -> set[str]:
        """List the files in /dev/shm that its processes have mapped."""
        found: set[str] = set()
        for pid in self.members():
            with contextlib.suppress(OSError):
                maps = pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
                found.update(re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE))
        return {path for path in found if os.path.exists(path)}

    def listens(self) -> bool:
        """Whether anything accepts connections on its port."""
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
    """Starts engines with one Python environment and one model.

    Attributes:
        python: The interpreter that can import vLLM.
        model: A Hugging Face folder.
        home: A folder for what engines write. They share it, as those of one user would.
    """

    python: pathlib.Path
    model: pathlib.Path
    home: pathlib.Path

    def env(self, **changed: str) -> dict[str, str]:
        """Return the environment of an engine, which is small."""
        fixed = {
            "HOME": str(self.home),
            "VLLM_CACHE_ROOT": str(self.home / "vllm"),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return {"PATH": os.environ["PATH"], **fixed, **changed}

    def argv(self, *arguments: str, port: int = 8000) -> list[str]:
        """Return the command line of a stock start; the model is served as `smol`."""
        fixed = ["--host=127.0.0.1", f"--port={port}", "--max-model-len=1024", "--max-num-seqs=8"]
        fixed.append("--dtype=float32")  # processors without AVX-512 take minutes with bfloat16
        named = ["--model", str(self.model), "--served-model-name=smol"]
        return [str(self.python), *MODULE, *named, *fixed, *arguments]

    @contextlib.contextmanager
    def launched(
        self, argv: Sequence[str], port: int, env: Mapping[str, str] | None = None
    ) -> Iterator[Engine]:
        """Run a command line. Nothing of it outlives the block.

        Args:
            argv: The command line.
            port: The port on which it will listen.
            env: Its environment; the usual one by default.
        """
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
                process.wait(_END_SECONDS)
            process.kill()
            process.wait()
            for pid in engine.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def running(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Engine]:
        """Run an engine by its own command line; the block begins when it is ready."""
        port, began = free_port(), time.monotonic()
        with self.launched(self.argv(*arguments, port=port), port, env) as engine:
            engine.wait_ready(began)
            yield engine

    @contextlib.contextmanager
    def supervised(self, *arguments: str, **spec: Any) -> Iterator[Engine]:
        """Run an engine by `start`; the block begins before it is ready.

        Args:
            *arguments: Arguments of vLLM.
            **spec: What the spec of `start` has, beside the health URL.
        """
        port = free_port()
        path = self.home / f"start-{port}.json"
        path.write_text(json.dumps({"health": f"http://127.0.0.1:{port}/health", **spec}))
        argv = command_line("start", path, *self.argv(*arguments, port=port))
        with self.launched(argv, port) as engine:
            yield engine


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _works_in(pid: int, folder: pathlib.Path) -> bool:
    """Whether a running process works in a folder.

    A mark in the environment would not do: a process that sets its title overwrites that.
    """
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd") == str(folder)
    return False
