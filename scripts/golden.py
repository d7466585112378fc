"""Writes what each example renders to: `examples/NAME` to `tests/golden/NAME`.

A constant takes the place of our own code, also in the names that contain its hash, so that a
change of our code changes no golden file. Look at the difference in git before you commit it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

from modelshelf.config import lock
from modelshelf.config.file import load
from modelshelf.render import code
from modelshelf.render.gitops_folder import files
from modelshelf.render.rendered import render

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/modelshelf.yaml"))
_NO_CODE = {"__main__.py": "# the code is left out\n"}


def folder(example: Path) -> Path:
    """The folder of an example's golden files."""
    return ROOT / "tests" / "golden" / example.name


def golden(example: Path) -> dict[str, str]:
    """Render an example: path below its golden folder → text."""
    config = load(example / "modelshelf.yaml")
    locked = lock.read_lock(example / "modelshelf.lock")
    lock.refuse_stale(config, locked, str(example / "modelshelf.lock"))
    with mock.patch.object(code, "files", return_value=_NO_CODE):
        texts = files(render(config, locked), {})
    return {path: text for path, text in texts.items() if "/20-" not in path}


if __name__ == "__main__":
    for example in EXAMPLES:
        shutil.rmtree(folder(example), ignore_errors=True)
        for name, text in golden(example).items():
            target = folder(example) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        print(f"wrote {folder(example).relative_to(ROOT)}")
