"""Where a Hub serves the files of one snapshot."""

from __future__ import annotations

import dataclasses
import re

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot
from modelshelf.transfer.connection import HttpTarget, split_userinfo

_HUB_URI = re.compile(r"hf://([\w.-]+/[\w.-]+)")


@dataclasses.dataclass(frozen=True, slots=True)
class HubSource:
    """Where a Hub serves the files of one snapshot.

    Attributes:
        base: The URL below which the files are: `https://HUB/org/name/resolve/<commit>`.
        token: The Hub's token, sent to no other host; None for none.
        authorization: What is sent in place of the token, for a mirror whose URL has a user and a
            password; None for the token.
    """

    base: str
    token: str | None = dataclasses.field(default=None, repr=False)
    authorization: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of_snapshot(cls, endpoint: str, snapshot: Snapshot, token: str | None) -> HubSource:
        """Find where a Hub serves the files of a snapshot.

        Args:
            endpoint: The Hub's base URL. It may have a user and a password.
            snapshot: Its `source` names the repository, which may have another name on the shelf.
            token: The Hub's token; None for none.

        Raises:
            UsageError: The snapshot is not from a Hub.
        """
        match = _HUB_URI.match(snapshot.source)
        if match is None:
            raise UsageError(
                f"{snapshot.source} is not on a Hub, so nothing can be fetched from there"
            )
        url, authorization = split_userinfo(endpoint.rstrip("/"))
        return cls(f"{url}/{match[1]}/resolve/{snapshot.commit}", token, authorization)

    def target(self, path: str) -> HttpTarget:
        """Where to request one file, by its path in the snapshot."""
        headers = [("Accept-Encoding", "identity"), ("User-Agent", "modelshelf")]
        if self.authorization:
            headers.append(("Authorization", self.authorization))
        elif self.token:
            headers.append(("Authorization", f"Bearer {self.token}"))
        for character in "%?#":
            path = path.replace(character, f"%{ord(character):02X}")
        return HttpTarget(f"{self.base}/{path}", tuple(headers))
