"""`python -m lab`: build the parts of test clusters, and run commands where these live."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from support import real_model

from lab import binaries, cluster, containerd, control, images, machines, namespace, vllm_image
from lab.parts import PartError, say
from lab.processes import StartError

_USAGE = """\
usage: python -m lab build [WHAT…]   make what tests need: {parts}
       python -m lab run COMMAND…    run a command where a cluster can start
       python -m lab shell           start a cluster, and a shell with kubectl in it
"""


def _bake() -> object:
    # The containerd that imports images mounts layers: those vanish with their namespace.
    with tempfile.TemporaryDirectory() as folder:
        status = namespace.enter([sys.executable, "-m", "lab", "bake", folder])
    if status:
        raise PartError(f"importing images failed with {status}")
    return status


_PARTS: Mapping[str, Callable[[], object]] = {
    "tools": control.tools,
    "kubernetes": binaries.kubernetes,
    "kube-score": binaries.kube_score,
    "images": images.images,
    "containerd": _bake,
    "nodes": machines.prepare,
    "model": real_model.smollm2,
}


def main(args: list[str]) -> int:
    """Do what the words say and return the exit status."""
    verb, rest = (args[0], args[1:]) if args else ("", [])
    try:
        if verb == "build" and set(rest) <= set(_PARTS):
            return _build(rest or list(_PARTS))
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
    if verb == "bake":
        containerd.baked(images.images())
        containerd.baked((*images.images(), vllm_image.image()))
        return 0
    if verb == "cluster-shell":
        return _shell()
    sys.stderr.write(_USAGE.format(parts=" ".join(_PARTS)))
    return 2


def _build(names: list[str]) -> int:
    if reason := namespace.why_not():
        # No failure: tests that need a cluster are left out by the same words.
        say(f"nothing built: {reason}")
        return 0
    started = time.monotonic()
    for name in names:
        _PARTS[name]()
    say(f"all parts are there after {time.monotonic() - started:.1f} s")
    return 0


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
