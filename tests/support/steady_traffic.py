"""Steady requests to an OpenAI-compatible server, all of which are counted and none repeated."""

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

_TIMEOUT = 60.0  # seconds for an answer's next byte
_LONGEST = 180.0  # seconds after which a load ends by itself, whatever becomes of the test
_TOKENS = {"chat": 4, "stream": 24}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request.

    Attributes:
        kind: `chat` or `stream`.
        status: The HTTP status; 0 without an answer.
        fault: What was wrong with the answer; empty for a complete one.
        at: Seconds from the beginning of the load to that of the request.
        seconds: How long the request took.
    """

    kind: str
    status: int
    fault: str
    at: float
    seconds: float


class Traffic:
    """Several clients that each ask again by a new connection as soon as they are answered.

    Each client asks in turn for a short chat completion and for a stream.

        with Traffic("10.0.0.7", "smol") as traffic:
            …
        traffic.assert_whole()

    Args:
        host: The server's host.
        model: The name of the model.
        port: The server's port.
        clients: How many clients there are.
    """

    def __init__(self, host: str, model: str, port: int = 80, clients: int = 3) -> None:
        self._host, self._port, self._model = host, port, model
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._began = 0.0
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(clients)
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
        """The results of all finished requests."""
        return list(self._answers)

    def count(self, kind: str) -> int:
        """How many requests of a kind have finished."""
        return sum(answer.kind == kind for answer in self.answers)

    def assert_whole(self, least: int = 5) -> None:
        """Assert that there were enough requests, and that each got a complete answer with 200.

        Args:
            least: The minimum number of requests of each kind.
        """
        faults = [answer for answer in self.answers if answer.fault]
        assert not faults, f"{len(faults)} of {len(self.answers)} requests failed: {faults[:5]}"
        assert {answer.status for answer in self.answers} == {200}
        counts = collections.Counter(answer.kind for answer in self.answers)
        assert min(counts["chat"], counts["stream"]) >= least, counts
        assert time.monotonic() - self._began < _LONGEST, "the load had ended before the test"

    def _ask_on(self, number: int) -> None:
        for turn in itertools.count(number):
            if self._stop.is_set() or time.monotonic() - self._began > _LONGEST:
                return
            self._answers.append(self._ask("stream" if turn % 2 else "chat"))

    def _ask(self, kind: str) -> Answer:
        began = time.monotonic()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
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
        body = {"model": self._model, "messages": messages, "max_tokens": _TOKENS[kind]}
        return json.dumps(body | {"stream": kind == "stream"})


def chat_fault(text: str) -> str:
    """What is wrong with a chat completion; empty if it is complete."""
    try:
        (choice,) = json.loads(text)["choices"]
    except (ValueError, KeyError) as error:
        return f"{error!r} in {text[:200]}"
    whole = choice["finish_reason"] and choice["message"]["content"]
    return "" if whole else f"no end or no words: {choice}"


def stream_fault(text: str) -> str:
    """What is wrong with a stream; empty if it has a reason for its end, and then `[DONE]`."""
    *parts, last = [part.removeprefix("data: ") for part in text.split("\n\n") if part] or [""]
    if last != "[DONE]":
        return f"the stream ended with {last[-200:]!r}"
    choices = [choice for part in parts for choice in json.loads(part).get("choices", ())]
    if not any(choice["delta"].get("content") for choice in choices):
        return "the stream has no words"
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    return "" if len(reasons) == 1 else f"the stream's reasons for its end: {reasons}"


_HEADERS = {"Content-Type": "application/json", "Connection": "close"}
_FAULTS = {"chat": chat_fault, "stream": stream_fault}
