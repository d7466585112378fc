"""Before an engine is told to end: wait until no request is on its way to it, or in it."""

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

_LOOK = 0.5  # seconds between two looks
_ANSWER = 5.0  # seconds for an answer to one
_MOST_BYTES = 16 << 20
_REQUESTS = re.compile(
    rb"^vllm:num_requests_(?:running|waiting)(?:\{[^\n]*\})? ([0-9.e+]+)", re.MULTILINE
)


@dataclasses.dataclass(frozen=True, slots=True)
class DrainSpec:
    """How long to wait, in seconds.

    Attributes:
        port: Where the engine listens on this host.
        metrics: The path of its metrics.
        settle: At the least: so long may others still send requests, until all know that this pod
            is ending.
        quiet: How long there must be no request after that.
        most: At the most, of all.
    """

    port: int
    metrics: str = "/metrics"
    settle: float = 10
    quiet: float = 2
    most: float = 120

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DrainSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        try:
            times = {key: float(data[key]) for key in ("settle", "quiet", "most") if key in data}
            return cls(int(data["port"]), str(data.get("metrics", "/metrics")), **times)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the drain is not readable: {error!r}") from error


def drain(
    spec: DrainSpec,
    *,
    look: Callable[[DrainSpec], float | None] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Drained:
    """Wait until an engine is quiet.

    An engine that does not listen, or does not count its requests, is not waited for longer than
    `settle`; one that is too busy to answer is.

    Args:
        spec: How long.
        look: How many requests the engine has; None if it cannot say.
        now: The time.
        sleep: How to wait.
    """
    began = now()
    sleep(min(spec.settle, spec.most))
    quiet_since: float | None = None
    while True:
        requests = (look or requests_at)(spec)
        over = now() - began
        if requests is None:
            return Drained(round(over, 3), "the engine does not count its requests")
        quiet_since = None if requests else over if quiet_since is None else quiet_since
        if quiet_since is not None and over - quiet_since >= spec.quiet:
            return Drained(round(over, 3), f"no request for {spec.quiet:g} s")
        if over >= spec.most:
            return Drained(round(over, 3), f"{requests:g} requests left after {spec.most:g} s")
        sleep(min(_LOOK, max(spec.most - over, 0)))


def requests_at(spec: DrainSpec) -> float | None:
    """How many requests an engine has; None if nobody listens, or nothing is said of them."""
    connection = http.client.HTTPConnection("127.0.0.1", spec.port, timeout=_ANSWER)
    with contextlib.closing(connection):
        try:
            connection.request("GET", spec.metrics)
            return requests_in(connection.getresponse().read(_MOST_BYTES))
        except TimeoutError:
            return float("inf")
        except (OSError, http.client.HTTPException):
            return None


def requests_in(metrics: bytes) -> float | None:
    """The requests that vLLM's metrics count as running or waiting; None if they count none."""
    counts = _REQUESTS.findall(metrics)
    return sum(map(float, counts)) if counts else None
