"""What `transfer` does in pods: `pull SPEC.json`, with JSON lines as output (see `pod_command`).

The spec is one JSON object:

- `shelf`: the shelf's folder.
- `snapshot`: what to pull, as in `.snapshot.json`.
- `endpoint`: the Hub's base URL.
- `from` (optional): a folder with an earlier download.

The Hub's token comes from the variable HF_TOKEN.
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
from modelshelf.shelf.events import Listener
from modelshelf.shelf.pod_command import Spec, Verb, snapshot_in, text_in
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.pull import PullSpec, pull


def _pull(spec: Spec, tell: Listener, _engine: tuple[str, ...]) -> int:
    snapshot = snapshot_in(spec)
    endpoint = text_in(spec, "endpoint")
    source = HubSource.of_snapshot(endpoint, snapshot, os.environ.get("HF_TOKEN"))
    folder = text_in(spec, "from") if "from" in spec else None
    shelf = Shelf.create(text_in(spec, "shelf"), shared=True)
    pull(shelf, PullSpec(snapshot, source, folder, link=True), listener=tell)
    return 0


if __name__ == "__main__":
    sys.exit(pod_command.main(__doc__, {"pull": Verb(_pull)}, sys.argv[1:]))
