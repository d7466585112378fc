"""How an engine may be started faster than by its own command line, and why it may not."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from modelshelf.shelf.errors import Error
from modelshelf.start import vllm_launcher, vllm_tested
from modelshelf.start.cache_key import installed, interpreter


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """What to run instead of an engine's command line.

    Attributes:
        argv: The command line.
        how: `stock` (as it was), `mended` (compiled code is loaded again where vLLM would not), or
            `fast` (mended, and all processes are forked from one that has imported vLLM).
        reason: Why it is not faster.
    """

    argv: tuple[str, ...]
    how: str
    reason: str = ""


def command(argv: Sequence[str], *, fork: bool | None, env: Mapping[str, str]) -> Command:
    """The fastest way to start an engine that was tried.

    Args:
        argv: The engine's own command line.
        fork: Whether its processes may be forked; None to leave the start as it is.
        env: Its environment.
    """
    stock = tuple(argv)
    if fork is None:
        return Command(stock, "stock")
    # The launcher runs with -P, too, and gets the command without it.
    plain = (stock[0], *stock[2:]) if stock[1:2] == ("-P",) else stock
    arguments = vllm_launcher.arguments(plain)
    if arguments is None:
        return Command(stock, "stock", "this is not vLLM's server")
    try:
        python, versions = interpreter(stock, env), installed(stock, env).versions
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine's own start is there
        return Command(stock, "stock", str(error) if isinstance(error, Error) else repr(error))
    if reason := vllm_tested.untried(versions, env):
        return Command(stock, "stock", reason)
    program = os.path.abspath(vllm_launcher.__file__)
    reason = vllm_tested.unforked(versions, arguments, env) if fork else "not asked for"
    if reason:
        return Command((python, "-P", program, vllm_launcher.MEND, *plain), "mended", reason)
    how = vllm_launcher.FORK_CPU if vllm_tested.on_cpu(versions) else vllm_launcher.FORK
    return Command((python, "-P", program, how, *plain), "fast")
