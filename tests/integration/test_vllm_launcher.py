"""The launcher with a stand-in for vLLM, in interpreters of its own."""

from __future__ import annotations

import gc
import json
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


def launch(packages: Path, how: str, *command: str) -> list[dict[str, Any]]:
    """Run a command line by the launcher; the JSON lines that it wrote."""
    argv = [
        sys.executable,
        "-P",
        vllm_launcher.__file__,
        how,
        *(command or (sys.executable, *SERVER)),
    ]
    env = {"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (5, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_spawned_children_are_mended(packages: Path) -> None:
    """Without forking, the plugin reaches a child that imports all anew."""
    (told,) = launch(packages, "mend")
    assert told["argv"] == [sys.executable, "--model=/m"]
    assert told["child"]["mended"] is True
    assert told["child"]["importer"] != told["importer"]
    assert told["threads"] is None


@pytest.mark.parametrize("how", ["mend", "fork"])
def test_garbage_waits_until_all_is_imported(packages: Path, how: str) -> None:
    """While a process imports there is hardly any; what runs afterwards collects as ever."""
    (told,) = launch(packages, how)
    importing, running = told["child"]["thresholds"]
    assert importing[0] > 10 * running[0]
    assert tuple(running) == gc.get_threshold()


def test_forked_children_are_mended_and_import_nothing(packages: Path) -> None:
    """A child is a copy of what was imported, and BLAS is as it was when nobody looks."""
    (told,) = launch(packages, "fork")
    child = told["child"]
    assert (child["mended"], child["importer"], child["blas"]) == (True, told["importer"], None)
    assert (told["threads"], told["preload"]) == (None, None)


def test_the_cpu_gets_what_vllm_sets_for_children(packages: Path) -> None:
    """Torch's OpenMP is loaded first, and the compiler is set as in a spawned worker."""
    library = packages / "torch" / "lib" / "libgomp.so.1"
    library.parent.mkdir()
    library.symlink_to("/lib/x86_64-linux-gnu/libm.so.6")
    if not library.exists():
        pytest.skip("there is no library at hand that could stand in for OpenMP")
    (told,) = launch(packages, "fork-cpu")
    assert (told["threads"], told["preload"]) == ("1", str(library))


def test_a_console_script_is_run_as_it_is(packages: Path) -> None:
    """`vllm serve` runs vLLM's own command line, with its own arguments."""
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
def test_what_cannot_be_copied_is_spawned(
    packages: Path, module: str, text: str, reason: str
) -> None:
    """With threads or CUDA there, children are spawned, mended, and the start says why."""
    (packages / module).write_text(text, encoding="utf-8")
    changed, told = launch(packages, "fork")
    assert (changed["event"], changed["how"]) == ("engine-starting", "mended")
    assert changed["reason"] == reason
    assert told["child"]["mended"] is True
    assert told["child"]["importer"] != told["importer"]


@pytest.mark.parametrize(("how", "missing"), [("fork", "vllm.v1.engine.core"), ("mend", SERVE)])
def test_an_import_that_fails_leaves_the_stock_start(
    packages: Path, how: str, missing: str
) -> None:
    """What another vLLM has not got is no reason not to start it."""
    (packages / f"{missing.replace('.', '/')}.py").unlink()
    text = "if __name__ == '__main__':\n    print('{}')\n    raise SystemExit(5)\n"
    (packages / "vllm/entrypoints/openai/api_server.py").write_text(text, encoding="utf-8")
    changed, told = launch(packages, how)
    assert (changed["how"], told) == ("stock", {})
    assert f"No module named '{missing}'" in changed["reason"]
