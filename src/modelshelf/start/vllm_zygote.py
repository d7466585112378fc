"""A fork server for vLLM: processes that are forked from one which has imported vLLM already.

vLLM consists of a server, an engine core and workers, each a Python process. By default it *spawns*
them: each is a new interpreter, which imports torch and vLLM again. That takes many seconds of
processor time for each. A *zygote* is a process that has done the imports and does nothing but
fork. Each child is a copy of it and begins with everything imported. The kernel copies a page of
memory only when one of the processes writes to it, so a copy takes milliseconds.

Why a zygote, and not fork() in the server itself? vLLM starts its children when the server has
threads already. fork() copies only the thread that calls it. A lock that another thread holds at
that moment stays locked in the copy for ever, and the copy hangs when it needs the lock. For the
same reason the zygote must not have threads: `reason_against_forking` looks for them. It also
looks for an initialised CUDA, which does not survive a fork. So the zygote itself is forked as soon
as the imports are done, and before anything else has happened.

What a child has from the zygote: the imported modules, and whatever they did when they were
imported. What it has not: anything that happened in its parent since then. A spawned child would
not have that, either. It gets its target and arguments pickled, as a spawned child does, and this
module adds the environment that its parent has at that time. Random numbers are seeded anew.

The standard library's fork server (`multiprocessing.forkserver`) does the work. It normally starts
an interpreter of its own; here it is a copy of this process. vLLM asks for the start method
`spawn`, so that is the one that is replaced.
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

_OPENMP_VARIABLES = ("OMP_NUM_THREADS", "GOMP_CPU_AFFINITY", "OMP_PLACES", "KMP_AFFINITY")
_MODEL_REGISTRY = "vllm.model_executor.models.registry"


class ForkedProcess(process.BaseProcess):
    """A child process that the zygote forks. vLLM has asked for one that is spawned."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj: Any) -> popen_forkserver.Popen:  # noqa: ANN401, N802 (its name there)
        return popen_forkserver.Popen(process_obj)

    def __reduce__(
        self,
    ) -> tuple[Callable[..., ForkedProcess], tuple[Any, ...], dict[str, Any]]:
        """Pickle the environment in front of everything else.

        The child then has it before it unpickles the target, whose modules may read it as they are
        imported.
        """
        return _create_in_child, (dict(os.environ), type(self)), dict(self.__dict__)


class ForkingContext(context.SpawnContext):
    """The context `spawn` of multiprocessing, but its processes are forked from the zygote."""

    Process = ForkedProcess  # type: ignore[assignment]


def reason_against_forking() -> str:
    """Say why this process must not be copied; empty if it may be."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"there are {threads} threads after the imports"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialised after the imports"
    return ""


def start_zygote() -> None:
    """Fork a copy of this process as the zygote, and have it fork every child from now on."""
    # The zygote and all children must share one resource tracker, which the parent starts.
    resource_tracker.ensure_running()
    _replace_spawn()
    with contextlib.suppress(ImportError):
        # setproctitle looks for the place of a process's title by where its environment lies. The
        # environment moves when it is changed, so the library must look now.
        importlib.import_module("setproctitle").getproctitle()
    listener = socket.socket(socket.AF_UNIX)
    address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    listener.bind(address)
    if not util.is_abstract_socket_namespace(address):
        os.chmod(address, 0o600)
    listener.listen()
    # The server and its children hold the writing end. When the last of them has ended, the zygote
    # reads the end of the file, and ends too.
    alive_reader, alive_writer = os.pipe()
    # Text in these buffers would be written twice, once by each process.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(alive_writer)
        _serve(listener, alive_reader)
    os.close(alive_reader)
    listener.close()
    server = _fork_server()
    server._forkserver_address = address  # noqa: SLF001
    server._forkserver_alive_fd = alive_writer  # noqa: SLF001
    server._forkserver_pid = pid  # noqa: SLF001


def _fork_server() -> Any:  # noqa: ANN401 - private to the standard library
    """Return the standard library's record of the fork server."""
    return forkserver._forkserver  # noqa: SLF001


def _replace_spawn() -> None:
    """Have everything that would be spawned be forked from the zygote."""
    # A child that starts children of its own would start a second server. The zygote serves it.
    _fork_server().ensure_running = resource_tracker.ensure_running
    context._concrete_contexts["spawn"] = ForkingContext()  # type: ignore[attr-defined]  # noqa: SLF001
    with contextlib.suppress(ImportError):
        registry: Any = importlib.import_module(_MODEL_REGISTRY)
        if hasattr(registry, "_run_in_subprocess"):
            registry._run_in_subprocess = _run_in_child  # noqa: SLF001


def _serve(listener: socket.socket, alive_reader: int) -> None:
    """Be the zygote: fork children until nobody can ask for one any more. It does not return."""
    exit_code = 1
    try:
        # The zygote is a child of the server, but multiprocessing in it is as in a first process.
        process._parent_process = None  # type: ignore[attr-defined]  # noqa: SLF001
        forkserver.main(listener.detach(), alive_reader, [])
    except SystemExit:
        exit_code = 0
    except BaseException:  # noqa: BLE001 - the copy must not go on as the server that it is a copy of
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(exit_code)


def _create_in_child(env: Mapping[str, str], kind: type[ForkedProcess]) -> ForkedProcess:
    """Create the process object in the child, which has the zygote's environment until then."""
    openmp_before = {name: os.environ.get(name) for name in _OPENMP_VARIABLES}
    os.environ.clear()
    os.environ.update(env)
    if openmp_before != {name: env.get(name) for name in _OPENMP_VARIABLES}:
        _apply_openmp_variables(env)
    if "numpy" in sys.modules:
        # All children would draw the same numbers.
        sys.modules["numpy"].random.seed()
    return kind.__new__(kind)


def _apply_openmp_variables(env: Mapping[str, str]) -> None:
    """Set the processors and the number of threads that OpenMP would read from its variables.

    OpenMP read them when torch was imported in the zygote, and reads them once only.
    """
    proclist = re.search(r"proclist=\[([^]]*)]", env.get("KMP_AFFINITY", ""))
    places = proclist[1] if proclist else env.get("GOMP_CPU_AFFINITY") or env.get("OMP_PLACES", "")
    if cpus := {int(number) for number in re.findall(r"\d+", places)}:
        os.sched_setaffinity(0, cpus)
    threads = env.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))


def _run_in_child(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - as vLLM has it
    """Call a function in a child process, and return its result.

    vLLM looks at a model's class in this way, so that importing the model initialises no CUDA in
    the server. Its own function for this starts an interpreter.
    """
    cloudpickle: Any = importlib.import_module("cloudpickle")
    spawn = multiprocessing.get_context("spawn")
    reader, writer = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_send_result, args=(cloudpickle.dumps(function), writer))
    child.start()
    writer.close()
    try:
        return reader.recv()
    except EOFError:
        raise RuntimeError("the process that looks at the model's class died") from None
    finally:
        reader.close()
        child.join()


def _send_result(pickled_function: bytes, writer: Any) -> None:  # noqa: ANN401 - a Connection
    importlib.import_module("vllm.plugins").load_general_plugins()
    writer.send(pickle.loads(pickled_function)())  # noqa: S301 - our own parent pickled it
