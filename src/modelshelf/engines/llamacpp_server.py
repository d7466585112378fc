"""The process of one llama.cpp server: `python -m modelshelf.engines.llamacpp_server --model …`.

It exits with 0 after SIGTERM once the requests under way are answered, with 98 where its port is
in use, with 2 for a parameter that llama.cpp does not have, and with 1 for a model that cannot be
loaded. What llama.cpp says goes to stderr.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Sequence
from typing import Any

import xllamacpp

from modelshelf.engines.listening import bind_errno, connections, stop_listening
from modelshelf.engines.spec import PORT_TAKEN

_QUIET = 0.5  # seconds without work after which idle connections no longer count
_LOOK = 0.05  # seconds between two looks while draining
_INFO = 3  # llama.cpp's verbosity: what it loads, and a few lines for each request


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, then answer what is under way; returns the exit code."""
    options = _parse(argv)
    if bind_errno(options.host, options.port) == errno.EADDRINUSE:
        return _fail(f"port {options.port} of {options.host} is in use", PORT_TAKEN)
    parameters = xllamacpp.CommonParams()
    _fill(parameters, options)
    try:
        for text in options.param:
            _set(parameters, text)
    except (AttributeError, TypeError, ValueError) as error:
        return _fail(f"llama.cpp cannot take this --param: {error}", 2)
    try:
        # Until the model is loaded nothing of Python runs, so SIGTERM keeps its default and kills.
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        taken = bind_errno(options.host, options.port) == errno.EADDRINUSE
        return _fail(f"could not serve {options.model}: {error}", PORT_TAKEN if taken else 1)
    _wait_for_sigterm()
    _drain(server, options.port)
    # The server's destructor can wait for ever for a client that does not read its answer.
    os._exit(0)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="llamacpp_server", description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file; of parts the first")
    parser.add_argument("--projector", help="the GGUF file that reads images or sound")
    parser.add_argument("--name", required=True, help="the model's name in the API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context-length", type=int, help="tokens for each request")
    parser.add_argument("--parallel", type=int, default=1, help="requests worked on at once")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any field of xllamacpp.CommonParams, such as n_gpu_layers=0",
    )
    return parser.parse_args(argv)


def _fill(parameters: Any, options: argparse.Namespace) -> None:  # noqa: ANN401 - it has no stubs
    parameters.model.path = options.model
    if options.projector:
        parameters.mmproj.path = options.projector
    parameters.model_alias = {options.name}
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.n_parallel = options.parallel
    if options.context_length is None:
        # One context of the model's own length, shared: as many contexts could fill any memory.
        parameters.kv_unified = True
    else:
        parameters.n_ctx = options.context_length * options.parallel
    threads = options.threads or _cores()
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = False
    parameters.verbosity = _INFO


def _cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _set(parameters: Any, text: str) -> None:  # noqa: ANN401 - it has no stubs
    """Set `NAME=VALUE`, where NAME may have dots and VALUE is read as what the field holds now.

    Raises:
        AttributeError, TypeError, ValueError: There is no such field, or it holds something else.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    *above, last = name.split(".")
    for part in above:
        parameters = getattr(parameters, part)
    setattr(parameters, last, _like(getattr(parameters, last), value, name))


def _like(now: object, value: str, name: str) -> object:
    """Read a value as the type of what a field holds now."""
    if isinstance(now, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {value!r}")
        return value.lower() == "true"
    if isinstance(now, int | float | str):
        return type(now)(value)
    raise ValueError(f"{name} is neither a number, text, nor true or false")


def _wait_for_sigterm() -> None:
    """Return on SIGTERM; a second one then kills. Exit at once if the parent dies."""
    reader, writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writer, b"."))
    # A pipe as standard input is a parent's, which closes it by dying. On Linux the kernel has
    # ended us by then (see targets); elsewhere this must do.
    tether = [0] if stat.S_ISFIFO(os.fstat(0).st_mode) else []
    if 0 in select.select([reader, *tether], [], [])[0]:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _drain(server: Any, port: int) -> None:  # noqa: ANN401 - it has no stubs
    """Take no new connection, and return when every request under way is answered.

    llama.cpp itself knows no such end: its stop cuts streams off, and waits for ever where a whole
    answer is being made (seen with xllamacpp 2026.10.11549). So only its listening socket goes.
    """
    stop_listening(port)
    quiet_since = time.monotonic()
    while connections(port):
        now = time.monotonic()
        if _busy(server.handle_metrics()):
            quiet_since = now
        elif now - quiet_since >= _QUIET:
            return
        time.sleep(_LOOK)


def _busy(metrics: str) -> bool:
    """Whether llama.cpp's own counters, in Prometheus' text form, speak of work."""
    counts = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    return any(float(m.split()[1]) > 0 for m in metrics.splitlines() if m.startswith(counts))


def _fail(problem: str, code: int) -> int:
    sys.stderr.write(f"modelshelf: {problem}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
