"""The build of the documentation site refuses pages that a reader could not reach."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = ("docs", "examples", "scripts/site_files.py", "mkdocs.yml")
STRAY = """# Stray

[page](nowhere.md) [anchor](architecture.md#nowhere) [file](../examples/nowhere.yaml)
[folder](adr/) ![image](charts/nowhere.svg)
"""


def _copy(folder: pathlib.Path) -> None:
    for name in (*SOURCES, *(page.name for page in ROOT.glob("*.md"))):
        source, copy = ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)


def _build(folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a copy as `make docs` does."""
    return subprocess.run(
        [str(pathlib.Path(sys.executable).parent / "mkdocs"), "build"],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_dead_links_and_unlisted_pages_fail(tmp_path: pathlib.Path) -> None:
    """The build fails for a page outside the navigation and for each kind of dead link."""
    _copy(tmp_path)
    (tmp_path / "docs" / "stray.md").write_text(STRAY)
    built = _build(tmp_path)
    assert built.returncode == 1, built.stderr
    assert 'not included in the "nav" configuration:\n  - docs/stray.md' in built.stderr
    for target in ("nowhere.md", "architecture.md#nowhere", "../examples/nowhere.yaml"):
        assert f"'docs/stray.md' contains a link '{target}'" in built.stderr
    assert "'docs/stray.md' contains a link 'charts/nowhere.svg'" in built.stderr
    assert "'docs/stray.md' contains an unrecognized relative link 'adr/'" in built.stderr
    assert "Aborted with 6 warnings" in built.stdout


def test_pages_load_nothing_from_elsewhere(tmp_path: pathlib.Path) -> None:
    """Pages load scripts, styles, fonts and images from the site alone."""
    _copy(tmp_path)
    built = _build(tmp_path)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "build" / "site").rglob("*.html"))
    assert pages
    for page in pages:
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
        assert not [tag for tag in tags if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag)]
