"""What `start` does in pods, and on this machine for `serve`: `VERB SPEC.json [-- ENGINE …]`.

Output is JSON lines (see `pod_command`). A spec is one JSON object. Its keys depend on the verb:

- `start` runs the engine whose command line stands behind `--`, and exits with its exit code. All
  keys are optional: `health` (the URL that answers 200 once the engine is ready), `prefetch`
  (`paths`: files and folders to read into the page cache, `memory`: how many bytes at most),
  `compile_cache` (`folder`: the shelf's `compile-cache`, `snapshot`: `org/name@id`, `into`: the
  folder to unpack it to), and `fast` (`fork`: whether vLLM's processes may be forked).
- `drain` waits until the engine on this host has no request. It needs `port`. Optional are
  `metrics` (a path), `settle` (seconds to wait at least), `quiet` (seconds without a request) and
  `most` (seconds to wait at most).
- `prime` runs the engine whose command line stands behind `--` once, and publishes what it
  compiled. It needs `shelf` (the shelf's folder), `health` and `compile_cache` as later starts have
  them, and `timeout` (seconds until the engine must be ready). Optional is `ask` (`url`, and the
  JSON `body` to post there once).
"""

import os
import sys

if not __package__:
    # Run as a file: the folder above `modelshelf/` is not on the path yet.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from modelshelf.shelf import early_signals

if __name__ == "__main__":
    early_signals.record_sigterm()

from modelshelf.shelf import pod_command
from modelshelf.shelf.events import Listener
from modelshelf.shelf.pod_command import Spec, Verb
from modelshelf.start.drain import DrainSpec, drain
from modelshelf.start.prime import PrimeSpec, prime
from modelshelf.start.supervisor import StartSpec, start


def _start(spec: Spec, tell: Listener, engine: tuple[str, ...]) -> int:
    return start(StartSpec.from_json(spec), engine, tell, received=early_signals.received)


def _drain(spec: Spec, tell: Listener, _engine: tuple[str, ...]) -> int:
    tell(drain(DrainSpec.from_json(spec)))
    return 0


def _prime(spec: Spec, tell: Listener, engine: tuple[str, ...]) -> int:
    return prime(PrimeSpec.from_json(spec), engine, tell, received=early_signals.received)


_VERBS = {
    "start": Verb(_start, beside_engine=True, leaves_outcome=False),
    "drain": Verb(_drain, beside_engine=True, leaves_outcome=False),
    "prime": Verb(_prime, beside_engine=True),
}

if __name__ == "__main__":
    sys.exit(pod_command.main(__doc__, _VERBS, sys.argv[1:]))
