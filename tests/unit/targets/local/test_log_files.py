"""The log files of a server's processes."""

from __future__ import annotations

import os
import pathlib

from modelshelf.targets.local.log_files import last_lines, limit_log_size


def test_the_last_lines_of_a_log_are_plain_text(tmp_path: pathlib.Path) -> None:
    """Colours and empty lines are removed, and neither broken UTF-8 nor a missing log fails."""
    log = tmp_path / "replica-0.log"
    log.write_bytes(b"first\n\x1b[31mERROR\x1b[0m bad \xff\n\n\nlast  \n")
    assert last_lines(str(log), 2) == ["ERROR bad \ufffd", "last"]
    assert last_lines(str(tmp_path / "none.log"), 2) == []


def test_the_size_of_a_log_is_limited(tmp_path: pathlib.Path) -> None:
    """A log that is too large is moved aside and emptied, while its process goes on writing."""
    log = tmp_path / "replica-0.log"
    with log.open("ab", buffering=0) as process:
        process.write(b"old words")
        limit_log_size(str(log), max_bytes=9)
        assert os.listdir(tmp_path) == ["replica-0.log"]
        limit_log_size(str(log), max_bytes=8)
        process.write(b"new words")
    assert (tmp_path / "replica-0.log.1").read_bytes() == b"old words"
    assert log.read_bytes() == b"new words"
