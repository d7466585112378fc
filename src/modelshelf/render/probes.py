"""The probes by which Kubernetes sees that a server has started, is ready, and is alive. Pure.

Kubernetes' defaults suit programs that start in seconds and answer in milliseconds. An engine loads
for minutes and may be busy for seconds: with the defaults it would be killed while it loads, and
taken out of service while it works.
"""

from modelshelf.engines.pod_engine import Container
from modelshelf.render.names import Object

_PERIOD_SECONDS = 5
# A start counts as over when a probe sees it. Probing often is harmless while nothing is served.
_START_PERIOD_SECONDS = 1


def probes(container: Container, start_seconds: int) -> Object:
    """The probes of an engine's container.

    Args:
        container: The engine.
        start_seconds: How long it may take to load.
    """
    # An engine that never started, or that hangs, has no requests that are worth waiting for.
    kill = {"terminationGracePeriodSeconds": container.drain.teardown}
    return {
        "startupProbe": _probe(container, _START_PERIOD_SECONDS, 5, start_seconds) | kill,
        "readinessProbe": _probe(container, _PERIOD_SECONDS, 5, 3),
        "livenessProbe": _probe(container, 20, 15, 6) | kill,
    }


def _probe(container: Container, period: int, timeout: int, failures: int) -> Object:
    return {
        "httpGet": {"path": container.health_path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
