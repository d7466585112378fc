"""The timeline of a real start: core's own parent, and a real engine below it."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from models import smollm2
from serving import until

import modelshelf.core
from modelshelf.engines.timeline import timeline
from modelshelf.targets.local.ports import free_port
from modelshelf.targets.local.recording import Recorder

CORE = pathlib.Path(modelshelf.core.__file__).parent / "__main__.py"


def test_a_start_by_core_is_told_whole(tmp_path: pathlib.Path) -> None:
    """How it was made, what warming read, and the engine's phases until its first answer."""
    model, port = smollm2(), free_port("127.0.0.1")
    health = f"http://127.0.0.1:{port}/health"
    spec = tmp_path / "start.json"
    spec.write_text(json.dumps({"health": health, "warm": {"paths": [str(model)]}}))
    engine = [sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server"]
    engine += ["--model", str(model), "--name", "x", "--port", str(port), "--context-length=512"]
    argv = [sys.executable, "-I", "-S", str(CORE), "start", str(spec), "--", *engine]
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
    assert set(phases) == {"warm", "import", "weights", "ready"}
    assert phases["warm"].bytes == model.stat().st_size
    ends = [phase.began + phase.seconds for phase in found.phases if not phase.beside]
    assert max(ends) == found.ready
