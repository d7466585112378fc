"""Every `console` block of the documentation, run as it is written."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest
from hub import Content, Hub, safetensors
from support.doc_pages import ON_A_CLUSTER, PAGES, ROOT, check


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != ON_A_CLUSTER], ids=lambda p: str(p.relative_to(ROOT))
)
def test_page(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The commands of a page print what the page says."""
    files: dict[str, bytes | Content] = {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}",
        "README.md": b"# name\n",
        "model.safetensors": safetensors(100_000),
        "logo.png": b"\x89PNG",
    }
    with Hub() as hub:
        hub.add("org/name", files, lfs={"model.safetensors"})
        env = {
            "HOME": str(tmp_path),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.url,
        }
        check(page, env, tmp_path, seconds=100)
