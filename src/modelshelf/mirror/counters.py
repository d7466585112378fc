"""What the mirror has sent: how a test proves that replicas fetched nothing."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(slots=True)
class Counters:
    """Grows as requests are answered; only the mirror's event loop writes to it.

    Attributes:
        requests: All requests, but for those that read these counters.
        file_requests: GETs of files that were answered with content.
        file_bytes: Bytes of files' content handed to the network.
    """

    requests: int = 0
    file_requests: int = 0
    file_bytes: int = 0

    def to_json(self) -> dict[str, int]:
        """The answer to `GET /_modelshelf/counters`."""
        return dataclasses.asdict(self)
