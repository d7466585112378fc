"""What `shelf` does in pods: `VERB SPEC.json`, with JSON lines as output (see `pod_command`).

A spec is one JSON object with `shelf`, the shelf's folder, and by verb:

- `gate`: `snapshot` (as in `.snapshot.json`) and `timeout` (seconds).
- `purge`: `repo_ids` (a list of `org/name`).
"""

import os
import sys

if not __package__:
    # A pod runs this file by its path. Then the folder above `modelshelf/` is not on sys.path yet.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from modelshelf.shelf import early_signals

if __name__ == "__main__":
    early_signals.record_sigterm()

from modelshelf.shelf import pod_command
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Listener
from modelshelf.shelf.gate import wait_for_snapshot
from modelshelf.shelf.pod_command import Spec, Verb, snapshot_in, text_in
from modelshelf.shelf.purge import purge


def _gate(spec: Spec, tell: Listener, _engine: tuple[str, ...]) -> int:
    timeout = spec.get("timeout", 0)
    if not isinstance(timeout, int | float):
        raise UsageError("the spec's timeout is not a number of seconds")
    wait_for_snapshot(text_in(spec, "shelf"), snapshot_in(spec), timeout=timeout, listener=tell)
    return 0


def _purge(spec: Spec, tell: Listener, _engine: tuple[str, ...]) -> int:
    repo_ids = spec.get("repo_ids")
    if not isinstance(repo_ids, list) or not all(isinstance(name, str) for name in repo_ids):
        raise UsageError("the spec's repo_ids is not a list of names")
    purge(text_in(spec, "shelf"), repo_ids, listener=tell)
    return 0


_VERBS = {"gate": Verb(_gate), "purge": Verb(_purge)}

if __name__ == "__main__":
    sys.exit(pod_command.main(__doc__, _VERBS, sys.argv[1:]))
