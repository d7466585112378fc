"""The command line of our packages in pods: `VERB SPEC.json [-- ENGINE …]`.

A spec is one JSON object that says what to do. Events and errors are JSON lines on stdout, and the
last line is the outcome. It is also written to the container's termination message, from where
`kubectl describe` and `modelshelf status` read it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from modelshelf.shelf import early_signals
from modelshelf.shelf.errors import Error, UsageError
from modelshelf.shelf.events import Event, Listener
from modelshelf.shelf.values import Snapshot

Spec: TypeAlias = dict[str, Any]
"""What a verb is to do: the JSON object in its file."""

_PROGRESS_SECONDS = 1.0  # between two lines about progress, which a cluster keeps as a log
_TERMINATION_LOG = "/dev/termination-log"  # the kubelet reads a container's message from here


@dataclasses.dataclass(frozen=True, slots=True)
class Verb:
    """One verb of a package.

    Attributes:
        run: The function that does it. It gets the spec, a listener, and the engine's command line
            behind `--`, and returns the exit code.
        beside_engine: Whether an engine writes to the same log. Then each line has the time at
            which it was written (`time`, in seconds since 1970).
        leaves_outcome: Whether the last line becomes the container's termination message. It does
            not where an engine runs until the end, since the engine's own last lines say more.
    """

    run: Callable[[Spec, Listener, tuple[str, ...]], int]
    beside_engine: bool = False
    leaves_outcome: bool = True


def main(description: str | None, verbs: Mapping[str, Verb], argv: list[str]) -> int:
    """Run a verb. Its events, or its error, are JSON lines on stdout.

    Args:
        description: The package's documentation of its specs, for `--help`.
        verbs: Name → verb.
        argv: The arguments, without the program's name.

    Returns:
        The exit code: the verb's own, that of its error, or 128 + n for signal n.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=sorted(verbs))
    parser.add_argument("spec", help="a JSON file that says what to do")
    separator = argv.index("--") if "--" in argv else len(argv)
    arguments = parser.parse_args(argv[:separator])
    signal.signal(signal.SIGTERM, _interrupt)
    verb = verbs[arguments.verb]
    lines = _Lines(with_time=verb.beside_engine)
    try:
        if early_signals.received:
            # The signal came during the imports; act as if it came now.
            raise KeyboardInterrupt  # noqa: TRY301
        return verb.run(_read_spec(arguments.spec), lines.tell, tuple(argv[separator + 1 :]))
    except Error as error:
        lines.write_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + (early_signals.received or [signal.SIGINT])[0]
    finally:
        if verb.leaves_outcome:
            lines.leave_outcome()


def event_line(fields: Mapping[str, Any], *, with_time: bool) -> str:
    """Write an event, or an error, as one line of JSON.

    Args:
        fields: What the line says; `event` names its kind.
        with_time: Whether to add the present time as `time`, in seconds since 1970.
    """
    if with_time:
        fields = {**fields, "time": round(time.time(), 3)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def text_in(spec: Spec, key: str) -> str:
    """Return a text that a spec must have.

    Raises:
        UsageError: It is missing, empty, or something else.
    """
    value = spec.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"the spec has no {key}")
    return value


def snapshot_in(spec: Spec) -> Snapshot:
    """Return the snapshot that a spec must have, in the form of `.snapshot.json`.

    Raises:
        UsageError: It is missing, or not readable.
    """
    try:
        return Snapshot.from_json(spec["snapshot"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the spec has no readable snapshot: {error!r}") from error


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    early_signals.received.append(number)
    raise KeyboardInterrupt


def _read_spec(path: str) -> Spec:
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"the spec {path} cannot be read: {error}") from error
    if not isinstance(spec, dict):
        raise UsageError(f"the spec {path} is not a JSON object")
    return spec


class _Lines:
    """Events as JSON lines on stdout.

    Args:
        with_time: Whether each line says when it was written.
    """

    def __init__(self, *, with_time: bool) -> None:
        self._with_time = with_time
        self._lock = threading.Lock()
        self._last_line = ""
        self._next_progress_at = 0.0

    def tell(self, event: Event) -> None:
        """Write an event. Of those that only show progress, write one a second."""
        if event.IS_PROGRESS:
            now = time.monotonic()
            if now < self._next_progress_at:
                return
            self._next_progress_at = now + _PROGRESS_SECONDS
        self._write(event.to_json())

    def write_error(self, error: Error) -> None:
        """Write why the verb failed."""
        self._write(
            {
                "event": "error",
                "message": str(error),
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        )

    def leave_outcome(self) -> None:
        """Copy the last line to the container's termination message.

        The kubelet makes that file. Outside of a pod there is none, and nothing is written.
        """
        with contextlib.suppress(OSError), open(_TERMINATION_LOG, "r+", encoding="utf-8") as file:
            file.write(self._last_line)

    def _write(self, fields: dict[str, Any]) -> None:
        with self._lock:
            self._last_line = event_line(fields, with_time=self._with_time)
            sys.stdout.write(self._last_line)
            sys.stdout.flush()
