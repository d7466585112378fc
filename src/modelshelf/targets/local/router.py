"""vllm-router before several replicas: how it is started. Pure.

The numbers were found by killing replicas under load with vllm-router 0.1.17. Its defaults look at
a replica's health once a minute and open a circuit after ten failures for another: a replica that
died got requests until then, and one that came back none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDS = "vllm_router"

_CHOICES = {
    # Requests that begin alike go to one replica, whose memory of the beginning saves its work.
    "policy": "cache_aware",
    "balance-rel-threshold": "1.0",
    "health-check-interval-secs": "1",
    "health-failure-threshold": "1",
    "health-success-threshold": "1",
    # A dead replica has the least to do, so it is chosen again and again until its circuit opens,
    # which must be before the five tries of a request are over.
    "cb-failure-threshold": "2",
    "cb-success-threshold": "1",
    "cb-timeout-duration-secs": "1",
    "worker-startup-check-interval": "1",
    "log-level": "warning",
}


def router_argv(  # noqa: PLR0913 - all of them plain values of one command line
    host: str,
    port: int,
    workers: Sequence[str],
    *,
    metrics_port: int,
    parallel: int,
    ready_within: float,
) -> tuple[str, ...]:
    """The command line of a router.

    Args:
        host: Where it listens.
        port: Where it listens.
        workers: Base URLs of the replicas.
        metrics_port: Where it shows its own counters; without one it insists on port 29000.
        parallel: Requests that one replica works on at once. Beginnings that are alike count for
            less than a replica that is free, once another one's hands are full.
        ready_within: Seconds that it waits for the replicas.
    """
    argv = [sys.executable, "-P", "-m", "vllm_router.launch_router"]
    argv += ["--host", host, "--port", str(port), "--worker-urls", *workers]
    argv += ["--prometheus-port", str(metrics_port)]
    argv += ["--balance-abs-threshold", str(max(parallel - 1, 0))]
    argv += ["--worker-startup-timeout-secs", str(max(round(ready_within), 1))]
    for name, value in _CHOICES.items():
        argv += [f"--{name}", value]
    return tuple(argv)
