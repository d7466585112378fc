"""Asking a Hub: a few small GETs, retried, with redirects followed by hand."""

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
from modelshelf.sources.listing import MAX_TEXT
from modelshelf.sources.refusals import Asked, refusal
from modelshelf.transfer.connection import HttpTarget
from modelshelf.transfer.events import Retrying
from modelshelf.transfer.retries import RETRYABLE_STATUSES, Backoff, parse_retry_after

TIMEOUT = 30.0  # seconds without a byte
TRIES = Backoff(max_tries=4, first_seconds=1.0, max_seconds=60.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GOOD = frozenset({200, 206})
_HOPS = 8


class _FailedTryError(Exception):
    """One try failed in a way that another may not; `wait` is what the server asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Client:
    """Asks one Hub about one repository.

    Args:
        session: Sends the requests.
        endpoint: The Hub's base URL.
        token: Sent to that origin only.
        repo: `org/name`.
        revision: Its revision, as asked for.
        on_event: Hears `Retrying`.
        sleep: Waits for some seconds.

    Attributes:
        host: The Hub's host, with port.
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
        parts = urllib.parse.urlsplit(endpoint)
        self.host = parts.netloc.rpartition("@")[2]
        base_url = urllib.parse.urlunsplit(parts._replace(netloc=self.host))
        self._asked = Asked(repo, revision, base_url, self.host, token is not None)
        self._session = session
        self._endpoint = endpoint
        self._on_event = on_event
        self._sleep = sleep
        self._headers: tuple[tuple[str, str], ...] = (
            ("Accept-Encoding", "identity"),
            ("User-Agent", "modelshelf"),
        )
        if token:
            self._headers += (("Authorization", f"Bearer {token}"),)

    def json(self, path: str) -> tuple[Any, str | None]:
        """The JSON value that a path answers with, and the URL of the next page, if any.

        Raises:
            NotAuthorisedError, NotFoundError: The Hub says so.
            SourceError: It cannot be reached, keeps failing, or answers something else.
        """
        body, following = self._get(path)
        try:
            return json.loads(body), following
        except (ValueError, RecursionError):
            raise self.nonsense("answers with something else than JSON") from None

    def content(self, path: str, size: int) -> bytes:
        """The first `size` bytes of what a path answers with.

        Raises:
            NotAuthorisedError, NotFoundError: The Hub says so.
            SourceError: It cannot be reached, or keeps failing.
        """
        # The Hub's bridge for files kept by xet refuses a GET without a range.
        return self._get(path, (("Range", f"bytes=0-{size - 1}"),))[0]

    def nonsense(self, what: str) -> SourceError:
        """The error for a server that does not speak as a Hub does."""
        return SourceError(f"{self.host} {what}", hint="check that HF_ENDPOINT names a Hub")

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
            f"{self.host} {reason} (asked {TRIES.max_tries} times for {self._asked.repo})",
            hint="try again later, or check the network and HF_ENDPOINT",
        )

    def _try(self, target: HttpTarget) -> tuple[bytes, str | None]:
        # The causes of these are cut off: their texts may hold signed URLs or the token.
        try:
            return self._follow(target)
        except httpx2.TimeoutException:
            raise _FailedTryError(f"did not answer for {TIMEOUT:g} seconds") from None
        except (
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
            httpx2.InvalidURL,
            ValueError,
        ):
            raise self.nonsense("leads to where no request can be sent") from None
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
        home = target.origin
        for _ in range(_HOPS):
            request = self._session.build_request(
                "GET", target.url, headers=dict(target.headers), timeout=TIMEOUT
            )
            response = self._session.send(request, stream=True, follow_redirects=False)
            try:
                location = response.headers.get("Location")
                if response.status_code not in _REDIRECTS or not location:
                    return self._read(response, at_home=target.origin == home)
            finally:
                response.close()
            target = target.redirected(location)
        raise self.nonsense(f"redirects more than {_HOPS} times")

    def _read(self, response: httpx2.Response, *, at_home: bool) -> tuple[bytes, str | None]:
        status = response.status_code
        if status in RETRYABLE_STATUSES:
            asked = parse_retry_after(response.headers.get("Retry-After"))
            raise _FailedTryError(f"answers {status}", asked)
        if status not in _GOOD:
            if not at_home:
                # Its refusals are about a signed URL, which the next try gets anew.
                raise _FailedTryError(f"leads to a file host that answers {status}")
            raise refusal(self._asked, status, response.headers)
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > MAX_TEXT:
                raise self.nonsense("answers without an end")
        return bytes(body), response.links.get("next", {}).get("url")
