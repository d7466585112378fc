"""Steady traffic to an OpenAI-compatible server. Every failure counts: no request is retried."""

from __future__ import annotations

import collections
import dataclasses
import http.client
import itertools
import json
import threading
import time
from types import TracebackType
from typing import Self

_TIMEOUT_SECONDS = 60.0  # until the next byte of an answer
_MAX_TRAFFIC_SECONDS = 180.0  # after which the traffic ends, even if the test hangs
_MAX_TOKENS = {"chat": 4, "stream": 24}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one request.

    Attributes:
        kind: `chat` or `stream`.
        status: The HTTP status; 0 if there was no answer.
        fault: What was wrong with the answer; empty if it was complete.
        at: Seconds from the beginning of the traffic to the request.
        seconds: How long it took.
    """

    kind: str
    status: int
    fault: str
    at: float
    seconds: float


class Traffic:
    """Several clients, each of which sends its next request as soon as it has an answer.

    Each request has a new connection. A client alternates between a short chat completion and a
    stream.

        with Traffic("10.0.0.7", "smol") as traffic:
            …
        traffic.assert_whole()

    Args:
        host: The address of the server.
        model: The model's name in its API.
        port: Its port.
        clients: The number of clients.
    """

    def __init__(self, host: str, model: str, port: int = 80, clients: int = 3) -> None:
        self._host, self._port, self._model = host, port, model
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._began = 0.0
        self._threads = [
            threading.Thread(target=self._send_requests, args=(number,))
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> list[Answer]:
        """The outcome of every request that is over."""
        return list(self._answers)

    def count(self, kind: str) -> int:
        """The number of requests of a kind that are over."""
        return sum(answer.kind == kind for answer in self.answers)

    def assert_whole(self, min_requests: int = 5) -> None:
        """Assert that there were enough requests, and that each has a complete answer with 200.

        Args:
            min_requests: The smallest number of requests of each kind.
        """
        faults = [answer for answer in self.answers if answer.fault]
        assert not faults, f"{len(faults)} of {len(self.answers)} requests failed: {faults[:5]}"
        assert {answer.status for answer in self.answers} == {200}
        counts = collections.Counter(answer.kind for answer in self.answers)
        assert min(counts["chat"], counts["stream"]) >= min_requests, counts
        assert time.monotonic() - self._began < _MAX_TRAFFIC_SECONDS, (
            "the traffic ended before the test"
        )

    def _send_requests(self, number: int) -> None:
        for turn in itertools.count(number):
            if self._stop.is_set() or time.monotonic() - self._began > _MAX_TRAFFIC_SECONDS:
                return
            self._answers.append(self._send_request("stream" if turn % 2 else "chat"))

    def _send_request(self, kind: str) -> Answer:
        began = time.monotonic()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        status = 0
        try:
            connection.request("POST", "/v1/chat/completions", self._body(kind), _HEADERS)
            response = connection.getresponse()
            status, text = response.status, response.read().decode()
            fault = _FAULTS[kind](text) if status == http.HTTPStatus.OK else text[:200]
        except (OSError, http.client.HTTPException) as error:
            fault = repr(error)
        finally:
            connection.close()
        now = time.monotonic()
        return Answer(kind, status, fault, round(began - self._began, 2), round(now - began, 2))

    def _body(self, kind: str) -> str:
        messages = [{"role": "user", "content": "Count from one to ten."}]
        body = {"model": self._model, "messages": messages, "max_tokens": _MAX_TOKENS[kind]}
        return json.dumps(body | {"stream": kind == "stream"})


def chat_fault(text: str) -> str:
    """What is wrong with a chat completion; empty if it is complete."""
    try:
        (choice,) = json.loads(text)["choices"]
    except (ValueError, KeyError) as error:
        return f"{error!r} in {text[:200]}"
    complete = choice["finish_reason"] and choice["message"]["content"]
    return "" if complete else f"no reason for the end, or no content: {choice}"


def stream_fault(text: str) -> str:
    """What is wrong with a stream; empty if it ends with one finish reason, then `[DONE]`."""
    *parts, last = [part.removeprefix("data: ") for part in text.split("\n\n") if part] or [""]
    if last != "[DONE]":
        return f"the stream ended with {last[-200:]!r}"
    choices = [choice for part in parts for choice in json.loads(part).get("choices", ())]
    if not any(choice["delta"].get("content") for choice in choices):
        return "the stream has no content"
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    return "" if len(reasons) == 1 else f"the stream's finish reasons: {reasons}"


_HEADERS = {"Content-Type": "application/json", "Connection": "close"}
_FAULTS = {"chat": chat_fault, "stream": stream_fault}
