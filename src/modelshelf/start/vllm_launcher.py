"""Starts vLLM within its own interpreter: `python -P vllm_launcher.py MODE VLLM'S-COMMAND-LINE…`.

MODE is one of these:

- `mend` adds a method that torch lacks (see `mend`), and then runs what vLLM's command line would
  run. The method is needed in every process of vLLM. vLLM loads its plugins in each of them, so we
  add it by a plugin (see `_Plugin`).
- `fork` does the same, and has vLLM's processes forked from a zygote (see `vllm_zygote`).
- `fork-cpu` is `fork` for a vLLM that computes on the CPU.

Children that are spawned nevertheless run this file once more, by the name `__mp_main__`, and find
the plugin there.

Everything here runs in vLLM's process. So this file imports nothing but the standard library at
first. It imports our packages only when it needs them, and forgets them when it does not need them
any more: vLLM's environment may have a modelshelf of its own, and plugins that look for one.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from modelshelf.start.events import StartMode

MEND, FORK, FORK_ON_CPU = "mend", "fork", "fork-cpu"

_SERVER_MODULE = "vllm.entrypoints.launchers.api_server.entry"
# What `python -m` may run for the server. Both run the same.
_SERVER_COMMANDS = ("vllm.entrypoints.openai.api_server", _SERVER_MODULE)
_CLI_MODULE = "vllm.entrypoints.cli.main"
# What the other processes of an engine import, beside what the server does.
_ENGINE_MODULES = (
    "vllm.v1.engine.core",
    "vllm.v1.engine.async_llm",
    "vllm.v1.executor.multiproc_executor",
)
_CPU_MODULES = ("vllm.v1.worker.cpu_worker", "vllm.v1.attention.backends.cpu_attn")
# vLLM sets these before it starts children. Those that are forked have imported torch by then,
# which reads them at that time, and other values would give other compiled code.
_CPU_VARIABLES = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CPP_DYNAMIC_THREADS": "1"}
_BLAS_VARIABLE = "OPENBLAS_NUM_THREADS"
_PLUGIN_NAME = "modelshelf-mend"
_MAIN_NAMES = ("__main__", "__mp_main__")
# Hardly anything is garbage while modules are imported, and looking for it takes a fifth of the
# time. So Python looks for it less often until `mend` is called.
_GC_THRESHOLD_DURING_IMPORTS = 50_000
_GC_THRESHOLDS_BEFORE = gc.get_threshold()


def server_arguments(argv: Sequence[str]) -> tuple[str, ...] | None:
    """Return the arguments of vLLM's server in a command line; None if it runs something else."""
    match argv:
        case [_, "-m", module, *arguments] if module in _SERVER_COMMANDS:
            return tuple(arguments)
        case [_, "-m", module, "serve", *arguments] if module == _CLI_MODULE:
            return tuple(arguments)
        case [program, "serve", *arguments] if os.path.basename(program) == "vllm":
            return tuple(arguments)
    return None


def main(argv: Sequence[str]) -> None:
    """Run vLLM's server until it ends."""
    mode, command = argv[0], list(argv[1:])
    runs_module = command[1] == "-m"
    module = command[2] if runs_module else _CLI_MODULE
    if mode != MEND:
        _set_environment_of_children(on_cpu=mode == FORK_ON_CPU)
        _import_and_fork(mode, command, module)
    try:
        server = _CLI_MODULE if module == _CLI_MODULE else _SERVER_MODULE
        run_server = importlib.import_module(server).main
    except Exception as error:  # noqa: BLE001 - whatever it is, vLLM's own command line is better
        _run_stock(command, error)
    sys.argv = [command[0], *command[3:]] if runs_module else command
    sys.exit(run_server())


def mend() -> None:
    """Add a method to a class of torch. This is the plugin that vLLM calls in each process.

    vLLM 0.32 calls `finalize_loading` on compiled code that it has loaded from its cache. On the
    CPU that code is an object of a class of torch which has no such method. So vLLM does not use
    what it has loaded, and compiles everything again at each start.

    A process has imported what it runs when it loads plugins. So garbage is collected as usual
    from here on.
    """
    gc.set_threshold(*_GC_THRESHOLDS_BEFORE)
    module = importlib.import_module("torch._dynamo.aot_compile_types")
    compiled_code = module.BundledAOTAutogradSerializableCallable
    if not hasattr(compiled_code, "finalize_loading"):
        compiled_code.finalize_loading = lambda _self, _config: None


class _Plugin(importlib.metadata.Distribution):
    """A distribution that seems to be installed, with `mend` as a plugin of vLLM.

    vLLM looks for plugins by `importlib.metadata.entry_points`. Nothing need lie on the disk for
    it: a finder of `sys.meta_path` may answer.
    """

    def read_text(self, filename: str) -> str | None:
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: {_PLUGIN_NAME}\nVersion: 1\n",
            "entry_points.txt": f"[vllm.general_plugins]\n{_PLUGIN_NAME} = __main__:mend\n",
        }.get(filename)

    def locate_file(self, path: Any) -> Any:  # noqa: ANN401 - as its base class has it
        return path


class _PluginFinder(importlib.metadata.DistributionFinder):
    """Finds the plugin among the installed distributions, and no module."""

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: Any = None) -> Iterator[_Plugin]:  # noqa: ANN401
        if context is None or context.name in {None, _PLUGIN_NAME}:
            yield _Plugin()


