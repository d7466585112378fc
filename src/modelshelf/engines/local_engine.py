"""The protocol of engines on this machine: what an engine gets, and the process that it returns."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Protocol

from modelshelf.engines.weight_loading import StorageKind
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

# The exit code of an engine's process whose port is in use; EADDRINUSE has this number on Linux.
PORT_IN_USE_EXIT_CODE = 98


@dataclasses.dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine that has an engine installed.

    Attributes:
        path: The Python program.
        distribution: The name of the package that installed the engine; empty if unknown.
        version: The engine's version; empty if unknown.
    """

    path: str = sys.executable
    distribution: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a model is to be served, with any engine.

    Attributes:
        name: The model's name in the API; None for the name of its repository.
        host: The address to listen on.
        port: The port to listen on.
        context_length: The tokens that one request and its answer may have together; None for the
            length that the model was trained for, shared by all requests.
        parallel: The requests that the engine works on at once; None for the engine's default.
        threads: The CPU threads of one server process; None if it is alone on the machine.
        extra: Arguments for the engine itself, which follow modelshelf's own.
        python: The Python that runs the engine.
        ready_within: Seconds that the server may take until it answers.
        drain: Seconds that requests get to finish when the server stops.
        storage: The kind of storage that the model lies on.
        page_cache_room: Bytes of memory that may hold page cache of the model; None if unknown.
        fast_start: Whether the engine's processes may be forked from one that has imported the
            engine; None to do so only where that is tested.

    Raises:
        UsageError: A number is below 1.
    """

    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    context_length: int | None = None
    parallel: int | None = None
    threads: int | None = None
    extra: tuple[str, ...] = ()
    python: Interpreter = Interpreter()
    ready_within: float = 600.0
    drain: float = 30.0
    storage: StorageKind = "local"
    page_cache_room: int | None = None
    fast_start: bool | None = None

    def __post_init__(self) -> None:
        numbers = {
            "parallel requests": self.parallel,
            "threads": self.threads,
            "tokens of context": self.context_length,
        }
        for noun, number in numbers.items():
            if number is not None and number < 1:
                raise UsageError(f"{number} {noun} cannot serve", hint="give 1 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server process.

    Attributes:
        argv: The program and its arguments.
        env: The environment variables that the engine needs, besides those of its target.
        port: The port that it listens on.
        health_path: The path that answers 200 once the model is loaded.
        model: The model's name in the OpenAI-compatible API, whose paths begin with `/v1`.
        prefetch: Whether the model may be read into the page cache while the engine starts.
        load: How the engine reads the model, and why: the end of a sentence that begins with "the
            engine reads the model". Empty if there is nothing to say.
        takes_gpus: Whether the process takes all memory of the GPUs that it sees.
        fork: For an engine that `modelshelf.start` runs: whether its processes may be forked from
            one that has imported the engine. None for an engine that starts quickly by itself, and
            runs without `modelshelf.start`.
    """

    argv: tuple[str, ...]
    port: int
    health_path: str
    model: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefetch: bool = True
    load: str = ""
    takes_gpus: bool = False
    fork: bool | None = None


class Engine(Protocol):
    """An engine that serves models on this machine. The engines are modules, listed in `ENGINES`.

    Attributes:
        PACKAGE: The Python package that must be importable to run the engine.
        DISTRIBUTIONS: The names under which the package may be installed in a Python of its own;
            empty if the engine runs in modelshelf's own Python.
        PARALLEL: The requests that one replica works on at once before another replica is faster.
    """

    PACKAGE: str
    DISTRIBUTIONS: tuple[str, ...]
    PARALLEL: int

    def accepts(self, snapshot: Snapshot) -> bool:
        """Whether the engine can serve a snapshot, judged by the names of the files alone."""
        ...

    def make_server_spec(self, snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
        """Describe the process that serves a snapshot.

        Args:
            snapshot: The model.
            path: The folder in which the engine sees the snapshot.
            options: How to serve it.

        Raises:
            NotOnShelfError: The engine cannot serve the snapshot's files.
        """
        ...
