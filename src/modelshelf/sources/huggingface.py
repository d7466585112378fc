"""Models on a Hugging Face Hub, or on the mirror that HF_ENDPOINT names.

The HTTP session, the token, the URL and the offline mode come from huggingface_hub. So HF_TOKEN, a
stored login, HF_ENDPOINT, HF_HUB_OFFLINE and an application's own client factory work as usual. The
three requests are made here, because huggingface_hub's own listing waits as long as a server asks,
without a limit, and its headers may cost a request for telemetry.

Protocol: https://huggingface.co/docs/hub/api. The Hub lists a file with its git blob id, or, if Git
LFS stores it, with the sha256 of its content.
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
    NotFoundError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.layout import MAX_FILES
from modelshelf.shelf.values import File
from modelshelf.sources.hub_client import TIMEOUT_SECONDS, HubClient
from modelshelf.sources.hub_refusals import LOGIN
from modelshelf.sources.listing import (
    Listing,
    refuse_escapes,
    refuse_large,
    shelf_name,
    text_of,
)
from modelshelf.transfer.connection import split_userinfo, tls_context

_URI = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@?#]+))?")
_OTHER_KINDS = re.compile(r"(?:hf://)?(datasets|spaces)/[\w.-]+/")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DEFAULT_REVISION = "main"
_DEFAULT_ENDPOINT = "https://huggingface.co"


def resolve(  # noqa: PLR0913 - each is one part of the request
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
        uri: `hf://org/name[@revision]`, with or without `hf://`. The revision is a branch, a tag, a
            commit or `refs/pr/N`; the default is `main`.
        name: The model's name on the shelf, `org/name`. The default is the repository's current
            name.
        endpoint: The URL of the Hub to ask. HF_ENDPOINT takes precedence.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears `Retrying`.
        sleep: Waits for a number of seconds.

    Raises:
        UsageError: The URI, the name or HF_ENDPOINT is malformed.
        NotAuthorisedError, NotFoundError: The Hub refuses.
        SourceError: The Hub cannot be reached, keeps failing, or does not behave like a Hub, or
            offline mode is on.
        IntegrityError: The Hub resolved a commit to another commit.
        RefusedError: The Hub lists names that would escape their folder.
    """
    requested_repo, revision = parse(uri)
    access = _access(endpoint, token)
    client = _client(requested_repo, revision, access, on_event, sleep)
    repo, commit = _resolve_commit(client, requested_repo, revision)
    return Listing(
        source=f"hf://{repo}@{revision}",
        repo_id=shelf_name(name or repo),
        revision=revision,
        commit=commit,
        files=tuple(sorted(_list_files(client, repo, commit), key=lambda file: file.path)),
        endpoint=split_userinfo(access[0])[0],
    )


def parse(uri: str) -> tuple[str, str]:
    """Split the URI of a repository into the repository, `org/name`, and the revision.

    Raises:
        UsageError: The text is not such a URI.
    """
    if kind := _OTHER_KINDS.match(uri):
        raise UsageError(
            f"{uri!r} is a {kind[1].rstrip('s')} of the Hub, and only models are pulled",
            hint="write hf://org/name for a model",
        )
    match = _URI.fullmatch(uri)
    if match is None:
        raise UsageError(
            f"{uri!r} does not name a repository on the Hub",
            hint="write hf://org/name or hf://org/name@revision",
        )
    return match["repo"], match["revision"] or _DEFAULT_REVISION


def offline() -> bool:
    """Whether huggingface_hub's offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)."""
    return huggingface_hub.is_offline_mode()


