"""Models on a Hugging Face Hub, or on whatever HF_ENDPOINT names instead.

Session, token, base URL and offline switch are huggingface_hub's, so that HF_TOKEN, a stored
login, HF_ENDPOINT, HF_HUB_OFFLINE and an application's own client factory mean here what they
mean there. The three requests are made here: its own listing waits as long as a server says,
without a limit, and its headers may cost a request for telemetry.

Protocol: https://huggingface.co/docs/hub/api. A file is listed with its git blob id, or, when it
is kept by Git LFS, with the sha256 of its content.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub import constants

from modelshelf.shelf.errors import (
    IntegrityError,
    NotAuthorisedError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.layout import MAX_FILES
from modelshelf.shelf.values import File
from modelshelf.sources.client import TIMEOUT, Client
from modelshelf.sources.listing import (
    Listing,
    refuse_escapes,
    refuse_large,
    shelf_name,
    text_of,
)
from modelshelf.sources.refusals import LOGIN
from modelshelf.transfer.connection import tls_context

_URI = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@?#]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LATEST = "main"
_DEFAULT = "https://huggingface.co"


def resolve(  # noqa: PLR0913 - what is asked, who is, and how
    uri: str,
    *,
    name: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    on_event: Listener = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> Listing:
    """Resolve a revision to its commit, and list the files there.

    Args:
        uri: `hf://org/name[@revision]`, with or without `hf://`; the revision is a branch, tag,
            commit or `refs/pr/N`, and `main` by default.
        name: `org/name` for the shelf; by default the repository's present name.
        endpoint: The Hub to ask unless HF_ENDPOINT names one.
        token: Instead of HF_TOKEN or a login.
        on_event: Hears `Retrying`.
        sleep: Waits for some seconds.

    Raises:
        UsageError: The URI, the name or HF_ENDPOINT is malformed.
        NotAuthorisedError, NotFoundError: The Hub says so.
        SourceError: It cannot be reached, keeps failing, answers nonsense, or offline mode is on.
        IntegrityError: It resolved a commit to another commit.
        RefusedError: It lists names that would escape their folder.
    """
    asked, revision = parse(uri)
    client = _client(asked, revision, _hub(endpoint, token), on_event, sleep)
    repo, commit = _commit(client, asked, revision)
    return Listing(
        source=f"hf://{repo}@{revision}",
        repo_id=shelf_name(name or repo),
        revision=revision,
        commit=commit,
        files=tuple(sorted(_tree(client, repo, commit), key=lambda file: file.path)),
    )


def parse(uri: str) -> tuple[str, str]:
    """The repository and the revision that a URI names.

    Raises:
        UsageError: It names none.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise UsageError(
            f"{uri!r} does not name a repository on the Hub",
            hint="write hf://org/name or hf://org/name@revision",
        )
    return match["repo"], match["revision"] or _LATEST


def offline() -> bool:
    """Whether huggingface_hub's offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)."""
    return huggingface_hub.is_offline_mode()


