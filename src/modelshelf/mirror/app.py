"""The mirror as a Starlette application: requests in, answers out."""

from __future__ import annotations

from urllib.parse import parse_qsl

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from modelshelf.mirror.answers import Answer, encode, refusal
from modelshelf.mirror.bodies import FileAnswer
from modelshelf.mirror.counters import Counters
from modelshelf.mirror.hub import Hub, OpenFile, Question
from modelshelf.mirror.index import Index
from modelshelf.mirror.routes import Kind, parse
from modelshelf.shelf.shelf import Shelf

MAX_BODY = 8 * 1024 * 1024  # bytes of a list of paths
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def make_app(shelf: Shelf, *, counters: Counters | None = None) -> Starlette:
    """The application that serves a shelf.

    Args:
        shelf: What to serve. Models that come and go are seen within half a second.
        counters: Where requests and bytes are counted; `GET /_modelshelf/counters` shows them.
    """
    front = _Front(Hub(Index(shelf)), counters or Counters())
    return Starlette(routes=[Route("/{path:path}", front.serve, methods=_METHODS)])


class _Front:
    """Turns requests into questions, and answers into responses."""

    def __init__(self, hub: Hub, counters: Counters) -> None:
        self._hub = hub
        self._counters = counters

    async def serve(self, request: Request) -> Response:
        """Answer one request. The shelf is read in a thread: its filesystem may be slow."""
        ask = parse(request.scope["raw_path"])
        if ask.kind is Kind.COUNTERS:
            return _response(Answer(200, None), encode(self._counters.to_json()))
        self._counters.requests += 1
        body = await _body(request) if ask.kind is Kind.PATHS else b""
        if body is None:
            answer = refusal(413, "the list of paths is too long")
            return _response(answer, encode(answer.body))
        question = Question(
            method=request.method,
            ask=ask,
            url=_url(request),
            query=dict(parse_qsl(request.url.query, keep_blank_values=True)),
            headers=request.headers,
            body=body,
        )
        return await to_thread.run_sync(self._respond, question)

    def _respond(self, question: Question) -> Response:
        answer = self._hub.answer(question)
        if isinstance(answer, OpenFile):
            return FileAnswer(answer.fd, answer.delivery, self._counters)
        return _response(answer, encode(answer.body))


def _response(answer: Answer, content: bytes) -> Response:
    return Response(content, answer.status, answer.headers, media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """The request's body; None if it is too long."""
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > MAX_BODY:
                return None
    except ClientDisconnect:
        return b""
    return bytes(body)


def _url(request: Request) -> str:
    """The request's absolute URL without its query, with its path as it was sent."""
    host = request.headers.get("host") or request.url.netloc
    return f"{request.url.scheme}://{host}{request.scope['raw_path'].decode('ascii')}"
