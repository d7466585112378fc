"""When a server's pod is started, ready and alive. Pure.

Kubernetes' own defaults are for programs that start in seconds and answer in milliseconds: they end
long loads, and take pods that are merely busy out of service.
"""

from modelshelf.engines.pods import Container
from modelshelf.render.names import Object

_EACH = 5  # seconds between two looks
# There are no answers to disturb yet, and a start takes as long as it takes to be noticed.
_EACH_AT_START = 1


def probes(container: Container, start: int) -> Object:
    """The probes of an engine's container.

    Args:
        container: What runs in it.
        start: Seconds that it may take to load.
    """
    # What never started, or hangs, has no answers under way to wait for.
    kill = {"terminationGracePeriodSeconds": container.drain.teardown}
    return {
        "startupProbe": _probe(container, _EACH_AT_START, 5, start) | kill,
        "readinessProbe": _probe(container, _EACH, 5, 3),
        "livenessProbe": _probe(container, 20, 15, 6) | kill,
    }


def _probe(container: Container, period: int, timeout: int, failures: int) -> Object:
    return {
        "httpGet": {"path": container.health_path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
