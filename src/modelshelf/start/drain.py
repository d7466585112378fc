"""Waiting until an engine has no request, before its container is stopped.

Kubernetes sends SIGTERM and takes a pod out of its Service at the same time. Load balancers and
proxies learn that a moment later and send requests until then. So a pod's `preStop` hook runs
`drain`: the kubelet sends SIGTERM only when the hook has ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import re
import time
from collections.abc import Callable
from typing import Any

from modelshelf.shelf.errors import UsageError
from modelshelf.start.events import Drained

_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 5.0  # for an answer to one question
_MAX_METRICS_BYTES = 16 << 20
_VLLM_REQUESTS = re.compile(
    rb"^vllm:num_requests_(?:running|waiting)(?:\{[^\n]*\})? ([0-9.e+]+)", re.MULTILINE
)


@dataclasses.dataclass(frozen=True, slots=True)
class DrainSpec:
    """Which engine to wait for, and how long.

    Attributes:
        port: The engine's port on this host.
        metrics: The path of its metrics.
        settle_seconds: The shortest wait. Until then others may still send requests, since they do
            not know yet that this pod is ending.
        quiet_seconds: How long there must be no request after that.
        max_seconds: The longest wait, both of these included.
    """

    port: int
    metrics: str = "/metrics"
    settle_seconds: float = 10
    quiet_seconds: float = 2
    max_seconds: float = 120

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DrainSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        attributes = {
            "settle": "settle_seconds",
            "quiet": "quiet_seconds",
            "most": "max_seconds",
        }
        try:
            times = {name: float(data[key]) for key, name in attributes.items() if key in data}
            return cls(int(data["port"]), str(data.get("metrics", "/metrics")), **times)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the drain is not readable: {error!r}") from error


def drain(
    spec: DrainSpec,
    *,
    count_requests: Callable[[DrainSpec], float | None] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Drained:
    """Wait until an engine has no request.

    An engine that does not listen, or does not count its requests, is waited for no longer than
    `settle_seconds`. An engine that is too busy to answer has requests.

    Args:
        spec: Which engine to wait for, and how long.
        count_requests: Returns how many requests the engine has; None if it does not say. By
            default, `read_requests`.
        now: Returns the time in seconds.
        sleep: Waits so many seconds.

    Returns:
        How long it took, and why the wait ended.
    """
    began = now()
    sleep(min(spec.settle_seconds, spec.max_seconds))
    quiet_since: float | None = None
    while True:
        requests = (count_requests or read_requests)(spec)
        waited = now() - began
        if requests is None:
            return Drained(round(waited, 3), "the engine does not count its requests")
        if requests:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = waited
        if quiet_since is not None and waited - quiet_since >= spec.quiet_seconds:
            return Drained(round(waited, 3), f"no request for {spec.quiet_seconds:g} s")
        if waited >= spec.max_seconds:
            reason = f"{requests:g} requests left after {spec.max_seconds:g} s"
            return Drained(round(waited, 3), reason)
        sleep(min(_POLL_SECONDS, max(spec.max_seconds - waited, 0)))


def read_requests(spec: DrainSpec) -> float | None:
    """Ask an engine how many requests it has.

    Returns:
        Infinity if the engine takes too long to answer. None if nothing listens on the port, or if
        the answer does not say.
    """
    connection = http.client.HTTPConnection("127.0.0.1", spec.port, timeout=_ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", spec.metrics)
            return parse_requests(connection.getresponse().read(_MAX_METRICS_BYTES))
        except TimeoutError:
            return float("inf")
        except (OSError, http.client.HTTPException):
            return None


def parse_requests(metrics: bytes) -> float | None:
    """Count the requests that run or wait by vLLM's metrics; None if these do not say."""
    counts = _VLLM_REQUESTS.findall(metrics)
    return sum(map(float, counts)) if counts else None
