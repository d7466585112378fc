"""The pods' command line: `pull SPEC.json` and `gate SPEC.json`, which speak JSON lines.

A spec is one JSON object: `shelf` (a folder), `snapshot` (as in `.snapshot.json`), and for a pull
`endpoint` (the Hub's base URL), for a gate `timeout` (seconds). The token comes from HF_TOKEN.
"""

import os
import sys

if __package__ in {None, ""}:
    # Run as a file, by `python3 -I -S`: the folder above `modelshelf/core` is not on the path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import argparse
import json
import signal
import types
from typing import Any

from modelshelf.core.errors import Error, UsageError
from modelshelf.core.events import Event
from modelshelf.core.gate import gate
from modelshelf.core.model import Snapshot
from modelshelf.core.pull import PullSpec, pull
from modelshelf.core.shelf import Shelf
from modelshelf.core.transfer import hub_origin


def main(argv: list[str]) -> int:
    """Run a verb; its events and its error are JSON lines on stdout.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="core", description=__doc__)
    parser.add_argument("verb", choices=sorted(_VERBS))
    parser.add_argument("spec", help="a JSON file that says what to do")
    arguments = parser.parse_args(argv)
    # As the first process of a container it would not die of SIGTERM without a handler.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _VERBS[arguments.verb](_read_spec(arguments.spec))
    except Error as error:
        _print(
            {
                "event": "error",
                "message": str(error),
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        )
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM
    return 0


def _interrupt(_signal: int, _frame: types.FrameType | None) -> None:
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


def _pull(spec: dict[str, Any]) -> None:
    snapshot = _snapshot(spec)
    origin = hub_origin(_text(spec, "endpoint"), snapshot, os.environ.get("HF_TOKEN"))
    pull(Shelf.create(_text(spec, "shelf")), PullSpec(snapshot, origin), listener=_event)


def _gate(spec: dict[str, Any]) -> None:
    timeout = spec.get("timeout", 0)
    if not isinstance(timeout, int | float):
        raise UsageError("the spec's timeout is not a number of seconds")
    gate(_text(spec, "shelf"), _snapshot(spec), timeout=timeout, listener=_event)


def _event(event: Event) -> None:
    _print(event.to_json())


def _print(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


_VERBS = {"pull": _pull, "gate": _gate}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
