"""The launcher, with a package that stands in for vLLM, in interpreters of its own."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelshelf.start import vllm_launcher

ENTRY = """
import gc, importlib.metadata, json, multiprocessing, os, sys
import vllm

early = gc.get_threshold()
from torch._dynamo.aot_compile_types import BundledAOTAutogradSerializableCallable as Kind


def look(writer):
    for found in importlib.metadata.entry_points(group="vllm.general_plugins"):
        found.load()()
    writer.send({"mended": Kind().finalize_loading(None) is None, "importer": vllm.importer,
                 "blas": os.environ.get("OPENBLAS_NUM_THREADS"),
                 "thresholds": [early, gc.get_threshold()]})


def main():
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(False)
    child = context.Process(target=look, args=(writer,))
    child.start()
    print(json.dumps({"argv": sys.argv, "child": reader.recv(), "importer": vllm.importer,
                      "threads": os.environ.get("TORCHINDUCTOR_COMPILE_THREADS"),
                      "ours": [name for name in sys.modules if name.startswith("modelshelf")],
                      "preload": os.environ.get("LD_PRELOAD")}), flush=True)
    child.join()
    return 5
"""
SERVE = "vllm.entrypoints.launchers.api_server.entry"
MODULES = {
    "vllm/__init__.py": "import os\nimporter = os.getpid()\n",
    "vllm/plugins.py": "",
    "vllm/entrypoints/launchers/api_server/entry.py": ENTRY,
    "vllm/entrypoints/openai/api_server.py": "",
    "vllm/entrypoints/cli/main.py": f"from {SERVE} import main\n",
    "vllm/v1/engine/core.py": "",
    "vllm/v1/engine/async_llm.py": "",
    "vllm/v1/executor/multiproc_executor.py": "",
    "vllm/v1/worker/cpu_worker.py": "",
    "vllm/v1/attention/backends/cpu_attn.py": "",
    "torch/__init__.py": "class cuda:\n    is_initialized = staticmethod(lambda: False)\n",
    "torch/_dynamo/aot_compile_types.py": "class BundledAOTAutogradSerializableCallable: pass\n",
}
SERVER = ("-m", "vllm.entrypoints.openai.api_server", "--model=/m")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder that stands in for an engine's packages."""
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def launch(packages: Path, mode: str, *command: str) -> list[dict[str, Any]]:
    """Run a command line by the launcher; returns the JSON lines that it wrote."""
    lines = launch_file(vllm_launcher.__file__, packages, mode, *command)
    return [json.loads(line) for line in lines]


def launch_file(program: str, packages: Path, mode: str, *command: str) -> list[str]:
    """Run a command line by a copy of the launcher; returns the lines that it wrote."""
    argv = [sys.executable, "-P", program, mode, *(command or (sys.executable, *SERVER))]
    env = {"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (5, "")
    return run.stdout.splitlines()


def test_spawned_children_are_mended(packages: Path) -> None:
    """Without forking, the plugin reaches a child that imports everything again."""
    (told,) = launch(packages, "mend")
    assert told["argv"] == [sys.executable, "--model=/m"]
    assert told["ours"] == []
    assert told["child"]["mended"] is True
    assert told["child"]["importer"] != told["importer"]
    assert told["threads"] is None


@pytest.mark.parametrize("mode", ["mend", "fork"])
def test_garbage_is_collected_rarely_during_imports(packages: Path, mode: str) -> None:
    """While a process imports, Python looks for garbage rarely; afterwards as often as usual."""
    (told,) = launch(packages, mode)
    importing, running = told["child"]["thresholds"]
    assert importing[0] > 10 * running[0]
    assert tuple(running) == gc.get_threshold()


def test_forked_children_are_mended_and_import_nothing(packages: Path) -> None:
    """A child is a copy of what was imported, and the variable for BLAS is as it was before."""
    (told,) = launch(packages, "fork")
    child = told["child"]
    assert (child["mended"], child["importer"], child["blas"]) == (True, told["importer"], None)
    assert (told["threads"], told["preload"]) == (None, None)


def test_a_vllm_for_the_cpu_gets_the_environment_of_its_children(packages: Path) -> None:
    """Torch's OpenMP is preloaded, and the compiler has the settings of a spawned worker."""
    library = packages / "torch" / "lib" / "libgomp.so.1"
    library.parent.mkdir()
    library.symlink_to("/lib/x86_64-linux-gnu/libm.so.6")
    if not library.exists():
        pytest.skip("there is no library here that could stand in for OpenMP")
    (told,) = launch(packages, "fork-cpu")
    assert (told["threads"], told["preload"]) == ("1", str(library))


def test_a_console_script_is_run_as_it_is(packages: Path) -> None:
    """`vllm serve` runs vLLM's command line with the arguments that it was given."""
    (told,) = launch(packages, "fork", "/opt/bin/vllm", "serve", "/m", "--port=1")
    assert told["argv"] == ["/opt/bin/vllm", "serve", "/m", "--port=1"]


@pytest.mark.parametrize(
    ("module", "text", "reason"),
    [
        (
            "vllm/v1/engine/core.py",
            "from threading import Timer; t = Timer(60, print); t.daemon = True; t.start()",
            "there are 2 threads after the imports",
        ),
        (
            "torch/__init__.py",
            "class cuda:\n    is_initialized = staticmethod(lambda: True)\n",
            "CUDA is initialised after the imports",
        ),
    ],
)
def test_a_process_that_must_not_be_forked_spawns(
    packages: Path, module: str, text: str, reason: str
) -> None:
    """With threads or CUDA, children are spawned and mended, and a second event says why."""
    (packages / module).write_text(text, encoding="utf-8")
    event, told = launch(packages, "fork")
    assert (event["event"], event["how"]) == ("engine-starting", "mended")
    assert event["reason"] == reason
    assert event["argv"] == [sys.executable, *SERVER]
    assert event["time"] > 0
    assert told["ours"] == []
    assert told["child"]["mended"] is True
    assert told["child"]["importer"] != told["importer"]


@pytest.mark.parametrize(("mode", "missing"), [("fork", "vllm.v1.engine.core"), ("mend", SERVE)])
def test_an_import_that_fails_leaves_the_stock_start(
    packages: Path, mode: str, missing: str
) -> None:
    """A vLLM without a module that we import is started by its own command line."""
    (packages / f"{missing.replace('.', '/')}.py").unlink()
    _print_in_stock_start(packages)
    event, told = launch(packages, mode)
    assert (event["how"], told) == ("stock", {})
    assert f"No module named '{missing}'" in event["reason"]


def test_a_launcher_without_our_packages_leaves_the_stock_start(
    packages: Path, tmp_path: Path
) -> None:
    """If our packages cannot be imported, vLLM starts all the same, and a line of text says why."""
    alone = tmp_path / "alone"
    alone.mkdir()
    program = str(shutil.copy(vllm_launcher.__file__, alone))
    _print_in_stock_start(packages)
    line, told = launch_file(program, packages, "fork")
    assert line.startswith("modelshelf: vLLM starts stock: importing it in advance failed: ")
    assert "No module named 'modelshelf" in line
    assert told == "{}"


def _print_in_stock_start(packages: Path) -> None:
    """Have vLLM's own command line print an empty object."""
    text = "if __name__ == '__main__':\n    print('{}')\n    raise SystemExit(5)\n"
    (packages / "vllm/entrypoints/openai/api_server.py").write_text(text, encoding="utf-8")
