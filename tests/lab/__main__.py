"""`python -m lab`: build the parts of test clusters, and run commands where these live."""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lab
from lab import binaries, cluster, containerd, namespace
from lab.parts import TABLE, PartError, say
from lab.processes import StartError

_USAGE = """\
usage: python -m lab build [WHAT…]   make what tests need: {parts}
       python -m lab run COMMAND…    run a command where a cluster can start
       python -m lab shell           start a cluster, and a shell with kubectl in it
"""

# These take minutes each and wait for no other part, so they are begun first.
_FIRST = ("kubernetes", "llama-server", "vllm")
# These would wait for the ones above while others have work to do. kube-score could begin earlier,
# but beside Kubernetes it would compile Go's standard library a second time.
_LAST = ("kube-score", "images", "node-images", "machine-images", "machine-disk")
# Two compile, with two processes each, while the third mostly waits for the network.
_AT_ONCE = 3

# Every module, so that the table has what each of them registers.
for _module in pkgutil.iter_modules(lab.__path__):
    if _module.name != "__main__":
        importlib.import_module(f"lab.{_module.name}")


def main(args: list[str]) -> int:
    """Do what the words say and return the exit status."""
    verb, rest = (args[0], args[1:]) if args else ("", [])
    try:
        if verb == "build" and set(rest) <= set(TABLE):
            return _build(rest or list(TABLE))
        if verb == "run" and rest:
            return _inside(rest)
        if verb == "shell" and not rest:
            return _inside([sys.executable, "-m", "lab", "cluster-shell"])
        return _within(verb, rest)
    except (PartError, StartError) as error:
        say(str(error))
        return 1


def _within(verb: str, rest: list[str]) -> int:
    """What the verbs above run inside a namespace."""
    if verb == "inside" and rest:
        return namespace.begin(rest)
    if verb == "bake" and rest:
        containerd.bake(Path(rest[0]), [Path(archive) for archive in rest[1:]])
        return 0
    if verb == "cluster-shell":
        return _shell()
    sys.stderr.write(_USAGE.format(parts=" ".join(TABLE)))
    return 2


def _build(names: Sequence[str]) -> int:
    """Make parts side by side: some compile while others wait for the network."""
    started = time.monotonic()
    supported = _supported(names)
    # Compiling must not slow down whatever else this machine does.
    os.nice(5)
    failed = False
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        order = sorted(supported, key=lambda name: (name in _LAST) - (name in _FIRST))
        running = [pool.submit(TABLE[name].make) for name in order]
        for done in concurrent.futures.as_completed(running):
            if not done.cancelled() and (error := done.exception()):
                failed = True
                say(str(error))
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, PartError | StartError):
                    raise error
    if failed:
        return 1
    say(f"{len(supported)} parts are there after {time.monotonic() - started:.1f} s")
    return 0


def _supported(names: Sequence[str]) -> list[str]:
    """The parts that can be made on this machine; a line says why others are left out."""
    reasons = {name: (TABLE[name].why_not or namespace.why_not)() for name in names}
    for reason in sorted(set(filter(None, reasons.values()))):
        # No failure: the tests that need them are skipped for the same reason.
        left_out = [name for name in names if reasons[name] == reason]
        say(f"{', '.join(left_out)} left out: {reason}")
    return [name for name in names if reasons[name] is None]


def _inside(argv: list[str]) -> int:
    if reason := namespace.why_not():
        say(f"not in a namespace: {reason}")
        os.execvp(argv[0], argv)
    return namespace.enter(argv)


def _shell() -> int:
    with cluster.one_node() as started:
        programs = Path("/run/lab/bin")
        programs.mkdir()
        (programs / "kubectl").symlink_to(binaries.kubernetes() / "kubectl")
        env = {"KUBECONFIG": str(started.kubeconfig)}
        env["PATH"] = f"{programs}:{os.environ['PATH']}"
        say(f"logs in {started.logs}; the share is {started.share}; exit ends the cluster")
        shell = os.environ.get("SHELL") or "/bin/sh"
        return os.spawnvpe(os.P_WAIT, shell, [shell], {**os.environ, **env})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
