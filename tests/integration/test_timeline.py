"""The timeline of a real start: `modelshelf.start` runs a real engine."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from support.pod_packages import command_line
from support.real_model import smollm2
from support.serve_process import wait_until

from modelshelf.engines.timeline_reader import read_timeline
from modelshelf.targets.local.log_recorder import LogRecorder
from modelshelf.targets.local.ports import free_port


def test_a_supervised_start_has_a_complete_timeline(tmp_path: pathlib.Path) -> None:
    """It has the start method, the prefetched bytes, and the engine's phases until it answers."""
    model, port = smollm2(), free_port("127.0.0.1")
    health = f"http://127.0.0.1:{port}/health"
    spec = tmp_path / "start.json"
    spec.write_text(json.dumps({"health": health, "prefetch": {"paths": [str(model)]}}))
    engine = [sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server"]
    engine += ["--model", str(model), "--name", "x", "--port", str(port), "--context-length=512"]
    argv = command_line("start", spec, *engine)
    log = tmp_path / "replica-0.log"
    with log.open("wb") as output, LogRecorder(str(log)) as recorder:
        child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: b"engine-ready" in log.read_bytes(), 60)
            timeline = read_timeline(recorder.finish())
        finally:
            child.terminate()
            child.communicate()
    assert timeline
    assert timeline.how == "stock"
    assert timeline.ready
    phases = {phase.name: phase for phase in timeline.phases}
    assert set(phases) == {"prefetch", "import", "weights", "ready"}
    assert phases["prefetch"].bytes == model.stat().st_size
    ends = [phase.began + phase.seconds for phase in timeline.phases if not phase.runs_in_parallel]
    assert max(ends) == timeline.ready
