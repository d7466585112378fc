"""A client for the few small GET requests to a Hub.

It repeats requests that failed, and follows redirects itself, so that the token is sent to no other
host than the Hub.
"""

from __future__ import annotations

import json
import random
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import httpx2

from modelshelf.shelf.errors import SourceError
from modelshelf.shelf.events import Listener
from modelshelf.sources.hub_refusals import HubQuery, refusal
from modelshelf.sources.listing import MAX_TEXT_BYTES
from modelshelf.transfer.connection import HttpTarget, split_userinfo
from modelshelf.transfer.events import Retrying
from modelshelf.transfer.retries import RETRYABLE_STATUSES, Backoff, requested_wait_seconds

TIMEOUT_SECONDS = 30.0  # without a byte
TRIES = Backoff(max_tries=4, first_seconds=1.0, max_seconds=60.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SUCCESSES = frozenset({200, 206})
_MAX_REDIRECTS = 8


class _FailedTryError(Exception):
    """An attempt failed, and another may succeed. `wait` is the Retry-After of the server."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class HubClient:
    """Asks one Hub about one repository.

    Args:
        session: Sends the requests.
        endpoint: The URL of the Hub. A user and a password in it are sent in place of the token.
        token: A token. It is sent to the origin of the Hub only.
        repo: The repository, `org/name`.
        revision: The requested revision.
        on_event: Hears `Retrying`.
        sleep: Waits for a number of seconds.

    Attributes:
        host: The host of the Hub, with its port.
    """

    def __init__(  # noqa: PLR0913  # each is one part of a request
        self,
        session: httpx2.Client,
        endpoint: str,
        token: str | None,
        *,
        repo: str,
        revision: str,
        on_event: Listener,
        sleep: Callable[[float], None],
    ) -> None:
        base_url, authorization = split_userinfo(endpoint)
        self.host = urllib.parse.urlsplit(base_url).netloc
        self._query = HubQuery(repo, revision, base_url, self.host, token is not None)
        self._session = session
        self._endpoint = base_url
        self._on_event = on_event
        self._sleep = sleep
        self._headers: tuple[tuple[str, str], ...] = (
            ("Accept-Encoding", "identity"),
            ("User-Agent", "modelshelf"),
        )
        if authorization or token:
            self._headers += (("Authorization", authorization or f"Bearer {token}"),)

    def json(self, path: str) -> tuple[Any, str | None]:
        """Get a path whose content is JSON.

        Returns:
            The JSON value, and the URL of the next page; None if there is no next page.

        Raises:
            NotAuthorisedError, NotFoundError: The Hub refuses.
            SourceError: The Hub cannot be reached, keeps failing, or answers something else.
        """
        body, next_url = self._get(path)
        try:
            return json.loads(body), next_url
        except (ValueError, RecursionError):
            raise self.not_a_hub("answers with something other than JSON") from None

    def content(self, path: str, size: int) -> bytes:
        """Get the first `size` bytes of a path's content.

        Raises:
            NotAuthorisedError, NotFoundError: The Hub refuses.
            SourceError: The Hub cannot be reached, or keeps failing.
        """
        # For files that are stored in xet, the Hub refuses a GET without a range.
        return self._get(path, (("Range", f"bytes=0-{size - 1}"),))[0]

    def not_a_hub(self, behaviour: str) -> SourceError:
        """Make the error for a server that does not behave like a Hub."""
        return SourceError(f"{self.host} {behaviour}", hint="check that HF_ENDPOINT names a Hub")

    def _get(
        self, path: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> tuple[bytes, str | None]:
        target = HttpTarget(self._endpoint + path, self._headers + headers)
        for failures in range(1, TRIES.max_tries + 1):
            try:
                return self._try(target)
            except _FailedTryError as error:
                reason = error.reason
                wait = TRIES.wait_seconds(failures, random.random(), error.wait)  # noqa: S311
            if failures < TRIES.max_tries:
                self._on_event(Retrying(path.partition("?")[0], reason, round(wait, 1)))
                self._sleep(wait)
        raise SourceError(
            f"{self.host} {reason} (asked {TRIES.max_tries} times for {self._query.repo})",
            hint="try again later, or check the network and HF_ENDPOINT",
        )

    def _try(self, target: HttpTarget) -> tuple[bytes, str | None]:
        # `from None`: the texts of the original errors may contain signed URLs or the token.
        try:
            return self._follow(target)
        except httpx2.TimeoutException:
            raise _FailedTryError(f"did not answer for {TIMEOUT_SECONDS:g} seconds") from None
        except (
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
            httpx2.InvalidURL,
            ValueError,
        ):
            raise self.not_a_hub("redirects to a URL to which no request can be sent") from None
        except httpx2.TransportError as error:
            raise self._unreachable(error) from None
        except httpx2.HTTPError:
            raise _FailedTryError("sent a reply that cannot be read") from None

    def _unreachable(self, error: httpx2.TransportError) -> SourceError | _FailedTryError:
        text = re.sub(r"\S*://\S*", "…", str(error).partition("\n")[0])
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return SourceError(
                f"{self.host} has a certificate that is not trusted here ({text})",
                hint="name your own authority's file in SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
            )
        return _FailedTryError(f"cannot be reached ({text or type(error).__name__})")

    def _follow(self, target: HttpTarget) -> tuple[bytes, str | None]:
        hub_origin = target.origin
        for _ in range(_MAX_REDIRECTS):
            request = self._session.build_request(
                "GET", target.url, headers=dict(target.headers), timeout=TIMEOUT_SECONDS
            )
            response = self._session.send(request, stream=True, follow_redirects=False)
            try:
                location = response.headers.get("Location")
                if response.status_code not in _REDIRECTS or not location:
                    return self._read(response, from_hub=target.origin == hub_origin)
            finally:
                response.close()
            target = target.redirected(location)
        raise self.not_a_hub(f"redirects more than {_MAX_REDIRECTS} times")

    def _read(self, response: httpx2.Response, *, from_hub: bool) -> tuple[bytes, str | None]:
        status = response.status_code
        if status in RETRYABLE_STATUSES:
            wait = requested_wait_seconds(response.headers.get)
            raise _FailedTryError(f"answers {status}", wait)
        if status not in _SUCCESSES:
            if not from_hub:
                # The signed URL may have expired. The next attempt gets a new one.
                raise _FailedTryError(f"redirects to a file host that answers {status}")
            raise refusal(self._query, status, response.headers)
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > MAX_TEXT_BYTES:
                raise self.not_a_hub("answers without end")
        return bytes(body), response.links.get("next", {}).get("url")
