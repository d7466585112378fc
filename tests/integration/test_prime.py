"""`prime` and later starts, with an engine of a few lines that compiles into its cache."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.file_modes import where_modes_bind
from support.pod_packages import command_line
from support.small_models import put

from modelshelf.render.code import Verb
from modelshelf.shelf.shelf import Shelf

# It compiles unless its cache has the result. Then it answers. It notes what it does in a file.
_ENGINE = """\
    import http.server, importlib.util, os, pathlib, sys, threading, time
    notes, port, cache = sys.argv[1], int(sys.argv[3]), pathlib.Path(os.environ["VLLM_CACHE_ROOT"])
    def note(what):
        with open(notes, "a") as file:
            print(what, file=file)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def do_POST(self):
            note(f"asked {self.path}")
            (cache / "asked").write_text("kernel")
            self.send_response(int(os.environ.get("ANSWER", "200")))
            self.end_headers()
        def log_message(self, *_):
            pass
    if "PYTHONPATH" in os.environ:
        note(f"bytecode {os.path.exists(importlib.util.find_spec('torch').cached)}")
        import torch
    code = cache / "torch_compile_cache/model"
    if code.exists():
        note("loaded " + code.read_text())
    else:
        note("compiles")
        code.parent.mkdir(parents=True)
        code.write_text("half")
        if "CRASH" in os.environ:
            sys.exit(9)
        time.sleep(float(os.environ.get("SLOW", "0")))
        code.write_text("whole")
        (cache / "x.lock").touch()
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
_DEADLINE_SECONDS = 60.0  # long, since the machine may be busy


class Lab:
    """A shelf with a model, on which verbs run the engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = Shelf.create(folder / "shelf")
        self.snapshot = put(self.shelf, "org/name", {"config.json": b"{}"})
        self.program = folder / "engine.py"
        self.program.write_text(textwrap.dedent(_ENGINE))
        self.notes = folder / "notes"
        self.count = 0

    def begin(
        self, verb: Verb, *more: str, into: str = "into", timeout: float = 60, **env: str
    ) -> subprocess.Popen[str]:
        """Start a verb; its engine gets a port of its own."""
        self.count += 1
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        spec = {
            "shelf": self.shelf.path,
            "compile_cache": {
                "folder": os.path.join(self.shelf.path, "compile-cache"),
                "snapshot": f"org/name@{self.snapshot.id}",
                "into": str(self.folder / into),
            },
            "health": f"{url}/health",
            "timeout": timeout,
            "ask": {"url": f"{url}/v1/completions", "body": {"prompt": "x"}},
        }
        path = self.folder / f"spec-{self.count}.json"
        path.write_text(json.dumps(spec))
        argv = [sys.executable, str(self.program), str(self.notes), "--port", str(port), *more]
        return subprocess.Popen(
            where_modes_bind(command_line(verb, path, *argv)),
            env={"PATH": os.environ["PATH"], **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, verb: Verb, *more: str, **how: Any) -> tuple[int, list[dict[str, Any]]]:
        """Run a verb to its end; `start` gets SIGTERM once its engine is ready."""
        with self.begin(verb, *more, **how) as running:
            assert running.stdout is not None
            events = []
            for line in running.stdout:
                events.append(json.loads(line))
                if verb == "start" and events[-1]["event"] == "engine-ready":
                    running.send_signal(signal.SIGTERM)
        return running.returncode, events

    def take_notes(self) -> list[str]:
        """What the engines have noted since the last call."""
        notes = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return notes

    def published(self) -> list[Path]:
        """The folders of published compile caches."""
        parent = Path(self.shelf.path, "compile-cache/org/name", self.snapshot.id)
        return sorted(parent.iterdir()) if parent.exists() else []

    def staged(self) -> list[Path]:
        """The folders in staging."""
        return list(Path(self.shelf.path, "staging/org/name").glob("*"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A shelf on which nothing is primed; nothing may stay in staging."""
    lab = Lab(tmp_path)
    yield lab
    assert lab.staged() == []


def test_every_later_start_loads_what_prime_compiled(lab: Lab) -> None:
    """A prime compiles, posts one request and publishes; starts load that from any folder."""
    code, events = lab.run("prime")
    assert (code, lab.take_notes()) == (0, ["compiles", "asked /v1/completions"])
    assert [event["event"] for event in events] == [
        "engine-starting",
        "engine-ready",
        "engine-ended",
        "primed",
    ]
    assert events[-1]["how"] == "made"
    assert all("time" in event for event in events)
    assert Path(events[-1]["path"]) in lab.published()
    assert not (lab.folder / "into").exists()
    for into in ("into", "into", "elsewhere"):
        _, events = lab.run("start", into=into)
        assert [event["event"] for event in events[:2]] == ["cache-unpacked", "engine-starting"]
        assert lab.take_notes() == ["loaded whole"]
    assert {path.name for path in (lab.folder / "into/vllm").iterdir()} == {
        "asked",
        "torch_compile_cache",
    }


