"""The pods' command line: `VERB SPEC.json [-- ENGINE …]`, which speaks JSON lines.

A spec is one JSON object with `shelf` (a folder) and, by verb:

- `pull`: `snapshot` (as in `.snapshot.json`), `endpoint` (the Hub's base URL), and perhaps `from`
  (a folder with an earlier download). The token comes from HF_TOKEN.
- `gate`: `snapshot` and `timeout` (seconds).
- `purge`: `repo_ids` (a list of `org/name`).

Two verbs run beside an engine and have no shelf:

- `start`, with the engine's command behind `--`: perhaps `health` (the URL that answers 200 once it
  is ready), `warm` (`paths` to read ahead, `memory`: bytes at the most), `derived` (`folder`,
  `snapshot` as `org/name@id`, `into`), and `fast` (`fork`: true or false). It exits as the engine.
- `drain`: `port`, and perhaps `metrics` (a path), `settle`, `quiet` and `most` (seconds).

And one runs an engine for the shelf:

- `prime`, with the engine's command: `health` and `derived` as its later starts have them,
  `timeout` (seconds), and perhaps `ask` (`url`, and the JSON `body` to post there once).

The last line is the outcome; Kubernetes gets it as the container's termination message, too. Where
an engine runs, each line says when it was said (`time`, in seconds since 1970), and `start` and
`drain` leave the last words to the engine.
"""

import os
import signal
import sys

_ASKED: list[int] = []  # the signals that asked for an end

if __name__ == "__main__":
    # The first process of a container ignores SIGTERM until it has a handler.
    signal.signal(signal.SIGTERM, lambda number, _frame: _ASKED.append(number))

if __package__ in {None, ""}:
    # Run as a file, by `python3 -I -S`: the folder above `modelshelf/core` is not on the path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import argparse
import contextlib
import json
import threading
import time
import types
from collections.abc import Callable
from typing import Any

from modelshelf.core.errors import Error, UsageError
from modelshelf.core.events import Event, Listener, Progressed
from modelshelf.core.model import Snapshot

_PROGRESS = 1.0  # seconds between two lines about progress, which a cluster keeps as a log
_OUTCOME = "/dev/termination-log"  # where a kubelet reads a container's last words


def main(argv: list[str]) -> int:
    """Run a verb; its events and its error are JSON lines on stdout.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=sorted(_VERBS | _BESIDE))
    parser.add_argument("spec", help="a JSON file that says what to do")
    cut = argv.index("--") if "--" in argv else len(argv)
    arguments = parser.parse_args(argv[:cut])
    signal.signal(signal.SIGTERM, _interrupt)
    beside = _BESIDE.get(arguments.verb)
    lines = _Lines(timed=beside is not None)
    try:
        if _ASKED:
            raise KeyboardInterrupt  # noqa: TRY301 - as it would have been a moment later
        spec = _read_spec(arguments.spec)
        if beside is not None:
            return beside(spec, lines.tell, tuple(argv[cut + 1 :]))
        _VERBS[arguments.verb](spec, lines.tell)
    except Error as error:
        lines.say(
            {
                "event": "error",
                "message": str(error),
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        )
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + (_ASKED or [signal.SIGINT])[0]
    finally:
        if beside in (None, _prime):
            lines.leave_outcome()
    return 0


class _Lines:
    """What was said, as JSON lines on stdout; the last of them is the outcome.

    Args:
        timed: Whether each line says when it was said.
    """

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._turn = threading.Lock()
        self._last = ""
        self._progressed = 0.0

    def tell(self, event: Event) -> None:
        if isinstance(event, Progressed):
            now = time.monotonic()
            if now - self._progressed < _PROGRESS:
                return
            self._progressed = now
        self.say(event.to_json())

    def say(self, line: dict[str, Any]) -> None:
        if self._timed:
            line = {**line, "time": round(time.time(), 3)}
        with self._turn:
            self._last = json.dumps(line, ensure_ascii=False) + "\n"
            sys.stdout.write(self._last)
            sys.stdout.flush()

    def leave_outcome(self) -> None:
        """Write the last line where the kubelet looks for it; elsewhere there is no such file."""
        with contextlib.suppress(OSError), open(_OUTCOME, "r+", encoding="utf-8") as file:
            file.write(self._last)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    _ASKED.append(number)
    raise KeyboardInterrupt


def _read_spec(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"the spec {path} cannot be read: {error}") from error
    if not isinstance(spec, dict):
        raise UsageError(f"the spec {path} is not a JSON object")
    return spec


def _snapshot(spec: dict[str, Any]) -> Snapshot:
    try:
        return Snapshot.from_json(spec["snapshot"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the spec has no readable snapshot: {error!r}") from error


def _text(spec: dict[str, Any], key: str) -> str:
    value = spec.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"the spec has no {key}")
    return value


# Each verb imports what it needs: pods mount the modules of their own verb alone, so that a change
# in how models are pulled does not change the pods that serve.


def _pull(spec: dict[str, Any], tell: Listener) -> None:
    from modelshelf.core.pull import PullSpec, pull  # noqa: PLC0415
    from modelshelf.core.shelf import Shelf  # noqa: PLC0415
    from modelshelf.core.transfer import hub_origin  # noqa: PLC0415

    snapshot = _snapshot(spec)
    origin = hub_origin(_text(spec, "endpoint"), snapshot, os.environ.get("HF_TOKEN"))
    folder = _text(spec, "from") if "from" in spec else None
    shelf = Shelf.create(_text(spec, "shelf"), shared=True)
    pull(shelf, PullSpec(snapshot, origin, folder, link=True), listener=tell)


def _gate(spec: dict[str, Any], tell: Listener) -> None:
    from modelshelf.core.gate import gate  # noqa: PLC0415

    timeout = spec.get("timeout", 0)
    if not isinstance(timeout, int | float):
        raise UsageError("the spec's timeout is not a number of seconds")
    gate(_text(spec, "shelf"), _snapshot(spec), timeout=timeout, listener=tell)


def _purge(spec: dict[str, Any], tell: Listener) -> None:
    from modelshelf.core.purge import purge  # noqa: PLC0415

    repo_ids = spec.get("repo_ids")
    if not isinstance(repo_ids, list) or not all(isinstance(name, str) for name in repo_ids):
        raise UsageError("the spec's repo_ids is not a list of names")
    purge(_text(spec, "shelf"), repo_ids, listener=tell)


def _start(spec: dict[str, Any], tell: Listener, argv: tuple[str, ...]) -> int:
    from modelshelf.core.start import StartSpec, start  # noqa: PLC0415

    return start(StartSpec.from_json(spec), argv, tell, asked=_ASKED)


def _drain(spec: dict[str, Any], tell: Listener, _argv: tuple[str, ...]) -> int:
    from modelshelf.core.drain import DrainSpec, drain  # noqa: PLC0415

    tell(drain(DrainSpec.from_json(spec)))
    return 0


def _prime(spec: dict[str, Any], tell: Listener, argv: tuple[str, ...]) -> int:
    from modelshelf.core.prime import PrimeSpec, prime  # noqa: PLC0415

    return prime(PrimeSpec.from_json(spec), argv, tell, asked=_ASKED)


_VERBS = {"pull": _pull, "gate": _gate, "purge": _purge}
# Those that run beside an engine get its argv, and return an exit code.
_BESIDE: dict[str, Callable[[dict[str, Any], Listener, tuple[str, ...]], int]] = {
    "start": _start,
    "drain": _drain,
    "prime": _prime,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
