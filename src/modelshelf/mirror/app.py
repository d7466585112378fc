"""The mirror as a Starlette application: it turns requests into answers."""

from __future__ import annotations

from urllib.parse import parse_qsl

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from modelshelf.mirror.counters import Counters
from modelshelf.mirror.file_response import FileResponse
from modelshelf.mirror.hub import Hub, MirrorRequest, OpenedFile
from modelshelf.mirror.index import Index
from modelshelf.mirror.json_answers import JsonAnswer, encode, refusal
from modelshelf.mirror.routes import RouteKind, parse_route
from modelshelf.shelf.shelf import Shelf

MAX_BODY_BYTES = 8 * 1024 * 1024  # the only body is a list of paths
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def make_app(shelf: Shelf, *, counters: Counters | None = None) -> Starlette:
    """Make the application that serves a shelf.

    Args:
        shelf: The shelf to serve. Models that are added or removed are noticed within half a
            second.
        counters: Counts requests and bytes. `GET /_modelshelf/counters` shows the counts.
    """
    endpoint = _Endpoint(Hub(Index(shelf)), counters or Counters())
    return Starlette(routes=[Route("/{path:path}", endpoint.serve, methods=_METHODS)])


class _Endpoint:
    """Converts Starlette's requests for the hub, and the hub's answers for Starlette."""

    def __init__(self, hub: Hub, counters: Counters) -> None:
        self._hub = hub
        self._counters = counters

    async def serve(self, request: Request) -> Response:
        """Answer one request. A thread reads the shelf, because its filesystem may be slow."""
        route = parse_route(request.scope["raw_path"])
        if route.kind is RouteKind.COUNTERS:
            return _response(JsonAnswer(200, None), encode(self._counters.to_json()))
        self._counters.requests += 1
        body = await _body(request) if route.kind is RouteKind.PATHS else b""
        if body is None:
            answer = refusal(413, "the list of paths is too long")
            return _response(answer, encode(answer.body))
        mirror_request = MirrorRequest(
            method=request.method,
            route=route,
            url=_url(request),
            query=dict(parse_qsl(request.url.query, keep_blank_values=True)),
            headers=request.headers,
            body=body,
        )
        return await to_thread.run_sync(self._respond, mirror_request)

    def _respond(self, request: MirrorRequest) -> Response:
        answer = self._hub.answer(request)
        if isinstance(answer, OpenedFile):
            return FileResponse(answer.fd, answer.answer, self._counters)
        return _response(answer, encode(answer.body))


def _response(answer: JsonAnswer, content: bytes) -> Response:
    return Response(content, answer.status, answer.headers, media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """Read the body of a request; None if it is too long."""
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        return b""
    return bytes(body)


def _url(request: Request) -> str:
    """Return the absolute URL of a request without its query. The path is the one that was sent."""
    host = request.headers.get("host") or request.url.netloc
    return f"{request.url.scheme}://{host}{request.scope['raw_path'].decode('ascii')}"
