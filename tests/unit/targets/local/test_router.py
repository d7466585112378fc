"""The command line of the router."""

from __future__ import annotations

import sys

from modelshelf.targets.local.router import router_command_line


def test_the_router_gets_its_replicas() -> None:
    """The command line has address, replicas and metrics port, and the limit of their slots."""
    workers = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    argv = router_command_line(
        "127.0.0.1", 8000, workers, metrics_port=9, parallel=4, ready_within=60.0
    )
    assert argv[:15] == (
        *(sys.executable, "-P", "-m", "vllm_router.launch_router"),
        *("--host", "127.0.0.1", "--port", "8000", "--worker-urls", *workers),
        *("--prometheus-port", "9", "--balance-abs-threshold", "3"),
    )