def read_texts(  # noqa: PLR0913 - as above
    listing: Listing,
    paths: Iterable[str],
    *,
    endpoint: str | None = None,
    token: str | None = None,
    on_event: Listener = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Read small text files of a listing, and compare them with what was listed.

    Returns:
        Path → text.

    Raises:
        IntegrityError: A file is not what was listed, is no text, or is too large for one.
        NotFoundError: The listing has no such file.
        NotAuthorisedError, SourceError: The Hub refuses, or cannot be reached.
    """
    client = _client(
        repo_of(listing.source), listing.revision, _hub(endpoint, token), on_event, sleep
    )
    texts = {}
    for path in paths:
        file = listing.file(path)
        refuse_large(file)
        try:
            texts[path] = text_of(file, _content(client, listing, file))
        except IntegrityError:
            # Once more: something between here and there may have damaged it.
            texts[path] = text_of(file, _content(client, listing, file))
    return texts


def hub(endpoint: str | None = None) -> tuple[str, str | None]:
    """The base URL and the token for requests to the Hub, as huggingface_hub would choose them.

    Args:
        endpoint: What stands in for `https://huggingface.co` where HF_ENDPOINT names nothing else.

    Returns:
        `https://huggingface.co` or HF_ENDPOINT, without a slash at the end; and HF_TOKEN or the
        stored token, None without one or with HF_HUB_DISABLE_IMPLICIT_TOKEN.

    Raises:
        UsageError: HF_ENDPOINT is no URL.
        NotAuthorisedError: The token is malformed, or a login could not be renewed.
    """
    named = constants.ENDPOINT.rstrip("/")
    chosen = named != _DEFAULT or os.environ.get("HF_ENDPOINT")
    endpoint = endpoint.rstrip("/") if endpoint and not chosen else named
    if not _is_base_url(endpoint):
        raise UsageError(
            "HF_ENDPOINT is not a URL that begins with http:// or https://",
            hint="correct or unset it",
        )
    return endpoint, None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else _token()


def _hub(endpoint: str | None, token: str | None) -> tuple[str, str | None]:
    base_url, own = hub(endpoint)
    return base_url, token or own


def repo_of(source: str) -> str:
    """The repository, `org/name`, that an `hf://` URI names.

    Raises:
        UsageError: It is not such a URI.
    """
    return parse(source)[0]


def files_url(endpoint: str, source: str, commit: str) -> str:
    """The URL below which the files of a commit are: `https://HUB/org/name/resolve/<commit>`."""
    return f"{endpoint}/{repo_of(source)}/resolve/{commit}"


def _is_base_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _token() -> str | None:
    try:
        token = huggingface_hub.get_token()
    except Exception:  # noqa: BLE001  # whatever a login's renewal runs into, it is not valid
        raise NotAuthorisedError("the stored login to the Hub is not valid", hint=LOGIN) from None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise NotAuthorisedError(
            "HF_TOKEN holds characters that no token has",
            hint="copy it again from the Hub's settings",
        )
    return token


def _commit(client: Client, asked: str, revision: str) -> tuple[str, str]:
    """The repository's present name and the commit that a revision stands for."""
    quoted = urllib.parse.quote(revision, safe="")
    info, _ = client.json(f"/api/models/{asked}/revision/{quoted}")
    try:
        repo, commit = info["id"], info["sha"]
        fine = _COMMIT.fullmatch(commit) and repo_of(repo)
    except (KeyError, TypeError, UsageError):
        fine = None
    if not fine:
        raise client.nonsense(f"states no commit for {asked}@{revision}")
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise IntegrityError(
            f"{client.host} resolved the commit {revision} of {asked} to another one, {commit}"
        )
    return repo, commit


def _tree(client: Client, repo: str, commit: str) -> list[File]:
    """All files of a commit; `/tree` answers page by page, the next one named by a Link header."""
    base = f"/api/models/{repo}/tree/{commit}"
    query: str | None = "recursive=true&expand=false"
    files: list[File] = []
    for _ in range(MAX_FILES):
        page, following = client.json(f"{base}?{query}")
        try:
            files += [_file(entry) for entry in page if entry["type"] == "file"]
            # Only the query counts: mirrors name pages on the host that they mirror, where
            # neither the token nor the request belongs.
            query = urllib.parse.urlsplit(following).query if following else None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise client.nonsense(f"lists the files of {repo} in a form unknown here") from None
        refuse_escapes(file.path for file in files)
        if not query or len(files) > MAX_FILES:
            return files
    raise client.nonsense(f"lists the files of {repo} without an end")


def _file(entry: dict[str, Any]) -> File:
    lfs = entry.get("lfs")
    if lfs:
        size, origin = lfs["size"], {"lfs_sha256": lfs["oid"].removeprefix("sha256:")}
    else:
        size, origin = entry["size"], {"git_sha1": entry["oid"]}
    if not isinstance(entry["path"], str) or not isinstance(size, int) or size < 0:
        raise TypeError
    return File.from_json({"path": entry["path"], "size": size, "origin": origin})


def _content(client: Client, listing: Listing, file: File) -> bytes:
    if file.size == 0:
        return b""
    folder = files_url("", listing.source, listing.commit)
    return client.content(f"{folder}/{urllib.parse.quote(file.path)}", file.size)


def _client(
    repo: str,
    revision: str,
    where: tuple[str, str | None],
    on_event: Listener,
    sleep: Callable[[float], None],
) -> Client:
    if offline():
        raise SourceError(
            f"{repo} was not asked for: offline mode is on (HF_HUB_OFFLINE)",
            hint="unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or use what is on the shelf: "
            "modelshelf ls",
        )
    return Client(
        _session(),
        *where,
        repo=repo,
        revision=revision,
        on_event=on_event,
        sleep=sleep,
    )


def _session() -> httpx2.Client:
    """huggingface_hub's session, or one that trusts what REQUESTS_CA_BUNDLE names.

    It honours SSL_CERT_FILE and the proxy variables by itself, REQUESTS_CA_BUNDLE not; its hook
    for that would change what the rest of this process does with it, too.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    try:
        return _trusting(bundle) if bundle else huggingface_hub.get_session()
    except (OSError, ValueError, ImportError):
        # The texts of these may hold a proxy's password.
        raise SourceError(
            "no connection to the Hub can be set up with the certificates and proxies that the "
            "environment names",
            hint="check SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
        ) from None


@functools.cache
def _trusting(bundle: str) -> httpx2.Client:  # noqa: ARG001  # one for each bundle
    client = httpx2.Client(verify=tls_context(), timeout=TIMEOUT)
    atexit.register(client.close)
    return client
