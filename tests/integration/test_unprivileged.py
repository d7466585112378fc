"""The shelf's tests once more where file modes bind, since root hides what is wrong with them.

As root, the tests run in a child that is root without capabilities. Another user id would be the
obvious choice, but cannot be relied on: interpreter, packages and checkout may lie below a home
that is closed to others, as root's is. See `modes`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.file_modes import where_modes_bind

_TESTS = Path(__file__).resolve().parent.parent
_ROOT = _TESTS.parent
_MODULES = sorted(
    str(path.relative_to(_ROOT))
    for name in (
        *("shelf/test_files", "shelf/test_gate", "shelf/test_leases", "shelf/test_shelf"),
        *("shelf/test_verify", "start/test_cache_publish", "start/test_cache_store"),
        "sources/test_local",
    )
    for path in (_TESTS / "unit").glob(f"{name}*.py")
)


def _run(argv: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis"),
    }
    return subprocess.run(
        where_modes_bind([sys.executable, *argv]),
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_modes_bind_in_the_child(tmp_path: Path) -> None:
    """The child cannot write to a folder of mode 0555 and cannot read a file of mode 0000."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir(0o555)
    file.touch(0o000)
    look = "import os,sys; print(os.access(sys.argv[1], os.W_OK), os.access(sys.argv[2], os.R_OK))"
    write = "import sys; open(sys.argv[1] + '/x', 'w')"
    assert _run(["-c", look, str(folder), str(file)], tmp_path).stdout == "False False\n"
    refused = _run(["-c", write, str(folder)], tmp_path)
    assert refused.returncode == 1
    assert "PermissionError" in refused.stderr
    assert os.listdir(folder) == []


def test_the_tests_pass_where_modes_bind(tmp_path: Path) -> None:
    """Every test passes in the child, and none is skipped."""
    arguments = ["-v", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}"]
    run = _run(["-m", "pytest", *arguments, *_MODULES], tmp_path)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    passed = {line.split("::")[0] for line in run.stdout.splitlines() if " PASSED " in line}
    assert passed == set(_MODULES)
    assert "skipped" not in run.stdout.strip().splitlines()[-1]
