"""Choosing the fastest start of an engine that is safe, and saying why it is not faster."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from modelshelf.shelf.errors import Error
from modelshelf.start import vllm_launcher, vllm_tested
from modelshelf.start.events import StartMode
from modelshelf.start.interpreter import find_interpreter, probe_interpreter


@dataclasses.dataclass(frozen=True, slots=True)
class EngineCommand:
    """What is run instead of an engine's own command line.

    Attributes:
        argv: The command line.
        how: How it starts the engine; see `StartMode`.
        reason: Why it is not faster; empty if nothing is against it.
    """

    argv: tuple[str, ...]
    how: StartMode
    reason: str = ""


def choose_command(
    argv: Sequence[str], *, fork: bool | None, env: Mapping[str, str]
) -> EngineCommand:
    """Choose the fastest start of an engine that was tested. It never fails.

    Args:
        argv: The engine's own command line.
        fork: Whether its processes may be forked; None to start it by its own command line.
        env: The engine's environment.
    """
    stock = tuple(argv)
    if fork is None:
        return EngineCommand(stock, "stock")
    # The launcher runs with -P as well, and expects the engine's command line without it.
    without_p = (stock[0], *stock[2:]) if stock[1:2] == ("-P",) else stock
    arguments = vllm_launcher.server_arguments(without_p)
    if arguments is None:
        return EngineCommand(stock, "stock", "this is not vLLM's server")
    try:
        python = find_interpreter(stock, env)
        versions = probe_interpreter(stock, env).versions
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine's own start is there
        reason = str(error) if isinstance(error, Error) else repr(error)
        return EngineCommand(stock, "stock", reason)
    if reason := vllm_tested.reason_against_mending(versions, env):
        return EngineCommand(stock, "stock", reason)
    launcher = (python, "-P", os.path.abspath(vllm_launcher.__file__))
    reason = "not asked for"
    if fork:
        reason = vllm_tested.reason_against_forking(versions, arguments, env)
    if reason:
        return EngineCommand((*launcher, vllm_launcher.MEND, *without_p), "mended", reason)
    on_cpu = vllm_tested.runs_on_cpu(versions)
    mode = vllm_launcher.FORK_ON_CPU if on_cpu else vllm_launcher.FORK
    return EngineCommand((*launcher, mode, *without_p), "fast")
