"""Ask a server through the API server, as its users will: which models, and one question."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from modelshelf.render import names
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes.events import Answered, NotAsked
from modelshelf.targets.kubernetes.site import Deadline, Site

QUESTION = "Name the capital city of France."
_BEGINNING = "The capital city of France is"  # for a model that has not learned to be asked
_TOKENS = 24
_OK, _FORBIDDEN, _MISSING, _UNAVAILABLE = 200, 403, 404, 503
_ENDPOINTS = 15.0  # seconds; a ready pod becomes an endpoint a moment later
_JSON = {"Content-Type": "application/json"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Said:
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
    def from_the_api_server(self) -> bool:
        return self.value.get("kind") == "Status"

    @property
    def words(self) -> str:
        """What it says, in a line."""
        error = self.value.get("error")
        message = error.get("message") if isinstance(error, dict) else error
        text = message or self.value.get("message") or self.body.decode(errors="replace")
        return " ".join(str(text).split())[:300] or f"HTTP status {self.status}"


def ask(site: Site, server: str) -> None:
    """Ask a server for its models, and the first of them a question; tell the answer.

    Raises:
        TargetError: It answers with an error, or with nothing.
    """
    models = _send(site, server, "GET", "/v1/models")
    if models.status == _FORBIDDEN and models.from_the_api_server:
        site.tell(
            NotAsked(server, f"this user may not use the API server as proxy: {models.words}")
        )
        return
    if models.status == _MISSING:
        site.tell(NotAsked(server, "it has no OpenAI-compatible API (404 for /v1/models)"))
        return
    model = model_of(models.value) if models.status == _OK else ""
    if not model:
        raise _refused(server, "/v1/models", models)
    began = site.pace.now()
    question, answer = _answer(site, server, model)
    took = round(site.pace.now() - began, 3)
    site.tell(Answered(server, model, question, answer, took))


def model_of(models: dict[str, Any]) -> str:
    """The name of the first model of a list of models; empty if there is none. Pure."""
    data = models.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return str(data[0].get("id") or "")
    return ""


def lacks_template(status: int, words: str) -> bool:
    """Whether a refusal says that the model has no chat template. Pure.

    vLLM: `default chat template is no longer allowed, so you must provide a chat template`;
    llama.cpp always has one; others answer 404 where they have no chat at all.
    """
    return status == _MISSING or (status != _OK and "chat template" in words.lower())


def _answer(site: Site, server: str, model: str) -> tuple[str, str]:
    common = {"model": model, "max_tokens": _TOKENS, "temperature": 0}
    path = "/v1/chat/completions"
    body = {**common, "messages": [{"role": "user", "content": QUESTION}]}
    said = _send(site, server, "POST", path, body)
    question = QUESTION
    if lacks_template(said.status, said.words):
        path, question = "/v1/completions", _BEGINNING
        said = _send(site, server, "POST", path, {**common, "prompt": question})
    answer = text_of(said.value) if said.status == _OK else None
    if answer is None:
        raise _refused(server, path, said)
    return question, answer


def text_of(completion: dict[str, Any]) -> str | None:
    """The text of a completion, of a chat or of a text; None if it is neither. Pure.

    A model that thinks may have no content yet when its tokens are used up.
    """
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    if isinstance(message, dict):
        thought = message.get("reasoning_content") or message.get("reasoning")
        return str(message.get("content") or thought or "").strip()
    text = choices[0].get("text")
    return None if text is None else str(text).strip()


def _send(
    site: Site, server: str, method: str, path: str, body: dict[str, Any] | None = None
) -> _Said:
    name = names.fitted(server)
    whole = f"/api/v1/namespaces/{site.namespace}/services/{name}:http/proxy{path}"
    data = None if body is None else json.dumps(body).encode()
    headers = _JSON if data else {}
    deadline = Deadline(site.pace, _ENDPOINTS)
    while True:
        reply = site.cluster.request(
            method, whole, data, headers=headers, timeout=site.timeouts.answer
        )
        said = _Said(reply.status, reply.body)
        no_endpoint = said.status == _UNAVAILABLE and said.from_the_api_server
        if not no_endpoint or deadline.passed:
            return said
        site.pace.sleep(site.pace.look)


def _refused(server: str, path: str, said: _Said) -> TargetError:
    return TargetError(
        f"server {server} is ready, but answers {path} with {said.status}: {said.words}",
        hint=f"modelshelf logs {server}",
    )
