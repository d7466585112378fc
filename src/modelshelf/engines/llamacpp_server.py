"""The process of one llama.cpp server: `python -m modelshelf.engines.llamacpp_server --model …`.

After SIGTERM it finishes the requests that it has and exits with 0. It exits with 98 if its port
is in use, with 2 for a parameter that llama.cpp does not have, and with 1 for a model that cannot
be loaded. llama.cpp's log goes to stderr.
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

from modelshelf.engines.cpu_cores import usable_cores
from modelshelf.engines.listening_sockets import bind_errno, count_connections, stop_listening
from modelshelf.engines.local_engine import PORT_IN_USE_EXIT_CODE

_QUIET_SECONDS = 0.5  # without work; after it, connections that are still open count as idle
_POLL_SECONDS = 0.05  # while draining
_INFO_VERBOSITY = 3  # llama.cpp logs what it loads, and a few lines for each request


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, then finish the requests that are being worked on.

    Args:
        argv: The arguments; None for those of this process.

    Returns:
        The exit code, if the server could not start. Otherwise the process exits here.
    """
    options = _parse_arguments(argv)
    if bind_errno(options.host, options.port) == errno.EADDRINUSE:
        return _fail(f"port {options.port} of {options.host} is in use", PORT_IN_USE_EXIT_CODE)
    parameters = xllamacpp.CommonParams()
    _set_parameters(parameters, options)
    try:
        for assignment in options.param:
            _set_parameter(parameters, assignment)
    except (AttributeError, TypeError, ValueError) as error:
        return _fail(f"llama.cpp cannot take this --param: {error}", 2)
    try:
        # No Python code runs until the model is loaded, so a handler of SIGTERM would run too late.
        # Until then the signal keeps its default action and ends the process.
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        in_use = bind_errno(options.host, options.port) == errno.EADDRINUSE
        code = PORT_IN_USE_EXIT_CODE if in_use else 1
        return _fail(f"could not serve {options.model}: {error}", code)
    _wait_for_sigterm()
    _drain(server, options.port)
    # Exit without the server's destructor, which waits for ever for a client that does not read.
    os._exit(0)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="llamacpp_server", description=__doc__)
    parser.add_argument("--model", required=True, help="the GGUF file, or the first of its parts")
    parser.add_argument("--projector", help="the GGUF file for images or sound")
    parser.add_argument("--name", required=True, help="the model's name in the API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context-length", type=int, help="tokens for each request")
    parser.add_argument("--parallel", type=int, default=1, help="requests to work on at once")
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any field of xllamacpp.CommonParams, such as n_gpu_layers=0",
    )
    return parser.parse_args(argv)


def _set_parameters(
    parameters: Any,  # noqa: ANN401 - xllamacpp has no type stubs
    options: argparse.Namespace,
) -> None:
    parameters.model.path = options.model
    if options.projector:
        parameters.mmproj.path = options.projector
    parameters.model_alias = {options.name}
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.n_parallel = options.parallel
    if options.context_length is None:
        # All requests share one context of the model's own length. One context for each request
        # could fill the memory.
        parameters.kv_unified = True
    else:
        parameters.n_ctx = options.context_length * options.parallel
    threads = options.threads or usable_cores()
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = False
    parameters.verbosity = _INFO_VERBOSITY


def _set_parameter(
    parameters: Any,  # noqa: ANN401 - xllamacpp has no type stubs
    assignment: str,
) -> None:
    """Set one field from `NAME=VALUE`; NAME may have dots, and the field decides VALUE's type.

    Raises:
        AttributeError, TypeError, ValueError: There is no such field, or it has another type.
    """
    name, separator, value = assignment.partition("=")
    if not separator:
        raise ValueError(f"{assignment!r} is not NAME=VALUE")
    *parents, last = name.split(".")
    for parent in parents:
        parameters = getattr(parameters, parent)
    setattr(parameters, last, _convert(value, getattr(parameters, last), name))


def _convert(value: str, current: object, name: str) -> object:
    """Convert a value to the type of a field's current value."""
    if isinstance(current, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {value!r}")
        return value.lower() == "true"
    if isinstance(current, int | float | str):
        return type(current)(value)
    raise ValueError(f"{name} is neither a number, text, nor true or false")


def _wait_for_sigterm() -> None:
    """Return on the first SIGTERM; a second one ends the process. Exit if the parent dies.

    The parent holds the other end of a pipe that is this process's standard input, and its death
    closes that end. On Linux the kernel then ends this process by a signal (see
    `start.parent_death`). Other systems send no such signal, so this function watches the pipe.
    """
    reader, writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writer, b"."))
    parent_pipe = [0] if stat.S_ISFIFO(os.fstat(0).st_mode) else []
    if 0 in select.select([reader, *parent_pipe], [], [])[0]:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _drain(server: Any, port: int) -> None:  # noqa: ANN401 - xllamacpp has no type stubs
    """Accept no new connection, and return when every request is answered.

    The server's own `stop` does not do this. It cuts streams off, and it waits for ever while an
    answer that does not stream is being made (seen with xllamacpp 2026.10.11549). So the server
    keeps running, and only its listening socket is taken away.
    """
    stop_listening(port)
    quiet_since = time.monotonic()
    while count_connections(port):
        now = time.monotonic()
        if _is_busy(server.handle_metrics()):
            quiet_since = now
        elif now - quiet_since >= _QUIET_SECONDS:
            return
        time.sleep(_POLL_SECONDS)


def _is_busy(metrics: str) -> bool:
    """Whether llama.cpp's metrics, in Prometheus' text format, count any request."""
    gauges = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    return any(
        float(line.split()[1]) > 0 for line in metrics.splitlines() if line.startswith(gauges)
    )


def _fail(problem: str, code: int) -> int:
    sys.stderr.write(f"modelshelf: {problem}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
