"""What an engine is asked and what it answers: values alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from modelshelf.core.errors import UsageError
from modelshelf.core.model import Snapshot

PORT_TAKEN = 98  # exit code of an engine process that found its port in use; EADDRINUSE on Linux


@dataclasses.dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a model is to be served, whatever the engine.

    Attributes:
        name: The model's name in the API; None for its repository's.
        host: The address to listen on.
        port: The port to listen on.
        context_length: Tokens that one request and its answer may have together; None for as many
            as the model was trained for, shared by all requests under way.
        parallel: Requests that are worked on at once.
        threads: CPU threads for one server process.
        extra: Arguments for the engine itself, put behind ours.

    Raises:
        UsageError: A number is smaller than makes sense.
    """

    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    context_length: int | None = None
    parallel: int = 4
    threads: int = 1
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = {
            "parallel requests": self.parallel,
            "threads": self.threads,
            "tokens of context": 1 if self.context_length is None else self.context_length,
        }
        for what, number in numbers.items():
            if number < 1:
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
    """

    argv: tuple[str, ...]
    port: int
    health_path: str
    model: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Engine(Protocol):
    """What serves models. Implementations are modules, listed in `ENGINES`.

    Attributes:
        NEEDS: The Python package that must be importable to run it on this machine.
    """

    NEEDS: str

    def accepts(self, snapshot: Snapshot) -> bool:
        """Whether it can serve a snapshot, judged by the names of the files alone."""
        ...

    def spec(self, snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
        """The process that serves a snapshot whose folder the engine sees at `path`.

        Raises:
            UsageError, NotFoundError: The snapshot's files do not say what to serve.
        """
        ...
