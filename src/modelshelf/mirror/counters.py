"""Counts of what the mirror has sent. Tests use them to prove that replicas fetched nothing."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(slots=True)
class Counters:
    """Counts requests and bytes. Only the mirror's event loop changes the counts.

    Attributes:
        requests: The number of all requests, except those that read these counters.
        file_requests: The number of GET requests that were answered with content of a file.
        file_bytes: The number of bytes of file content that were passed to the network.
    """

    requests: int = 0
    file_requests: int = 0
    file_bytes: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the answer to `GET /_modelshelf/counters`."""
        return dataclasses.asdict(self)
