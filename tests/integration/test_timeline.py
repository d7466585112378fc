"""The timeline of a real start: our supervisor, and a real engine below it."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from support.pod_packages import command_line
from support.real_model import smollm2
from support.serve_process import until

from modelshelf.engines.timeline import timeline
from modelshelf.targets.local.ports import free_port
from modelshelf.targets.local.recording import Recorder


def test_a_supervised_start_is_told_whole(tmp_path: pathlib.Path) -> None:
    """How it was made, what was read ahead, and the engine's phases until its first answer."""
    model, port = smollm2(), free_port("127.0.0.1")
    health = f"http://127.0.0.1:{port}/health"
    spec = tmp_path / "start.json"
    spec.write_text(json.dumps({"health": health, "prefetch": {"paths": [str(model)]}}))
    engine = [sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server"]
    engine += ["--model", str(model), "--name", "x", "--port", str(port), "--context-length=512"]
    argv = command_line("start", spec, *engine)
    log = tmp_path / "replica-0.log"
    with log.open("wb") as output, Recorder(str(log)) as recorder:
        child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            until(lambda: b"engine-ready" in log.read_bytes(), 60)
            found = timeline(recorder.lines())
        finally:
            child.terminate()
            child.communicate()
    assert found
    assert found.how == "stock"
    assert found.ready
    phases = {phase.name: phase for phase in found.phases}
    assert set(phases) == {"prefetch", "import", "weights", "ready"}
    assert phases["prefetch"].bytes == model.stat().st_size
    ends = [phase.began + phase.seconds for phase in found.phases if not phase.beside]
    assert max(ends) == found.ready
