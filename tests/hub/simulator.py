"""The simulator of the Hub: what it answers to each URL."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import threading
from collections.abc import Collection, Mapping
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

from hub.content import Bytes, Content
from hub.faults import Fault, Kind, Reply, RequestFacts, affects, damage
from hub.repository import Entry, Repo
from hub.tls import Certificate
from hub.wire import Request, Server

_RESOLVE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
_API = re.compile(
    r"/api/models/(?P<repo>[^/]+(?:/[^/]+)??)"
    r"(?:/(?P<what>revision|tree)/(?P<rev>[^/]+)(?:/(?P<path>.+))?)?"
)
_SIGNED = re.compile(r"/signed/(?P<key>[0-9a-f]+)/.+")


@dataclasses.dataclass(slots=True)
class _Signed:
    entry: Entry
    remaining_uses: int | None


class Hub:
    """A Hub in memory, on loopback, that a test fills, observes and makes misbehave.

    Repositories are objects. If a test changes one, the next request sees the change.

        with Hub() as hub:
            files = {"config.json": b"{}", "model.safetensors": safetensors(10**8)}
            repo = hub.add("org/name", files, lfs={"model.safetensors"})
            hub.misbehave("reset", path="*.safetensors", after=1_000_000, times=1)
            …                                       # pull from hub.url
            assert hub.bytes_sent("config.json") == 2
            repo.update({"config.json": b"{ }"})    # a new commit; `main` moves
            repo.files["config.json"].size = 7      # a wrong size in the listing

    `Fault` lists what can go wrong. `redirect=True` adds the file host. It is a second port, and so
    another origin, to which the URL of an LFS file redirects by a signed URL. A signed URL gets 403
    after `signed_uses` requests, or after `expire_signed_urls()`.

    The protocol is https://huggingface.co/docs/hub/api as far as huggingface_hub 2.4 uses it: model
    info, revision, tree (paged by Link), resolve by HEAD and GET with ETag, X-Repo-Commit,
    X-Linked-ETag, X-Linked-Size, and refusals with X-Error-Code.

    Args:
        redirect: Whether the file host sends LFS files.
        tls: The certificate of both ports, for https.
        address: The address of both ports; pods cannot reach loopback.

    Attributes:
        requests: Every request to both ports so far, in the order of arrival.
        faults: The faults at present.
        page_size: How many rows of a tree one reply has at most.
        signed_uses: For how many requests a signed URL is valid; None for any number.
        tree_api: Whether `/tree` honours `recursive`, lists one folder at a time, or is missing.
        lists_blobs: Whether a model's info has the sizes of files on request.
        hub: The Hub's port; its `accepted` and `peak` count connections.
        host: The file host's port.
    """

    def __init__(
        self,
        *,
        redirect: bool = False,
        tls: Certificate | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.page_size = 1000
        self.signed_uses: int | None = None
        self.tree_api: Literal["whole", "folders", "missing"] = "whole"
        self.lists_blobs = True
        self._redirect = redirect
        self._repos: dict[str, Repo] = {}
        self._renamed: dict[str, str] = {}
        self._signed: dict[str, _Signed] = {}
        self._lock = threading.Lock()
        context = tls.context() if tls else None
        self.hub = Server("hub", self._answer, self._refuses, context, address)
        self.host = Server("host", self._answer, self._refuses, context, address)

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT: `http://ADDRESS:PORT`."""
        return self.hub.url

    def start(self) -> None:
        """Begin to answer."""
        self.hub.start()
        self.host.start()

    def stop(self) -> None:
        """Close both ports and every connection."""
        self.hub.stop()
        self.host.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Content],
        lfs: Collection[str] = (),
        *,
        token: str | None = None,
        gated: bool = False,
    ) -> Repo:
        """Make a repository with one commit on `main`; any name is accepted, also `../x`."""
        repo = Repo(repo_id)
        repo.token, repo.gated = token, gated
        repo.update(files, lfs)
        self._repos[repo_id] = repo
        return repo

    def rename(self, repo_id: str, new: str) -> None:
        """Rename a repository; as on the Hub, its old URLs redirect to a relative Location."""
        repo = self._repos.pop(repo_id)
        repo.repo_id = new
        self._repos[new] = repo
        self._renamed[repo_id] = new

    def misbehave(self, kind: Kind, path: str = "*", **fields: Any) -> Fault:
        """Add a fault; `Fault` explains its kinds and fields, and counts its `hits`."""
        fault = Fault(kind, path, **fields)
        self.faults.append(fault)
        return fault

    def release(self) -> None:
        """Continue stalled replies, and stall no more."""
        self.hub.released.set()
        self.host.released.set()

    def expire_signed_urls(self) -> None:
        """Make every signed URL that was sent so far answer 403."""
        with self._lock:
            for signed in self._signed.values():
                signed.remaining_uses = 0

    def file_requests(self, path: str | None = None, method: str = "GET") -> list[Request]:
        """The requests for one file or all files that were answered with content."""
        return [
            request
            for request in self.requests
            if request.method == method
            and request.file is not None
            and path in (None, request.file)
            and request.status in (200, 206)
        ]

    def bytes_sent(self, path: str | None = None) -> int:
        """Bytes sent of one file or of all files, also if the client did not receive them."""
        return sum(request.sent for request in self.file_requests(path))

    def _refuses(self) -> bool:
        with self._lock:
            for fault in self.faults:
                if fault.kind == "refuse" and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    return True
        return False

    def _answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            route = self._answer_hub if request.origin == "hub" else self._answer_host
            reply = route(request)
            facts = RequestFacts(
                method=request.method,
                target=request.target,
                path=request.path,
                file=request.file,
                origin=request.origin,
                ranged=request.range is not None,
            )
            for fault in self.faults:
                if affects(fault, facts, reply):
                    fault.hits += 1
                    reply = damage(fault, facts, reply)
        return reply

    def _answer_host(self, request: Request) -> Reply:
        match = _SIGNED.fullmatch(request.path)
        signed = self._signed.get(match["key"]) if match else None
        if signed is None:
            return _refusal(404)
        request.file = signed.entry.path
        if signed.remaining_uses == 0:
            return _with_body(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        if signed.remaining_uses is not None:
            signed.remaining_uses -= 1
        return _content(request, signed.entry, {"ETag": signed.entry.etag})

    def _answer_hub(self, request: Request) -> Reply:
        if match := _API.fullmatch(request.path):
            repo, refusal = self._find(request, match["repo"])
            return refusal if repo is None else self._describe(request, repo, match)
        if match := _RESOLVE.fullmatch(request.path):
            request.file = match["path"]
            repo, refusal = self._find(request, match["repo"])
            return refusal if repo is None else self._resolve(request, repo, match)
        return _refusal(404)

    def _find(self, request: Request, repo_id: str) -> tuple[Repo | None, Reply]:
        """Find the repository, or else the reply that says why it is refused."""
        if repo_id in self._renamed:
            target = request.target.replace(repo_id, self._renamed[repo_id], 1)
            return None, Reply(307, {"Location": target})
        repo = self._repos.get(repo_id)
        if repo is None:
            return None, _refusal(401, "RepoNotFound", "Repository not found")
        if repo.token and not repo.gated and not _has_token(request, repo.token):
            return None, _refusal(401, "RepoNotFound", "Repository not found")
        return repo, Reply(200)

    def _describe(self, request: Request, repo: Repo, match: re.Match[str]) -> Reply:
        commit = repo.resolve(_revision(request, match["rev"] or "main"))
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        query = parse_qs(urlsplit(request.target).query)
        if match["what"] != "tree":
            blobs = self.lists_blobs and query.get("blobs") == ["true"]
            return _json(repo.info(commit, blobs=blobs), {})
        if self.tree_api == "missing":
            return _refusal(404)
        asked = query.get("recursive", ["false"])[0].lower() in ("1", "true")
        recursive = asked and self.tree_api == "whole"
        folder = match["path"] or ""
        rows = repo.tree(commit, folder, recursive=recursive)
        if folder and not rows:
            return _refusal(404, "EntryNotFound", f"{folder} does not exist")
        limit = min(self.page_size, int(query.get("limit", [str(self.page_size)])[0]))
        return self._page(request, rows, int(query.get("cursor", ["0"])[0]), limit)

    def _page(self, request: Request, rows: list[dict[str, Any]], start: int, limit: int) -> Reply:
        headers: dict[str, str] = {}
        stop = start + limit
        if stop < len(rows):
            without_cursor = re.sub(r"[?&]cursor=\d+", "", request.target)
            separator = "&" if "?" in without_cursor else "?"
            next_url = f"{self.url}{without_cursor}{separator}cursor={stop}"
            headers["Link"] = f'<{next_url}>; rel="next"'
        return _json(rows[start:stop], headers)

    def _resolve(self, request: Request, repo: Repo, match: re.Match[str]) -> Reply:
        if repo.gated and repo.token and not _has_token(request, repo.token):
            status = 403 if request.authorization else 401
            return _refusal(status, "GatedRepo", f"Access to model {repo.repo_id} is restricted")
        commit = repo.resolve(_revision(request, match["rev"]))
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        entry = repo.commits[commit].get(match["path"])
        if entry is None:
            refusal = _refusal(404, "EntryNotFound", "Entry not found")
            return dataclasses.replace(refusal, headers=refusal.headers | {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "ETag": entry.etag}
        if entry.sha256:
            headers |= {"X-Linked-ETag": entry.etag, "X-Linked-Size": str(entry.size)}
            if self._redirect:
                return Reply(302, headers | {"Location": self._sign(entry)})
        return _content(request, entry, headers)

    def _sign(self, entry: Entry) -> str:
        key = secrets.token_hex(8)
        self._signed[key] = _Signed(entry, self.signed_uses)
        signature = secrets.token_hex(16)
        return (
            f"{self.host.url}/signed/{key}/{quote(entry.path)}?Expires=1999999999&sig={signature}"
        )


def _revision(request: Request, quoted: str) -> str:
    """Read a revision from the path, in which its slashes are quoted (`refs%2Fpr%2F1`)."""
    if "%2F" not in request.target.upper():
        return quoted
    match = re.search(r"(?:revision|tree|resolve)/(refs%2F[^/?]+)", request.target, re.IGNORECASE)
    return match[1].replace("%2F", "/").replace("%2f", "/") if match else quoted


def _has_token(request: Request, token: str) -> bool:
    return request.authorization == f"Bearer {token}"


def _with_body(status: int, body: bytes, kind: str) -> Reply:
    return Reply(status, {"Content-Type": kind}, Bytes(body), 0, len(body))


def _json(value: Any, headers: dict[str, str]) -> Reply:
    reply = _with_body(200, json.dumps(value).encode(), "application/json")
    return dataclasses.replace(reply, headers=reply.headers | headers)


def _refusal(status: int, code: str = "", message: str = "Not found") -> Reply:
    reply = _with_body(status, json.dumps({"error": message}).encode(), "application/json")
    extra = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
    return dataclasses.replace(reply, headers=reply.headers | extra)


def _content(request: Request, entry: Entry, headers: dict[str, str]) -> Reply:
    """The reply with the file, or with the one range that was requested."""
    headers = headers | {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    size = entry.content.size
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.range or "")
    if match is None or match.groups() == ("", ""):
        return Reply(200, headers, entry.content, 0, size)
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
    else:
        start, stop = max(size - int(last), 0), size
    if start >= stop:
        return Reply(416, {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Reply(206, headers, entry.content, start, stop)
