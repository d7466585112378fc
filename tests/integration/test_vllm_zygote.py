"""Children that are forked from a copy of their parent, where they were to be spawned."""

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
    assert vllm_zygote.why_not() == ""
    vllm_zygote.begin()
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
    """A program that leaves a copy of itself behind and has a child and a grandchild."""
    path = tmp_path / "parent.py"
    path.write_text(PARENT, encoding="utf-8")
    return path


@pytest.mark.parametrize("python", [p for p in pythons() if p.version < (3, 14)], ids=str)
def test_children_are_copies_that_see_what_spawned_ones_would(python: Python, parent: Path) -> None:
    """A child has what was imported before, and the environment and parent of its own time."""
    argv = [python.path, "-P", str(parent)]
    env = {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, check=True, timeout=60)

    told = json.loads(done.stdout)
    seen, child = told["seen"], told["seen"]["child"]
    assert (seen["imported"], child["imported"]) == ("once", "once")
    assert (seen["env"], child["env"]) == ("set after the fork", "set by a child")
    assert (seen["parent"], child["parent"]) == (told["pid"], seen["pid"])
    assert seen["zygote"] == child["zygote"] != told["pid"]
    assert (told["code"], seen["lock"], done.stderr) == (7, True, b"")


def test_the_copy_ends_with_whoever_it_was_copied_from(parent: Path) -> None:
    """A killed parent leaves no process that waits for children to fork."""
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    argv = [pythons()[0].path, str(parent), "stay"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        copy = told["seen"]["zygote"]
        assert not has_ended(copy)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while not has_ended(copy) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert has_ended(copy)
