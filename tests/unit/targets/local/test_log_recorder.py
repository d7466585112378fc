"""The recorder of log lines, and the timeline that is saved beside a log."""

from __future__ import annotations

import os
import pathlib

from modelshelf.targets.local.log_recorder import LogRecorder, load_timeline, save_timeline


def test_the_lines_of_one_start_are_recorded(tmp_path: pathlib.Path) -> None:
    """Lines from before the recorder began do not count, nor does a line without its end."""
    log = tmp_path / "replica-0.log"
    log.write_bytes(b"of an earlier start\n")
    with LogRecorder(str(log)) as recorder, log.open("ab") as output:
        output.write(b"first\nsec")
        output.flush()
        output.write(b"ond\nthird, not")
        output.flush()
        lines = recorder.finish()
    assert [line for _, line in lines] == ["first", "second"]


def test_a_timeline_is_saved_beside_the_log(tmp_path: pathlib.Path) -> None:
    """The timeline of the last start can be loaded; a log without one is no error."""
    log = str(tmp_path / "replica-0.log")
    assert load_timeline(log) is None
    saved = save_timeline([], 3.0, log)
    assert saved is not None
    assert [(phase.name, phase.seconds) for phase in saved.phases] == [("import", 3.0)]
    loaded = load_timeline(log)
    assert loaded is not None
    assert loaded.to_json() == saved.to_json()
    assert os.listdir(tmp_path) == ["replica-0.timeline.json"]
