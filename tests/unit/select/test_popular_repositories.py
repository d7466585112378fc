"""Which files of popular repositories are chosen: their bytes, and those that are left out and why.

The table is `popular_repositories.json`. Run this file as a program to write it anew, and look at
what git says of it.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest
from support.popular_repositories import POPULAR, Popular
from support.repository_listings import select_from

from modelshelf.select import servable

_TABLE = Path(__file__).with_name("popular_repositories.json")


def _chosen(popular: Popular) -> dict[str, Any]:
    """The row of a repository in the table."""
    selection = select_from(popular.repo, **popular.options)
    return {
        "engine": selection.engine,
        "files": len(selection.files),
        "bytes": sum(file.size for file in selection.files),
        "left out": {left.reason: left.bytes for left in selection.left_out},
    }


@pytest.mark.parametrize("popular", POPULAR, ids=lambda popular: popular.name)
def test_a_popular_repository_is_chosen_as_the_table_says(popular: Popular) -> None:
    """The chosen files, and the bytes that each reason leaves out, are those in the table."""
    assert _chosen(popular) == json.loads(_TABLE.read_text("utf-8"))[popular.name]


@pytest.mark.parametrize("popular", POPULAR, ids=lambda popular: popular.name)
def test_a_popular_repository_can_be_served(popular: Popular) -> None:
    """The files that an engine needs are taken, and no second copy of them."""
    selection = select_from(popular.repo, **popular.options)
    paths = [file.path for file in selection.files]
    assert set(popular.takes) <= set(paths)
    assert [path for path in paths for glob in popular.leaves if fnmatch.fnmatch(path, glob)] == []
    whole_models = {"adapter_config.json", "model_index.json"}.isdisjoint(paths)
    assert servable(selection.files, selection.engine) is whole_models


def test_the_table_has_no_other_rows() -> None:
    """Each row of the table is a repository of the list."""
    assert list(json.loads(_TABLE.read_text("utf-8"))) == [popular.name for popular in POPULAR]


if __name__ == "__main__":
    _TABLE.write_text(
        json.dumps({p.name: _chosen(p) for p in POPULAR}, indent=2, ensure_ascii=False) + "\n",
        "utf-8",
    )