def read_texts(  # noqa: PLR0913 - see resolve
    listing: Listing,
    paths: Iterable[str],
    *,
    endpoint: str | None = None,
    token: str | None = None,
    on_event: Listener = ignore,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Read small text files of a listing, and verify them.

    Args:
        listing: What `resolve` returned.
        paths: The files to read.
        endpoint: The URL of the Hub to ask. HF_ENDPOINT takes precedence.
        token: A token for the Hub, instead of HF_TOKEN or a stored login.
        on_event: Hears `Retrying`.
        sleep: Waits for a number of seconds.

    Returns:
        Path → text.

    Raises:
        IntegrityError: A file does not match what was listed, or is not text.
        RefusedError: A file is too large for a text.
        NotFoundError: The listing has no such file.
        NotAuthorisedError, SourceError: The Hub refuses, or cannot be reached.
    """
    client = _client(
        repo_of(listing.source), listing.revision, _access(endpoint, token), on_event, sleep
    )
    texts = {}
    for path in paths:
        file = listing.file(path)
        refuse_large(file)
        try:
            texts[path] = text_of(file, _content(client, listing, file))
        except IntegrityError:
            # A proxy between here and the Hub may have damaged the file, so it is read once more.
            texts[path] = text_of(file, _content(client, listing, file))
    return texts


def endpoint_and_token(endpoint: str | None = None) -> tuple[str, str | None]:
    """Return the URL of the Hub and the token for it, as huggingface_hub chooses them.

    Args:
        endpoint: The URL to use instead of `https://huggingface.co` if HF_ENDPOINT is not set.

    Returns:
        The URL, without a slash at its end; then HF_TOKEN or the token of a stored login. The token
        is None if there is none, or if HF_HUB_DISABLE_IMPLICIT_TOKEN is set.

    Raises:
        UsageError: HF_ENDPOINT is not a URL.
        NotAuthorisedError: The token is malformed, or a stored login cannot be renewed.
    """
    configured = constants.ENDPOINT.rstrip("/")
    is_configured = configured != _DEFAULT_ENDPOINT or os.environ.get("HF_ENDPOINT")
    endpoint = endpoint.rstrip("/") if endpoint and not is_configured else configured
    if not _is_base_url(endpoint):
        raise UsageError(
            "HF_ENDPOINT is not a URL that begins with http:// or https://",
            hint="correct or unset it",
        )
    return endpoint, None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else _token()


def _access(endpoint: str | None, token: str | None) -> tuple[str, str | None]:
    base_url, default_token = endpoint_and_token(endpoint)
    return base_url, token or default_token


def repo_of(source: str) -> str:
    """Return the repository, `org/name`, of an `hf://` URI.

    Raises:
        UsageError: The text is not such a URI.
    """
    return parse(source)[0]


def files_url(endpoint: str, source: str, commit: str) -> str:
    """Return the common beginning of the URLs of a commit's files: `…/resolve/<commit>`."""
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
    except PermissionError:
        # The login of another user, in an image that was built for root. Most models need none.
        return None
    except Exception:  # noqa: BLE001  # renewing a login may raise anything; the login is then not valid
        raise NotAuthorisedError("the stored login to the Hub is not valid", hint=LOGIN) from None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise NotAuthorisedError(
            "HF_TOKEN holds characters that no token has",
            hint="copy it again from the Hub's settings",
        )
    return token


def _resolve_commit(client: HubClient, requested_repo: str, revision: str) -> tuple[str, str]:
    """Ask for the repository's current name and for the commit of a revision."""
    quoted = urllib.parse.quote(revision, safe="")
    info, _ = client.json(f"/api/models/{requested_repo}/revision/{quoted}")
    try:
        repo, commit = info["id"], info["sha"]
        is_valid = bool(_COMMIT.fullmatch(commit) and repo_of(repo))
    except (KeyError, TypeError, UsageError):
        is_valid = False
    if not is_valid:
        raise client.not_a_hub(f"states no commit for {requested_repo}@{revision}")
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise IntegrityError(
            f"{client.host} resolved the commit {revision} of {requested_repo} to another one, "
            f"{commit}"
        )
    return repo, commit


def _list_files(client: HubClient, repo: str, commit: str) -> list[File]:
    """List all files of a commit.

    Some mirrors ignore `recursive=true` and list one folder at a time. A folder of git is never
    empty, so one without entries is asked for by itself.
    """
    try:
        files, folders = _list_folder(client, repo, commit, "")
    except NotFoundError:
        # The commit was found a moment ago.
        return _files_in_model_info(client, repo, commit)
    listed = _folders_of(files)
    waiting = folders
    while waiting:
        folder = waiting.pop()
        if folder in listed:
            continue
        more_files, more_folders = _list_folder(client, repo, commit, folder)
        files += more_files
        listed |= _folders_of(more_files)
        waiting += [name for name in more_folders if name.startswith(f"{folder}/")]
        if len(files) > MAX_FILES:
            break
    return files


def _folders_of(files: Iterable[File]) -> set[str]:
    """Every folder that some files are in, directly or below it."""
    paths = [file.path for file in files]
    return {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/"}


def _list_folder(
    client: HubClient, repo: str, commit: str, folder: str
) -> tuple[list[File], list[str]]:
    """List a folder by `/tree`, which answers in pages; a Link header names the next page.

    Returns:
        The files, and the paths of the folders.
    """
    path = f"/api/models/{repo}/tree/{commit}/{urllib.parse.quote(folder)}".rstrip("/")
    query: str | None = "recursive=true&expand=false"
    files: list[File] = []
    folders: list[str] = []
    for _ in range(MAX_FILES):
        page, next_url = client.json(f"{path}?{query}")
        try:
            files += [_file(entry) for entry in page if entry["type"] == "file"]
            folders += [str(entry["path"]) for entry in page if entry["type"] == "directory"]
            # Only the query is used. Mirrors pass on the URL of the Hub that they mirror, and that
            # host must get neither the token nor the request.
            query = urllib.parse.urlsplit(next_url).query if next_url else None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise client.not_a_hub(f"lists the files of {repo} in an unknown form") from None
        refuse_escapes((*(file.path for file in files), *folders))
        if not query or len(files) > MAX_FILES:
            return files, folders
    raise client.not_a_hub(f"lists the files of {repo} without end")


def _files_in_model_info(client: HubClient, repo: str, commit: str) -> list[File]:
    """List the files of a commit by the model's info, for a mirror without `/tree`."""
    info, _ = client.json(f"/api/models/{repo}/revision/{commit}?blobs=true")
    try:
        files = [
            _file({**entry, "path": entry["rfilename"], "oid": entry["blobId"]})
            for entry in info["siblings"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise client.not_a_hub(
            f"has no list of the files of {repo} with their sizes: neither /tree/{commit} nor "
            "?blobs=true answers with one"
        ) from None
    refuse_escapes(file.path for file in files)
    return files


def _file(entry: dict[str, Any]) -> File:
    lfs = entry.get("lfs")
    if lfs:
        sha256 = lfs.get("oid") or lfs["sha256"]
        size, origin = lfs["size"], {"lfs_sha256": sha256.removeprefix("sha256:")}
    else:
        size, origin = entry["size"], {"git_sha1": entry["oid"]}
    if not isinstance(entry["path"], str) or not isinstance(size, int) or size < 0:
        raise TypeError
    return File.from_json({"path": entry["path"], "size": size, "origin": origin})


def _content(client: HubClient, listing: Listing, file: File) -> bytes:
    if file.size == 0:
        return b""
    folder = files_url("", listing.source, listing.commit)
    return client.content(f"{folder}/{urllib.parse.quote(file.path)}", file.size)


def _client(
    repo: str,
    revision: str,
    access: tuple[str, str | None],
    on_event: Listener,
    sleep: Callable[[float], None],
) -> HubClient:
    if offline():
        raise SourceError(
            f"{repo} was not asked for: offline mode is on (HF_HUB_OFFLINE)",
            hint="unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or use what is on the shelf: "
            "modelshelf ls",
        )
    return HubClient(
        _session(),
        *access,
        repo=repo,
        revision=revision,
        on_event=on_event,
        sleep=sleep,
    )


def _session() -> httpx2.Client:
    """Return huggingface_hub's session, or one that trusts the file in REQUESTS_CA_BUNDLE.

    huggingface_hub honours SSL_CERT_FILE and the proxy variables, but not REQUESTS_CA_BUNDLE. It
    has a hook to change its session, but the hook would also change the session for the rest of
    this process.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    try:
        return _session_that_trusts(bundle) if bundle else huggingface_hub.get_session()
    except (OSError, ValueError, ImportError):
        # `from None`: the texts of the original errors may contain the password of a proxy.
        raise SourceError(
            "no connection to the Hub can be set up with the certificates and proxies that the "
            "environment names",
            hint="check SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
        ) from None


@functools.cache
def _session_that_trusts(bundle: str) -> httpx2.Client:  # noqa: ARG001  # the key of the cache
    client = httpx2.Client(verify=tls_context(), timeout=TIMEOUT_SECONDS)
    atexit.register(client.close)
    return client
