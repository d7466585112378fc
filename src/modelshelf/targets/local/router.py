"""The command line of vllm-router, which divides requests among several replicas. Pure.

The values were found with vllm-router 0.1.17, by killing replicas under load. By default it checks
the health of each replica once a minute, and it stops sending requests to a replica (it opens the
replica's circuit) after ten failures, for a minute. So a dead replica got requests until then, and
a restarted one got none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

ROUTER_PACKAGE = "vllm_router"

_OPTIONS = {
    # Prompts with the same beginning go to the replica that still has the beginning in its cache.
    "policy": "cache_aware",
    "balance-rel-threshold": "1.0",
    "health-check-interval-secs": "1",
    "health-failure-threshold": "1",
    "health-success-threshold": "1",
    # A dead replica has no requests, so the router chooses it again and again. Its circuit must
    # open before the five attempts of one request are used up.
    "cb-failure-threshold": "2",
    "cb-success-threshold": "1",
    "cb-timeout-duration-secs": "1",
    "worker-startup-check-interval": "1",
    "log-level": "warning",
}


def router_command_line(  # noqa: PLR0913 - the values of one command line
    host: str,
    port: int,
    workers: Sequence[str],
    *,
    metrics_port: int,
    parallel: int,
    ready_within: float,
) -> tuple[str, ...]:
    """The command line of a router: the program and its arguments.

    Args:
        host: The address that it listens on.
        port: The port that it listens on.
        workers: The base URL of each replica.
        metrics_port: The port of its own metrics. Its default is the fixed port 29000, which only
            one router on the machine could have.
        parallel: The requests that one replica works on at once. If a replica has that many more
            than another, the router prefers the other one, whatever the beginning of the prompt.
        ready_within: Seconds that it waits for the replicas to be ready.
    """
    argv = [sys.executable, "-P", "-m", "vllm_router.launch_router"]
    argv += ["--host", host, "--port", str(port), "--worker-urls", *workers]
    argv += ["--prometheus-port", str(metrics_port)]
    argv += ["--balance-abs-threshold", str(max(parallel - 1, 0))]
    argv += ["--worker-startup-timeout-secs", str(max(round(ready_within), 1))]
    for name, value in _OPTIONS.items():
        argv += [f"--{name}", value]
    return tuple(argv)
