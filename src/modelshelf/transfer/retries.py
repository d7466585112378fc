"""Which failures are worth another try, and how long to wait before it. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import re
import time
from collections.abc import Callable

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
THROTTLING_STATUSES = frozenset({429, 503})  # the server asks for fewer requests
_RATE_PARAMETER = re.compile(r";\s*([rt])\s*=\s*(\d+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """How tries are spaced: the waits grow exponentially, with jitter, up to a maximum.

    Attributes:
        max_tries: Tries in a row that bring no byte, before giving up.
        first_seconds: The longest wait before the second try.
        max_seconds: The longest wait before any try. A server that asks for a longer one is not
            obeyed.
    """

    max_tries: int = 8
    first_seconds: float = 0.5
    max_seconds: float = 120.0

    def wait_seconds(
        self, failures: int, jitter: float, server_seconds: float | None = None
    ) -> float:
        """How long to wait before the next try.

        Args:
            failures: Tries in a row that brought nothing; at least 1.
            jitter: A random number from 0 to 1. Without it, replicas that failed together would
                all come back at the same moment.
            server_seconds: The wait that the server asked for; None if it did not.
        """
        longest = min(self.first_seconds * 2.0 ** (failures - 1), self.max_seconds / 4)
        own_seconds = longest * (0.5 + jitter / 2)
        if server_seconds is None:
            return own_seconds
        return min(max(server_seconds, 0.0) + own_seconds * 0.1, self.max_seconds)


def requested_wait_seconds(header: Callable[[str], str | None]) -> float | None:
    """Return how long a server asks to wait, by Retry-After or else by RateLimit.

    Args:
        header: Returns the value of a header of the reply; None if the reply lacks it.
    """
    seconds = parse_retry_after(header("Retry-After"))
    return parse_rate_limit(header("RateLimit")) if seconds is None else seconds


def parse_rate_limit(value: str | None) -> float | None:
    """Parse a RateLimit header (draft-ietf-httpapi-ratelimit-headers), which the Hub sends.

    An example is `"api";r=0;t=20`: no request is left, and in 20 seconds there will be others.

    Args:
        value: The header: for each limit its name, `r` and `t`, divided by commas.

    Returns:
        Seconds until each limit that is used up has requests again; None if none is used up, or if
        the header cannot be understood.
    """
    waits = []
    for limit in (value or "").split(","):
        parameters = dict(_RATE_PARAMETER.findall(limit))
        if parameters.get("r") == "0" and "t" in parameters:
            waits.append(float(parameters["t"]))
    return max(waits, default=None)


def parse_retry_after(value: str | None, now: float | None = None) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3).

    Args:
        value: The header: seconds, or a date.
        now: Seconds since 1970, from which a date is measured; None for the present.

    Returns:
        Seconds to wait; None if there is no header, or it cannot be understood.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        # The older forms have no zone and mean UTC, too.
        seconds = (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, seconds - (time.time() if now is None else now))
