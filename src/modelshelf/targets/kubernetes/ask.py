"""Ask a server one question through the API server, with the requests that its users send."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from modelshelf.render import names
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import Answered, NotAsked
from modelshelf.targets.kubernetes.session import Session

QUESTION = "Name the capital city of France."
_BEGINNING = "The capital city of France is"  # for a model that only completes texts
_MAX_TOKENS = 24
_MAX_MESSAGE_CHARACTERS = 300
_OK, _FORBIDDEN, _MISSING, _UNAVAILABLE = 200, 403, 404, 503
_ENDPOINT_SECONDS = 15.0  # a Service knows a ready pod a moment later
_JSON = {"Content-Type": "application/json"}


@dataclasses.dataclass(frozen=True, slots=True)
class _ProxiedResponse:
    """An answer of the server, or of the API server that passes requests on to it.

    Attributes:
        status: The HTTP status.
        body: The whole body.
    """

    status: int
    body: bytes

    @property
    def value(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def is_from_api_server(self) -> bool:
        return self.value.get("kind") == "Status"

    @property
    def message(self) -> str:
        """What the answer says, in one line."""
        error = self.value.get("error")
        message = error.get("message") if isinstance(error, dict) else error
        text = message or self.value.get("message") or self.body.decode(errors="replace")
        line = " ".join(str(text).split())[:_MAX_MESSAGE_CHARACTERS]
        return line or f"HTTP status {self.status}"


def ask(session: Session, server: str) -> None:
    """Ask a server for its models, and the first of them a question; tell the answer.

    Args:
        session: The cluster, and how long to wait for an answer.
        server: The server's key in the file.

    Raises:
        TargetError: The server answers with an error, or with something else than an answer.
    """
    response = _send(session, server, "GET", "/v1/models")
    if response.status == _FORBIDDEN and response.is_from_api_server:
        reason = f"this user may not use the API server as proxy: {response.message}"
        session.tell(NotAsked(server, reason))
        return
    if response.status == _MISSING:
        reason = "it has no OpenAI-compatible API (404 for /v1/models)"
        session.tell(NotAsked(server, reason))
        return
    model = first_model(response.value) if response.status == _OK else ""
    if not model:
        raise _wrong_answer_error(server, "/v1/models", response)
    began = session.clock.now()
    question, answer = _ask_model(session, server, model)
    seconds = round(session.clock.now() - began, 3)
    session.tell(Answered(server, model, question, answer, seconds))


def first_model(models: dict[str, Any]) -> str:
    """The name of the first model in a list of models; empty if there is none. Pure."""
    data = models.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return str(data[0].get("id") or "")
    return ""


def lacks_chat_template(status: int, message: str) -> bool:
    """Whether a refusal says that the model has no chat template. Pure.

    vLLM says `default chat template is no longer allowed, so you must provide a chat template`;
    llama.cpp always has one; servers without any chat answer 404.

    Args:
        status: The HTTP status.
        message: What the server said.
    """
    return status == _MISSING or (status != _OK and "chat template" in message.lower())


def _ask_model(session: Session, server: str, model: str) -> tuple[str, str]:
    """Ask a model by chat, or by completion if it has no chat template.

    Returns:
        The question and the answer.
    """
    common = {"model": model, "max_tokens": _MAX_TOKENS, "temperature": 0}
    path = "/v1/chat/completions"
    body = {**common, "messages": [{"role": "user", "content": QUESTION}]}
    response = _send(session, server, "POST", path, body)
    question = QUESTION
    if lacks_chat_template(response.status, response.message):
        path, question = "/v1/completions", _BEGINNING
        response = _send(session, server, "POST", path, {**common, "prompt": question})
    answer = text_of(response.value) if response.status == _OK else None
    if answer is None:
        raise _wrong_answer_error(server, path, response)
    return question, answer


def text_of(completion: dict[str, Any]) -> str | None:
    """The text of a completion, of a chat or of a text; None if it is neither. Pure.

    A model that reasons first may have no content yet when its tokens are used up; then its
    reasoning is the text.
    """
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    if isinstance(message, dict):
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        return str(message.get("content") or reasoning or "").strip()
    text = choices[0].get("text")
    return None if text is None else str(text).strip()


def _send(
    session: Session, server: str, method: str, path: str, body: dict[str, Any] | None = None
) -> _ProxiedResponse:
    """Send a request to a server. Wait a little if its Service does not know the pod yet."""
    name = names.fitted(server)
    url = f"/api/v1/namespaces/{session.namespace}/services/{name}:http/proxy{path}"
    data = None if body is None else json.dumps(body).encode()
    headers = _JSON if data else {}
    deadline = Deadline(session.clock, _ENDPOINT_SECONDS)
    while True:
        raw = session.cluster.request(
            method, url, data, headers=headers, timeout=session.timeouts.answer
        )
        response = _ProxiedResponse(raw.status, raw.body)
        has_no_endpoint = response.status == _UNAVAILABLE and response.is_from_api_server
        if not has_no_endpoint or deadline.passed:
            return response
        session.clock.pause()


def _wrong_answer_error(server: str, path: str, response: _ProxiedResponse) -> TargetError:
    return TargetError(
        f"server {server} is ready, but answers {path} with {response.status}: {response.message}",
        hint=f"modelshelf logs {server}",
    )
