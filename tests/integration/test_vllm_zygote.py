"""Children that are forked from the zygote, where vLLM would spawn them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support.pythons import Python, pythons
from support.serve_process import has_ended

from modelshelf.start import vllm_zygote

SOURCE = Path(vllm_zygote.__file__).parents[2]
PARENT = """
import json, multiprocessing, os, sys
from modelshelf.start import vllm_zygote

imported = "nothing"


def look(writer, deeper):
    seen = {"imported": imported, "env": os.environ.get("LATER"), "pid": os.getpid(),
            "parent": multiprocessing.parent_process().pid, "zygote": os.getppid()}
    if deeper:
        reader, end = multiprocessing.get_context("spawn").Pipe(False)
        os.environ["LATER"] = "set by a child"
        child = multiprocessing.get_context("spawn").Process(target=look, args=(end, False))
        child.start()
        seen["child"] = reader.recv()
        child.join()
        seen["lock"] = multiprocessing.get_context("spawn").Lock().acquire()
    writer.send(seen)
    sys.exit(7)


if __name__ == "__main__":
    imported = "once"
    assert vllm_zygote.reason_against_forking() == ""
    vllm_zygote.start_zygote()
    os.environ["LATER"] = "set after the fork"
    context = multiprocessing.get_context("spawn")
    assert context.get_start_method() == "spawn"
    reader, writer = context.Pipe(False)
    child = context.Process(target=look, args=(writer, True))
    child.start()
    seen = reader.recv()
    child.join()
    print(json.dumps({"seen": seen, "code": child.exitcode, "pid": os.getpid()}), flush=True)
    if sys.argv[1:] == ["stay"]:
        sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A program that starts a zygote, a child and a grandchild."""
    path = tmp_path / "parent.py"
    path.write_text(PARENT, encoding="utf-8")
    return path


@pytest.mark.parametrize("python", [p for p in pythons() if p.version < (3, 14)], ids=str)
def test_a_forked_child_sees_what_a_spawned_one_would(python: Python, parent: Path) -> None:
    """A child has the imports of before, and the environment and parent of when it was started."""
    argv = [python.path, "-P", str(parent)]
    env = {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(argv, env=env, capture_output=True, check=True, timeout=60)

    told = json.loads(run.stdout)
    seen, child = told["seen"], told["seen"]["child"]
    assert (seen["imported"], child["imported"]) == ("once", "once")
    assert (seen["env"], child["env"]) == ("set after the fork", "set by a child")
    assert (seen["parent"], child["parent"]) == (told["pid"], seen["pid"])
    assert seen["zygote"] == child["zygote"] != told["pid"]
    assert (told["code"], seen["lock"], run.stderr) == (7, True, b"")


def test_the_zygote_ends_with_its_parent(parent: Path) -> None:
    """When the parent is killed, no zygote stays behind."""
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    argv = [pythons()[0].path, str(parent), "stay"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        zygote = told["seen"]["zygote"]
        assert not has_ended(zygote)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while not has_ended(zygote) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert has_ended(zygote)
