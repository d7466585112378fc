"""Which failures are worth another try, and how long to wait before it. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import time

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
LESS_PLEASE = frozenset({429, 503})


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """How tries are spaced: exponentially, with jitter, between 0 and a cap.

    Attributes:
        tries: Tries in a row that bring no byte before giving up.
        first: Seconds before the second try, at most.
        most: Seconds before any try, at most; what a server asks for is cut to it too.
    """

    tries: int = 8
    first: float = 0.5
    most: float = 120.0

    def wait(self, failures: int, jitter: float, retry_after: float | None = None) -> float:
        """Seconds to wait.

        Args:
            failures: Tries in a row that brought nothing; at least 1.
            jitter: A random number from 0 to 1. Full jitter keeps replicas from coming together.
            retry_after: Seconds that the server asked for.
        """
        own = min(self.first * 2.0 ** (failures - 1), self.most / 4) * (0.5 + jitter / 2)
        if retry_after is None:
            return own
        return min(max(retry_after, 0.0) + own * 0.1, self.most)


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for; None if there is none (RFC 9110, 10.2.3).

    Args:
        value: The header: seconds, or a date.
        now: Seconds since 1970, to measure a date from.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        # The old forms without a zone mean UTC too.
        seconds = (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, seconds - (time.time() if now is None else now))
