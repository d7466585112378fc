"""What an engine is asked and what it answers: values alone."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Protocol

from modelshelf.engines.loading import Where
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

PORT_TAKEN = 98  # exit code of an engine process that found its port in use; EADDRINUSE on Linux


@dataclasses.dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine that has an engine.

    Attributes:
        path: Its program.
        distribution: Under which name the engine is installed there; empty if that is not known.
        version: The engine's version; empty if that is not known.
    """

    path: str = sys.executable
    distribution: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a model is to be served, whatever the engine.

    Attributes:
        name: The model's name in the API; None for its repository's.
        host: The address to listen on.
        port: The port to listen on.
        context_length: Tokens that one request and its answer may have together; None for as many
            as the model was trained for, shared by all requests under way.
        parallel: Requests that are worked on at once; None for the engine's own number.
        threads: CPU threads for one server process; None if it has the machine for itself.
        extra: Arguments for the engine itself, put behind ours.
        python: The Python that runs it.
        ready_within: Seconds that it may take until it answers.
        drain: Seconds that requests under way get when it stops.
        where: What the model lies on.
        room: Bytes of memory that its pages may take; None if that is not known.
        fast_start: Whether its processes may be forked from one that has imported the engine; None
            for where that is proven.

    Raises:
        UsageError: A number is smaller than makes sense.
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
    where: Where = "local"
    room: int | None = None
    fast_start: bool | None = None

    def __post_init__(self) -> None:
        numbers = {
            "parallel requests": self.parallel,
            "threads": self.threads,
            "tokens of context": self.context_length,
        }
        for what, number in numbers.items():
            if number is not None and number < 1:
                raise UsageError(f"{number} {what} cannot serve", hint="give 1 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server process, wherever it runs.

    Attributes:
        argv: The program and its arguments.
        env: Environment variables that the engine needs besides those of its target.
        port: Where it listens.
        health_path: What answers 200 there once the model is loaded.
        model: The model's name in its OpenAI-compatible API, which lies below `/v1`.
        prefetch: Whether the model may be read into memory meanwhile.
        load: How it reads its model, and why; the end of a sentence, or empty.
        gpus: Whether it takes all of the memory of the GPUs that it sees.
        fork: For an engine that `core`'s `start` is to start: whether its processes may be forked
            from one that has imported it. None for one that starts quickly by itself.
    """

    argv: tuple[str, ...]
    port: int
    health_path: str
    model: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefetch: bool = True
    load: str = ""
    gpus: bool = False
    fork: bool | None = None


class Engine(Protocol):
    """What serves models. Implementations are modules, listed in `ENGINES`.

    Attributes:
        NEEDS: The Python package that must be importable to run it on this machine.
        DISTRIBUTIONS: What it may be installed as in a Python of its own; empty if it runs in ours.
        PARALLEL: Requests that it works on at once by itself before another replica is better.
    """

    NEEDS: str
    DISTRIBUTIONS: tuple[str, ...]
    PARALLEL: int

    def accepts(self, snapshot: Snapshot) -> bool:
        """Whether it can serve a snapshot, judged by the names of the files alone."""
        ...

    def spec(self, snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
        """The process that serves a snapshot whose folder the engine sees at `path`.

        Raises:
            UsageError, NotFoundError: The snapshot's files do not say what to serve.
        """
        ...
