"""Starts vLLM within its own interpreter: `python -P launcher.py HOW VLLM'S-COMMAND-LINE…`.

HOW is `mend`, or `fork` and `fork-cpu`, which mend, too. Everything else is vLLM's own doing: what
its command line would run runs here. Children that were not forked run this file once more, by
another name, and find what mends there.
"""

from __future__ import annotations

import gc
import glob
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import time
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

MEND, FORK, FORK_CPU = "mend", "fork", "fork-cpu"

_SERVER = "vllm.entrypoints.launchers.api_server.entry"
_MODULES = ("vllm.entrypoints.openai.api_server", _SERVER)  # of `python -m`, which run the same
_CLI = "vllm.entrypoints.cli.main"
# What the processes of an engine import, beside what serves.
_CORE = ("vllm.v1.engine.core", "vllm.v1.engine.async_llm", "vllm.v1.executor.multiproc_executor")
_ON_CPU = ("vllm.v1.worker.cpu_worker", "vllm.v1.attention.backends.cpu_attn")
# vLLM sets these before it starts children; those that are forked have torch imported by then, and
# with other values their compiled code would be another.
_FOR_CPU = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CPP_DYNAMIC_THREADS": "1"}
_BLAS = "OPENBLAS_NUM_THREADS"
_PLUGIN = "modelshelf-mend"
_MAIN = ("__main__", "__mp_main__")
# Nothing of what is imported is garbage: looking for it takes a fifth of the time.
_SELDOM = 50_000
_USUAL = gc.get_threshold()


def arguments(argv: Sequence[str]) -> tuple[str, ...] | None:
    """The arguments of `vllm serve` in a command line; None if it runs something else."""
    match argv:
        case [_, "-m", module, *rest] if module in _MODULES:
            return tuple(rest)
        case [_, "-m", module, "serve", *rest] if module == _CLI:
            return tuple(rest)
        case [program, "serve", *rest] if os.path.basename(program) == "vllm":
            return tuple(rest)
    return None


def main(argv: Sequence[str]) -> None:
    """Serve until the engine ends."""
    how, command = argv[0], list(argv[1:])
    module = command[2] if command[1] == "-m" else _CLI
    if how != MEND:
        _environment(how == FORK_CPU)
        _fork(how, command, module)
    try:
        serve = importlib.import_module(_CLI if module == _CLI else _SERVER).main
    except Exception as error:  # noqa: BLE001 - whatever it is, the stock start knows better
        _stock(command, error)
    sys.argv = [command[0], *command[3:]] if command[1] == "-m" else command
    sys.exit(serve())


def mend() -> None:
    """Give a class of torch what vLLM calls after it has loaded compiled code again.

    On the CPU vLLM 0.32 compiles everything once more at each start without it. vLLM calls its
    plugins once a process has imported what it runs: time to look for garbage as usual, too.
    """
    gc.set_threshold(*_USUAL)
    module = importlib.import_module("torch._dynamo.aot_compile_types")
    kind = module.BundledAOTAutogradSerializableCallable
    if not hasattr(kind, "finalize_loading"):
        kind.finalize_loading = lambda _self, _config: None


class _Plugin(importlib.metadata.Distribution):
    """An installed distribution, as far as vLLM asks: one entry point, and nothing on the disk."""

    def read_text(self, filename: str) -> str | None:
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: {_PLUGIN}\nVersion: 1\n",
            "entry_points.txt": "[vllm.general_plugins]\nmodelshelf-mend = __main__:mend\n",
        }.get(filename)

    def locate_file(self, path: Any) -> Any:  # noqa: ANN401 - as its base class has it
        return path


class _Finder(importlib.metadata.DistributionFinder):
    """Finds the plugin."""

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: Any = None) -> Iterator[_Plugin]:  # noqa: ANN401
        if context is None or context.name in {None, _PLUGIN}:
            yield _Plugin()


def _environment(cpu: bool) -> None:  # noqa: FBT001
    """Give this process the environment of vLLM's children: it is what they are forked from."""
    if not cpu:
        return
    os.environ.update(_FOR_CPU)
    before = os.environ.get("LD_PRELOAD", "")
    preloaded = _preloads(before)
    if preloaded != before:
        os.environ["LD_PRELOAD"] = preloaded
        os.execv(sys.executable, [sys.executable, "-P", *sys.argv])  # noqa: S606 (this program)


def _preloads(preloaded: str) -> str:
    """What vLLM lets its children load first: torch's OpenMP, and an allocator."""
    torch, vllm = (_folder(name) for name in ("torch", "vllm"))
    openmp = _first(f"{torch}.libs/libgomp*.so*", f"{torch}/lib/libgomp*.so*")
    allocator = _first(f"{vllm}/libs/libtcmalloc_minimal*.so*", f"{vllm}/libs/libtcmalloc.so*")
    parts = [preloaded] if preloaded else []
    if openmp and not re.search("libomp|libgomp|libiomp", preloaded):
        parts.append(openmp)
    if allocator and "libtcmalloc" not in preloaded:
        parts.insert(0, allocator)
    return ":".join(parts)


def _folder(package: str) -> str:
    spec = importlib.util.find_spec(package)
    return os.path.dirname(spec.origin or "") if spec else ""


def _first(*patterns: str) -> str:
    return next((path for pattern in patterns for path in glob.glob(pattern)), "")


def _fork(how: str, command: list[str], module: str) -> None:
    """Import all that there is, and leave a process behind that the others are forked from."""
    try:
        _find_ours()
        from modelshelf.start import vllm_zygote  # noqa: PLC0415 - not before it can be found

        _import((_SERVER, module, *_CORE, *(_ON_CPU if how == FORK_CPU else ())))
        reason = vllm_zygote.why_not()
    except Exception as error:  # noqa: BLE001 - whatever it is, the stock start knows better
        _stock(command, error)
    if reason:
        _tell("mended", command, reason)
    else:
        vllm_zygote.begin()


def _import(modules: Iterable[str]) -> None:
    gc.disable()
    # OpenBLAS starts threads as it is loaded, and there must be none; numpy's is hardly used.
    own = os.environ.get(_BLAS)
    os.environ[_BLAS] = "1"
    for name in modules:
        importlib.import_module(name)
    del os.environ[_BLAS]
    if own is not None:
        os.environ[_BLAS] = own
    gc.freeze()
    gc.enable()


def _find_ours() -> None:
    """Let the files beside this one be found. The folder above them may hold anything else."""
    here = os.path.dirname(os.path.abspath(__file__))
    for package, folder in (("modelshelf", os.path.dirname(here)), ("modelshelf.start", here)):
        module = types.ModuleType(package)
        module.__path__ = [folder]
        sys.modules[package] = module


def _stock(command: list[str], error: Exception) -> NoReturn:
    """Become what would have run without this."""
    _tell("stock", command, f"importing it in advance failed: {error!r}")
    os.execvp(command[0], command)  # noqa: S606 (the engine's own)


def _tell(how: str, command: list[str], reason: str) -> None:
    """Take back what was said of this start."""
    told: dict[str, Any] = {"event": "engine-starting", "argv": command, "how": how}
    line = json.dumps(told | {"reason": reason, "time": round(time.time(), 3)})
    os.write(1, line.encode() + b"\n")


if __name__ in _MAIN:
    sys.meta_path.append(_Finder())
    gc.set_threshold(_SELDOM)

if __name__ == "__main__":
    main(sys.argv[1:])