def test_missing_bytecode_is_compiled_by_prime(lab: Lab) -> None:
    """It is in the archive and not beside the package, though the image forbids to write any."""
    package = lab.folder / "site/torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1")
    env = {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    assert lab.run("prime", **env)[0] == 0
    assert lab.take_notes()[0] == "bytecode False"
    lab.run("start", **env)
    assert lab.take_notes() == ["bytecode True", "loaded whole"]
    assert os.listdir(package) == ["__init__.py"]


def test_a_second_prime_starts_nothing(lab: Lab) -> None:
    """A cache that is there is enough; after a changed byte in it, a prime replaces it."""
    lab.run("prime")
    lab.take_notes()
    code, events = lab.run("prime")
    assert (code, lab.take_notes()) == (0, [])
    assert [(event["event"], event["how"]) for event in events] == [("primed", "present")]

    (folder,) = lab.published()
    tar = folder / "caches.tar"
    tar.chmod(0o644)
    tar.write_bytes(tar.read_bytes().replace(b"whole", b"other"))
    _, events = lab.run("start")
    assert events[0]["event"] == "cache-missing"
    assert "is not what was published" in events[0]["reason"]
    assert lab.take_notes() == ["compiles"]
    code, events = lab.run("prime", into="other")
    assert (code, events[-1]["how"]) == (0, "made")
    lab.take_notes()
    assert lab.run("start")[1][0]["event"] == "cache-unpacked"
    assert lab.take_notes() == ["loaded whole"]


def test_another_command_line_has_a_cache_of_its_own(lab: Lab) -> None:
    """A start with other arguments compiles and says so; each command line can be primed."""
    lab.run("prime")
    lab.take_notes()
    _, events = lab.run("start", "--dtype", "float16")
    assert (events[0]["event"], events[0]["reason"]) == ("cache-missing", "primed with other args")
    assert lab.take_notes() == ["compiles"]
    assert lab.run("prime", "--dtype", "float16")[0] == 0
    assert len(lab.published()) == 2


def test_two_primes_at_once_publish_one(lab: Lab) -> None:
    """Both compile and succeed, and the cache of the first one stays."""
    both = [lab.begin("prime", into=into, SLOW="1") for into in ("one", "two")]
    outcomes = [
        json.loads(prime.communicate(timeout=_DEADLINE_SECONDS)[0].splitlines()[-1])
        for prime in both
    ]
    assert [prime.returncode for prime in both] == [0, 0]
    assert sorted(outcome["how"] for outcome in outcomes) == ["made", "present"]
    assert lab.take_notes().count("compiles") == 2
    assert len(lab.published()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_prime_publishes_nothing(lab: Lab, number: int) -> None:
    """Its engine ends with it, and the next prime compiles everything."""
    prime = lab.begin("prime", SLOW="600")
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not lab.notes.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    prime.send_signal(number)
    prime.communicate(timeout=_DEADLINE_SECONDS)
    assert prime.returncode == (143 if number == signal.SIGTERM else -number)
    assert lab.published() == []
    lab.take_notes()
    code, events = lab.run("prime")
    assert (code, events[-1]["how"]) == (0, "made")
    assert lab.take_notes()[0] == "compiles"


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        ({"CRASH": "1"}, 20, "the engine ended with exit code 9 before"),
        ({"SLOW": "600", "timeout": 1}, 16, "the engine was not ready after 1 seconds"),
        ({"ANSWER": "500"}, 20, "the engine did not answer http://127.0.0.1:"),
    ],
)
def test_an_engine_that_fails_publishes_nothing(
    lab: Lab, trouble: dict[str, Any], code: int, words: str
) -> None:
    """The last line says whether it crashed, took too long or did not answer."""
    exit_code, events = lab.run("prime", **trouble)
    assert exit_code == code
    assert events[-1]["event"] == "error"
    assert words in events[-1]["message"]
    assert lab.published() == []
    assert not (lab.folder / "into").exists()


def test_an_engine_that_refuses_the_request_is_primed_all_the_same(lab: Lab) -> None:
    """If it wants a key or has another API, what it has compiled is published."""
    code, events = lab.run("prime", ANSWER="401")
    assert (code, events[-1]["how"]) == (0, "made")


@pytest.mark.parametrize("closed", ["compile-cache", "staging"])
def test_a_read_only_shelf_is_an_error_at_once(lab: Lab, closed: str) -> None:
    """The engine is not started, since nothing could be published."""
    folder = Path(lab.shelf.path, closed)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    code, events = lab.run("prime")
    folder.chmod(0o755)
    assert (code, lab.take_notes()) == (13, [])
    assert "may not write" in events[-1]["message"]


def test_a_program_that_is_no_python_cannot_be_primed(lab: Lab) -> None:
    """Without Python it cannot be known what a cache would fit."""
    path = lab.folder / "spec.json"
    cache = {"folder": "/x", "snapshot": f"org/name@{lab.snapshot.id}", "into": "/nowhere/into"}
    spec = {"shelf": lab.shelf.path, "compile_cache": cache, "health": "http://127.0.0.1:9/health"}
    path.write_text(json.dumps({**spec, "timeout": 5}))
    argv = command_line("prime", path, "sleep", "9")
    run = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2
    assert "is no Python" in run.stdout
