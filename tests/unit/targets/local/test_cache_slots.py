"""The folders that are reserved for unpacked compile caches."""

from __future__ import annotations

import os
import pathlib

from modelshelf.targets.local.cache_slots import reserve_slot


def test_the_first_free_folder_is_reserved(tmp_path: pathlib.Path) -> None:
    """Two at the same time get different folders; the next one gets the first again, deleted."""
    with reserve_slot(str(tmp_path)) as first, reserve_slot(str(tmp_path)) as second:
        assert [first, second] == [str(tmp_path / "0"), str(tmp_path / "1")]
        pathlib.Path(first).mkdir()
    with reserve_slot(str(tmp_path)) as again:
        assert again == first
        assert not os.path.exists(again)
