"""A process that has imported everything; whoever would spawn a child gets a copy of it instead.

The machinery is the standard library's fork server, which begins here as a copy of a process that
has imported what children need, and not as an interpreter that imports it again. A child finds the
environment, arguments, folder and descriptors that a spawned one would.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pickle
import re
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing import (
    connection,
    context,
    forkserver,
    popen_forkserver,
    process,
    resource_tracker,
    util,
)
from typing import Any

_OPENMP = ("OMP_NUM_THREADS", "GOMP_CPU_AFFINITY", "OMP_PLACES", "KMP_AFFINITY")
_REGISTRY = "vllm.model_executor.models.registry"


class Process(process.BaseProcess):
    """A child that is forked from the zygote, where one was to be spawned."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj: Any) -> popen_forkserver.Popen:  # noqa: ANN401, N802 (its name there)
        return popen_forkserver.Popen(process_obj)

    def __reduce__(self) -> tuple[Callable[..., Process], tuple[Any, ...], dict[str, Any]]:
        """What the child makes of it: its environment comes first, as for one that is spawned."""
        return _born, (dict(os.environ), type(self)), dict(self.__dict__)


class Context(context.SpawnContext):
    """The context `spawn`, whose children are forked."""

    Process = Process  # type: ignore[assignment]


def why_not() -> str:
    """Why this process must not be copied; empty if it may be."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"there are {threads} threads after the imports"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialised after the imports"
    return ""


def begin() -> None:
    """Leave a copy of this process behind, and let children be copies of that one from now on."""
    resource_tracker.ensure_running()
    server: Any = forkserver._forkserver  # noqa: SLF001
    # Children would start a server of their own for their children.
    server.ensure_running = resource_tracker.ensure_running
    context._concrete_contexts["spawn"] = Context()  # type: ignore[attr-defined]  # noqa: SLF001
    with contextlib.suppress(ImportError):
        registry: Any = importlib.import_module(_REGISTRY)
        if hasattr(registry, "_run_in_subprocess"):
            registry._run_in_subprocess = _run_in_copy  # noqa: SLF001
    with contextlib.suppress(ImportError):
        # It finds where a process has its title by where its environment is, which moves.
        importlib.import_module("setproctitle").getproctitle()
    listener = socket.socket(socket.AF_UNIX)
    address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    listener.bind(address)
    if not util.is_abstract_socket_namespace(address):
        os.chmod(address, 0o600)
    listener.listen()
    # Whoever holds the other end lives; when nobody does, the server ends.
    alive, lives = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(lives)
        _serve(listener, alive)
    os.close(alive)
    listener.close()
    server._forkserver_address = address  # noqa: SLF001
    server._forkserver_alive_fd = lives  # noqa: SLF001
    server._forkserver_pid = pid  # noqa: SLF001


def _serve(listener: socket.socket, alive: int) -> None:
    code = 1
    try:
        process._parent_process = None  # type: ignore[attr-defined]  # noqa: SLF001
        forkserver.main(listener.detach(), alive, [])
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of it may go on as the server it was copied from
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _born(env: Mapping[str, str], kind: type[Process]) -> Process:
    """In the child, before anything of its process object is read."""
    before = {name: os.environ.get(name) for name in _OPENMP}
    os.environ.clear()
    os.environ.update(env)
    if before != {name: env.get(name) for name in _OPENMP}:
        _bind(env)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # else all copies would draw the same numbers
    return kind.__new__(kind)


def _bind(env: Mapping[str, str]) -> None:
    """Tell OpenMP what it read from its variables when torch was imported, and what is new."""
    proclist = re.search(r"proclist=\[([^]]*)]", env.get("KMP_AFFINITY", ""))
    places = proclist[1] if proclist else env.get("GOMP_CPU_AFFINITY") or env.get("OMP_PLACES", "")
    if cpus := {int(number) for number in re.findall(r"\d+", places)}:
        os.sched_setaffinity(0, cpus)
    threads = env.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))


def _run_in_copy(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - as vLLM has it
    """Call something in a child: vLLM looks at a model's class so, in an interpreter of its own."""
    cloudpickle: Any = importlib.import_module("cloudpickle")
    spawn = multiprocessing.get_context("spawn")
    reader, writer = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_answer, args=(cloudpickle.dumps(function), writer))
    child.start()
    writer.close()
    try:
        return reader.recv()
    except EOFError:
        raise RuntimeError("the process that looks at the model's class died") from None
    finally:
        reader.close()
        child.join()


def _answer(pickled: bytes, writer: Any) -> None:  # noqa: ANN401 - a Connection
    importlib.import_module("vllm.plugins").load_general_plugins()
    writer.send(pickle.loads(pickled)())  # noqa: S301 (our own parent's)