def _set_environment_of_children(*, on_cpu: bool) -> None:
    """Give this process the environment that vLLM gives its children, which are copies of it.

    The dynamic linker reads LD_PRELOAD once, when a program begins. So this program begins again if
    the variable changes.
    """
    if not on_cpu:
        return
    os.environ.update(_CPU_VARIABLES)
    before = os.environ.get("LD_PRELOAD", "")
    preload = _extend_preload(before)
    if preload != before:
        os.environ["LD_PRELOAD"] = preload
        # The program and its arguments are our own.
        os.execv(sys.executable, [sys.executable, "-P", *sys.argv])  # noqa: S606


def _extend_preload(preload: str) -> str:
    """Add what vLLM has its children preload: torch's OpenMP, and an allocator."""
    torch, vllm = (_package_folder(name) for name in ("torch", "vllm"))
    openmp = _find_first(f"{torch}.libs/libgomp*.so*", f"{torch}/lib/libgomp*.so*")
    allocator = _find_first(f"{vllm}/libs/libtcmalloc_minimal*.so*", f"{vllm}/libs/libtcmalloc.so*")
    libraries = [preload] if preload else []
    if openmp and not re.search("libomp|libgomp|libiomp", preload):
        libraries.append(openmp)
    if allocator and "libtcmalloc" not in preload:
        libraries.insert(0, allocator)
    return ":".join(libraries)


def _package_folder(package: str) -> str:
    spec = importlib.util.find_spec(package)
    return os.path.dirname(spec.origin or "") if spec else ""


def _find_first(*patterns: str) -> str:
    return next((path for pattern in patterns for path in glob.glob(pattern)), "")


def _import_and_fork(mode: str, command: list[str], module: str) -> None:
    """Import what vLLM's processes need, and start the zygote that forks them.

    Where this process must not be copied, vLLM spawns its processes as ever, and the start is only
    mended.
    """
    modules_before = _add_our_packages()
    try:
        from modelshelf.start import vllm_zygote  # noqa: PLC0415 - it can be found only now

        cpu_modules = _CPU_MODULES if mode == FORK_ON_CPU else ()
        _import((_SERVER_MODULE, module, *_ENGINE_MODULES, *cpu_modules))
        reason = vllm_zygote.reason_against_forking()
    except Exception as error:  # noqa: BLE001 - whatever it is, vLLM's own command line is better
        _run_stock(command, error)
    if reason:
        _remove_our_packages(modules_before)
        _report("mended", command, reason)
    else:
        # Our packages stay importable here and in all copies of this process: a class of ours is
        # pickled for each child, by the name of its module.
        vllm_zygote.start_zygote()


def _import(modules: Iterable[str]) -> None:
    """Import modules without starting threads, and keep them out of the garbage collector."""
    gc.disable()
    # OpenBLAS starts threads when it is loaded, and a process with threads must not be forked.
    # vLLM hardly uses it: it is numpy's.
    before = os.environ.get(_BLAS_VARIABLE)
    os.environ[_BLAS_VARIABLE] = "1"
    for name in modules:
        importlib.import_module(name)
    del os.environ[_BLAS_VARIABLE]
    if before is not None:
        os.environ[_BLAS_VARIABLE] = before
    # The collector writes into each object that it visits, and a page that is written is copied. It
    # does not visit frozen ones.
    gc.freeze()
    gc.enable()


def _add_our_packages() -> dict[str, types.ModuleType]:
    """Make our packages importable, and nothing else.

    `shelf` and `start` lie in one folder `modelshelf`, in pods as in the source tree. To add the
    folder above it to `sys.path` would make everything importable that lies there, for example all
    other packages of the environment that modelshelf is installed in. So the package `modelshelf`
    is made by hand.

    Returns:
        The modules of these names that were imported before, for `_remove_our_packages`.
    """
    modules_before = _take_our_modules()
    package = types.ModuleType("modelshelf")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["modelshelf"] = package
    return modules_before


def _remove_our_packages(modules_before: dict[str, types.ModuleType]) -> None:
    """Undo `_add_our_packages`."""
    _take_our_modules()
    sys.modules.update(modules_before)


def _take_our_modules() -> dict[str, types.ModuleType]:
    """Remove all modules of a package `modelshelf` from `sys.modules`, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "modelshelf"]
    return {name: sys.modules.pop(name) for name in names}


def _run_stock(command: list[str], error: Exception) -> NoReturn:
    """Become what would run without this launcher."""
    _report("stock", command, f"importing it in advance failed: {error!r}")
    os.execvp(command[0], command)  # noqa: S606 - the engine's own command line


def _report(how: StartMode, command: list[str], reason: str) -> None:
    """Emit `EngineStarting` again: the one that `start` emitted says that the start is faster.

    vLLM runs whether or not this works. Where our packages cannot be imported, for example by a
    Python that is too old for them, the reason is written as plain text.
    """
    modules_before = _add_our_packages()
    try:
        from modelshelf.shelf.pod_command import event_line  # noqa: PLC0415 - found only now
        from modelshelf.start.events import EngineStarting  # noqa: PLC0415

        event = EngineStarting(tuple(command), how, reason)
        line = event_line(event.to_json(), with_time=True)
    except Exception:  # noqa: BLE001 - see above
        line = f"modelshelf: vLLM starts {how}: {reason}\n"
    finally:
        _remove_our_packages(modules_before)
    with contextlib.suppress(OSError):
        os.write(1, line.encode())


if __name__ in _MAIN_NAMES:
    sys.meta_path.append(_PluginFinder())
    gc.set_threshold(_GC_THRESHOLD_DURING_IMPORTS)

if __name__ == "__main__":
    main(sys.argv[1:])
