"""How many connections to use. Pure."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How the number of connections grows.

    Attributes:
        min_connections: Connections at the start.
        max_connections: The most connections.
        gain: Twice as many connections must raise the throughput by this factor to be kept.
        settle_seconds: Time after a change that is not measured.
        measure_seconds: Time that is measured then.
        retry_seconds: Time after which a doubling that did not help is tried again, since one
            measurement may be wrong. It doubles each time.
        max_rest_seconds: The longest such time, and the time without changes after the server asked
            for fewer requests.
        busy_load: The share of the processors' time from which on more connections only cost more.
    """

    min_connections: int = 4
    max_connections: int = 32
    gain: float = 1.15
    settle_seconds: float = 0.2
    measure_seconds: float = 0.4
    retry_seconds: float = 3.0
    max_rest_seconds: float = 30.0
    busy_load: float = 0.6


class ConnectionRamp:
    """Doubles the connections while that raises the throughput, and undoes what did not help.

    This is TCP's slow start, with connections in place of packets. Where the link limits each
    connection, many are faster; where the processor is busy, or the server throttles, few are.

    Args:
        limits: How the number grows.
        now: A monotonic clock, in seconds.

    Attributes:
        connections: How many there should be now.
    """

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._limits = limits
        self._rate_before = 0.0  # bytes a second, before the last doubling
        self._connections_before = limits.min_connections
        self._last_change = now
        self._measure_start: tuple[float, int, float] | None = None
        self._rest_until: float | None = None
        self._retry_seconds = limits.retry_seconds
        self.connections = limits.min_connections

    def tick(self, now: float, received: int, cpu_seconds: float = 0.0) -> int:
        """Decide how many connections there should be; called several times a second.

        Args:
            now: A monotonic clock, in seconds.
            received: Bytes received so far.
            cpu_seconds: Processor time used so far, divided by the number of cores.
        """
        if self._rest_until is not None:
            if now >= self._rest_until:
                self._rest_until, self._rate_before = None, 0.0
                self._change(self.connections, now)
            return self.connections
        if now - self._last_change < self._limits.settle_seconds:
            return self.connections
        # Before the first byte there is nothing to measure.
        if self._measure_start is None or received == self._measure_start[1]:
            self._measure_start = (now, received, cpu_seconds)
            return self.connections
        start, received_before, cpu_before = self._measure_start
        seconds = now - start
        if seconds >= self._limits.measure_seconds:
            rate, load = (
                (received - received_before) / seconds,
                (cpu_seconds - cpu_before) / seconds,
            )
            self._decide(rate, load, now)
        return self.connections

    def _decide(self, rate: float, load: float, now: float) -> None:
        limits = self._limits
        if load >= limits.busy_load and not self._rate_before:
            self._rest(limits.retry_seconds, self.connections, now)
        elif rate < self._rate_before * limits.gain:
            self._rest(self._retry_seconds, self._connections_before, now)
            self._retry_seconds = min(self._retry_seconds * 2, limits.max_rest_seconds)
        elif self.connections < limits.max_connections:
            if self._rate_before:
                self._retry_seconds = limits.retry_seconds
            self._rate_before, self._connections_before = rate, self.connections
            self._change(min(self.connections * 2, limits.max_connections), now)
        else:
            self._rest(limits.max_rest_seconds, self.connections, now)

    def back_off(self, now: float) -> None:
        """Halve the connections and rest, since the server asked for fewer requests."""
        if now - self._last_change >= self._limits.settle_seconds:
            self._rest(self._limits.max_rest_seconds, max(1, self.connections // 2), now)

    def _rest(self, seconds: float, connections: int, now: float) -> None:
        self._rest_until = now + seconds
        self._change(connections, now)

    def _change(self, connections: int, now: float) -> None:
        self.connections, self._last_change, self._measure_start = connections, now, None
