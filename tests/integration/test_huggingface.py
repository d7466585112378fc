"""The Hub as a source, asked over HTTP on loopback."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import huggingface_hub
import pytest
from hub import Content, Fault, Hub, Proxy, make_certificate, safetensors
from huggingface_hub import constants

from modelshelf import select, sources
from modelshelf.shelf.errors import (
    Error,
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    RefusedError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.events import Event
from modelshelf.sources import huggingface
from modelshelf.sources.hub_client import HubClient
from modelshelf.transfer.events import Retrying

SECRET = "hf_secretsecretsecret"
TEXTS = {
    "config.json": '{"model_type": "llama"}',
    "empty.config.json": "",
    "tokenizer/vocab file.json": '{"a": 1}',
}
FILES: dict[str, bytes | Content] = {path: text.encode() for path, text in TEXTS.items()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Hub]:
    """A Hub with one model, which HF_ENDPOINT names; no token, no proxy."""
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "REQUESTS_CA_BUNDLE", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with Hub() as hub:
        model = {"model.safetensors": safetensors(100_000)}
        hub.add("org/name", FILES | model, lfs={"model.safetensors"})
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


def _resolve(uri: str = "hf://org/name", **options: str) -> sources.Listing:
    """Resolve without waiting between tries."""
    return huggingface.resolve(uri, sleep=lambda _: None, **options)  # type: ignore[arg-type]


def _texts(listing: sources.Listing, *paths: str) -> dict[str, str]:
    return huggingface.read_texts(listing, paths, sleep=lambda _: None)


def test_a_revision_is_resolved_and_listed(hub: Hub) -> None:
    """A model is listed at its commit with git's or LFS's checksum of each file, sorted."""
    repo = hub._repos["org/name"]
    listing = sources.resolve("org/name")
    assert (listing.source, listing.repo_id) == ("hf://org/name@main", "org/name")
    assert (listing.revision, listing.commit, listing.folder) == ("main", repo.commit, None)
    stated = [
        (e.path, e.size, e.sha256, None if e.sha256 else e.git_sha1)
        for _, e in sorted(repo.files.items())
    ]
    assert [(f.path, f.size, f.lfs_sha256, f.git_sha1) for f in listing.files] == stated


def test_a_tree_of_many_pages_is_listed_whole(hub: Hub) -> None:
    """Pages are followed to the last one."""
    hub.add("org/many", {f"f{n:03}.json": b"{}" for n in range(95)})
    hub.page_size = 10
    assert len(_resolve("hf://org/many").files) == 95


def test_pages_are_asked_of_the_hub_whatever_host_a_link_names(hub: Hub) -> None:
    """If a mirror names the next page on another host, the mirror is asked for it instead."""
    hub.page_size = 3
    elsewhere = '<https://elsewhere.invalid/x?recursive=true&cursor=3>; rel="next"'
    hub.misbehave("headers", path="/api/*/tree/*", times=1, headers={"Link": elsewhere})
    assert len(_resolve().files) == 4


def test_a_mirror_that_lists_one_folder_at_a_time(hub: Hub) -> None:
    """If a mirror ignores `recursive`, every folder is asked for, at any depth."""
    files = {"a/b/c/deep.json": b"{}", "a/shallow.json": b"{}", "top.json": b"{}", "z/y": b""}
    hub.add("org/deep", files)
    hub.tree_api = "folders"
    assert [file.path for file in _resolve("hf://org/deep").files] == sorted(files)


def test_a_mirror_without_a_tree_lists_files_in_the_model_s_info(hub: Hub) -> None:
    """Without `/tree` the listing is the same, by the info of the model."""
    whole = _resolve()
    hub.tree_api = "missing"
    assert _resolve() == whole
    hub.lists_blobs = False
    with pytest.raises(SourceError, match="no list of the files of org/name") as raised:
        _resolve()
    assert "/tree/" in str(raised.value)
    assert raised.value.exit_code == 15


def test_a_used_up_limit_is_waited_for(hub: Hub) -> None:
    """Without Retry-After the RateLimit header says how long to wait."""
    limit = {"RateLimit": '"api";r=0;t=7', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    hub.misbehave("status", path="/api/*", times=2, status=429, headers=limit)
    waits: list[float] = []
    huggingface.resolve("org/name", sleep=waits.append)
    assert len(waits) == 2
    assert all(7 <= wait < 8 for wait in waits)


def test_a_user_in_the_endpoint_is_sent_with_every_request(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror's user and password are sent in place of the token, and never said."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//me:p%40ss@"))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    listing = _resolve()
    _texts(listing, "config.json")
    basic = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert {request.authorization for request in hub.requests} == {basic}
    hub.misbehave("status", path="/api/*", status=418)
    with pytest.raises(SourceError) as raised:
        _resolve()
    assert "p@ss" not in repr(raised.value)
    assert "p%40ss" not in repr(raised.value)


def test_the_login_of_another_user_is_passed_over(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored token that this user may not read is not needed for a public model."""

    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/root/.cache/huggingface/token")

    monkeypatch.setattr(huggingface_hub, "get_token", refuse)
    assert _resolve().repo_id == "org/name"
    assert {request.authorization for request in hub.requests} == {None}


def test_tags_commits_and_pull_requests_are_revisions(hub: Hub) -> None:
    """Any revision resolves, even one with slashes; a commit resolves to itself."""
    repo = hub._repos["org/name"]
    main = repo.commit
    older = repo.update({"a.json": b"1"}, revision="refs/pr/1")
    assert _resolve("hf://org/name@refs/pr/1").commit == older
    listing = _resolve(f"hf://org/name@{main}")
    assert (listing.commit, listing.revision) == (main, main)


def test_a_renamed_repository_goes_by_its_present_name(hub: Hub) -> None:
    """The old name leads to the new one, in the source and on the shelf."""
    hub.rename("org/name", "org/new-name")
    listing = _resolve()
    assert (listing.source, listing.repo_id) == ("hf://org/new-name@main", "org/new-name")
    assert _texts(listing, "config.json")["config.json"] == TEXTS["config.json"]


def test_a_name_of_ones_own(hub: Hub) -> None:
    """--name changes the shelf's name and not the source's."""
    listing = _resolve(name="me/mine")
    assert (listing.source, listing.repo_id) == ("hf://org/name@main", "me/mine")
    with pytest.raises(UsageError):
        _resolve(name="mine")


def test_texts_are_read_with_a_range_and_verified(hub: Hub) -> None:
    """Every GET of content carries a Range, odd names are quoted, an empty file costs nothing."""
    hub.misbehave("need-range")
    listing = _resolve()
    assert _texts(listing, *FILES) == TEXTS
    ranges = {request.file: request.range for request in hub.file_requests()}
    assert ranges == {"config.json": "bytes=0-22", "tokenizer/vocab file.json": "bytes=0-7"}


def test_a_server_that_ignores_ranges_will_do(hub: Hub) -> None:
    """A server that ignores the range and sends the whole file is accepted."""
    hub.misbehave("ignore-range")
    assert _texts(_resolve(), "config.json") == {"config.json": TEXTS["config.json"]}


def test_a_damaged_text_is_read_once_more_then_refused(hub: Hub) -> None:
    """A text that is damaged once is read again; damaged twice, it is an integrity error."""
    listing = _resolve()
    fault = hub.misbehave("flip", path="config.json", at=3, times=1)
    assert _texts(listing, "config.json")
    fault.times = None
    with pytest.raises(IntegrityError, match=r"config\.json is not what its source states"):
        _texts(listing, "config.json")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "/api/*", times=3, status=503),
        Fault("status", "/api/*", times=3, status=429, retry_after="7"),
        Fault("status", "/*", times=2, status=500),
        Fault("refuse", times=2),
        Fault("reset", "/api/*", times=2, after=10),
        Fault("short", "/api/*", times=2, after=10),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_passing_faults_are_retried(hub: Hub, fault: Fault) -> None:
    """After temporary statuses, resets and short bodies the request is repeated and reported."""
    hub.faults.append(fault)
    events: list[Event] = []
    waits: list[float] = []
    listing = huggingface.resolve("org/name", on_event=events.append, sleep=waits.append)
    assert len(listing.files) == 4
    assert fault.hits == fault.times == len(events) == len(waits)
    assert all(isinstance(event, Retrying) for event in events)
    if fault.status == 429:
        assert all(7 <= wait < 8 for wait in waits)


def test_lasting_faults_end_after_four_tries(hub: Hub) -> None:
    """A Hub that keeps failing is exit code 15 with the reason, and Retry-After is capped."""
    fault = hub.misbehave("status", path="/api/*", status=503, retry_after=86_400)
    waits: list[float] = []
    with pytest.raises(SourceError, match=r"answers 503 \(asked 4 times") as raised:
        huggingface.resolve("org/name", sleep=waits.append)
    assert (raised.value.exit_code, fault.hits) == (15, 4)
    assert waits == [60.0, 60.0, 60.0]


def test_nobody_listening_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is exit 15 and names the host."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9 cannot be reached") as raised:
        _resolve()
    assert type(raised.value) is SourceError


def test_what_is_missing_is_not_found(hub: Hub) -> None:
    """No such model, no such revision, no such file: exit 11, and each says what."""
    with pytest.raises(NotFoundError, match="knows no model org/other") as raised:
        _resolve("hf://org/other")
    assert "HF_TOKEN" in raised.value.hint
    with pytest.raises(NotFoundError, match="has no revision 'v9'"):
        _resolve("hf://org/name@v9")
    listing = _resolve()
    hub.misbehave("status", path="config.json", status=404, error_code="EntryNotFound")
    with pytest.raises(NotFoundError, match="lacks a file"):
        _texts(listing, "config.json")


def test_gated_and_private_models_want_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gated model's files are exit 10, a private model is exit 11; with HF_TOKEN both come."""
    hub.add("org/gated", FILES, token=SECRET, gated=True)
    hub.add("org/private", FILES, token=SECRET)
    with pytest.raises(NotAuthorisedError, match="org/gated is gated") as raised:
        _texts(_resolve("hf://org/gated"), "config.json")
    assert f"{hub.url}/org/gated" in raised.value.hint
    with pytest.raises(NotFoundError, match="knows no model org/private"):
        _resolve("hf://org/private")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for repo in ("org/gated", "org/private"):
        assert _texts(_resolve(f"hf://{repo}"), "config.json")


def test_a_stored_login_counts(hub: Hub, tmp_path: pathlib.Path) -> None:
    """The token that `hf auth login` stored is sent when HF_TOKEN is not set."""
    (tmp_path / "token").write_text(SECRET)
    assert huggingface.endpoint_and_token() == (hub.url, SECRET)
    _resolve()
    assert {request.authorization for request in hub.requests} == {f"Bearer {SECRET}"}


def test_an_implicit_token_can_be_turned_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_DISABLE_IMPLICIT_TOKEN keeps the token from a mirror."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    _resolve()
    assert {request.authorization for request in hub.requests} == {None}


def test_nothing_but_the_three_requests_is_sent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only requests are revision, tree and file: there is no telemetry in any environment."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setenv("AI_AGENT", "something")
    _texts(_resolve(), "config.json")
    kinds = [request.target.split("/")[1:3] for request in hub.requests]
    assert kinds == [["api", "models"], ["api", "models"], ["org", "name"]]


def test_the_token_stays_with_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to the file host, another origin, goes without Authorization."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with Hub(redirect=True) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        hub.add("org/name", {"tokenizer_config.json": b"{}"}, lfs={"tokenizer_config.json"})
        assert _texts(_resolve(), "tokenizer_config.json") == {"tokenizer_config.json": "{}"}
        sent = {request.origin: request.authorization for request in hub.requests}
    assert sent == {"hub": f"Bearer {SECRET}", "host": None}


def test_an_expired_signed_url_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 403 of the file host the Hub is asked again; repeated 403s are exit code 15."""
    with Hub(redirect=True) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        hub.add("org/name", {"config.json": b"{}"}, lfs={"config.json"})
        listing = _resolve()
        fault = hub.misbehave("status", on="host", status=403, times=2)
        assert _texts(listing, "config.json") == {"config.json": "{}"}
        fault.times = None
        with pytest.raises(SourceError, match="a file host that answers 403") as raised:
            _texts(listing, "config.json")
    assert "sig=" not in str(raised.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "/*", status=401),
        Fault("status", "/*", status=403),
        Fault("status", "/*", status=500),
        Fault("refuse"),
        Fault("redirect", "/*", location="ftp://x/?sig=signed"),
        Fault("redirect", "/*", location="http://:bad:/?sig=signed"),
        Fault("redirect", "/*", location="http://[bad/?sig=signed"),
        Fault("redirect", "/*"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}{fault.location}",
)
def test_errors_are_ours_and_hold_no_secret(
    hub: Hub, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception of the HTTP client escapes, and neither text nor cause holds a secret."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.faults.append(fault)
    with pytest.raises(Error) as raised:
        _resolve()
    error: BaseException | None = raised.value
    assert error is not None
    assert error.__cause__ is None or isinstance(error.__cause__, Error)
    text = f"{error!r} {raised.value.hint}"
    assert SECRET not in text
    assert "signed" not in text


def test_a_malformed_token_is_not_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with characters that no header takes is exit 10, without being printed."""
    monkeypatch.setenv("HF_TOKEN", "hf_sécret pasted")
    with pytest.raises(NotAuthorisedError, match="HF_TOKEN holds characters") as raised:
        _resolve()
    assert "pasted" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Log in to the airport</html>",
        b"[]",
        b"{}",
        b'{"id": "org/name", "sha": "main"}',
        b'{"id": 5, "sha": "%s"}' % (b"0" * 40),
    ],
)
def test_a_server_that_is_no_hub_is_named(
    hub: Hub, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of an unexpected form is exit code 15, and the hint names HF_ENDPOINT."""
    monkeypatch.setattr(HubClient, "_get", lambda *_: (answer, None))
    with pytest.raises(SourceError) as raised:
        _resolve()
    assert "HF_ENDPOINT" in raised.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "a", "size": -1, "oid": "0" * 40},
        {"path": "a", "size": "1", "oid": "0" * 40},
        {"path": "a", "size": 1, "oid": "short"},
        {"path": 5, "size": 1, "oid": "0" * 40},
        {"path": "a", "size": 1, "oid": "0" * 40, "lfs": {"size": 1}},
        {"path": "a", "size": 1, "oid": "0" * 40, "lfs": {"size": 1, "oid": 7}},
        {"size": 1},
    ],
)
def test_a_malformed_list_is_no_crash(
    hub: Hub, entry: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of an unexpected form are exit code 15."""
    info = {"id": "org/name", "sha": "0" * 40}
    answers = iter([json.dumps(info), json.dumps([{"type": "file"} | entry])])
    monkeypatch.setattr(HubClient, "_get", lambda *_: (next(answers).encode(), None))
    with pytest.raises(SourceError, match="in an unknown form"):
        _resolve()


def test_a_list_of_escaping_names_is_refused(hub: Hub) -> None:
    """A name that leaves its folder is exit 14, although nothing would have chosen it."""
    hub.add("org/evil", FILES | {"../../x": b"1"})
    with pytest.raises(RefusedError) as raised:
        _resolve("hf://org/evil")
    assert raised.value.exit_code == 14


def test_a_commit_that_resolves_to_another_is_refused(hub: Hub) -> None:
    """A requested commit resolves to that commit or is an error."""
    wanted = "ab" * 20
    hub._repos["org/name"].revisions[wanted] = hub._repos["org/name"].commit
    with pytest.raises(IntegrityError, match="to another one"):
        _resolve(f"hf://org/name@{wanted}")


def test_offline_mode_asks_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is exit code 15 with an error of its own, and no request is sent."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="offline mode is on") as raised:
        _resolve()
    assert "HF_HUB_OFFLINE" in raised.value.hint
    assert hub.requests == []


@pytest.mark.parametrize(
    "endpoint", ["localhost:8000", "ftp://hub.example", "", "http://", "http://[x", "http://h:port"]
)
def test_an_endpoint_that_is_no_url_is_a_usage_error(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HF_ENDPOINT without http:// is an error that names HF_ENDPOINT."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        huggingface.endpoint_and_token()


@pytest.mark.parametrize("uri", ["hf://", "hf://a/b/c", "hf://a/b@", "hf://a b/c", "hf://a/b@x@y"])
def test_malformed_uris_are_usage_errors(hub: Hub, uri: str) -> None:
    """A URI that names no repository is refused before any request."""
    with pytest.raises(UsageError, match="does not name a repository"):
        _resolve(uri)
    assert hub.requests == []


def test_files_are_below_one_url() -> None:
    """The bytes lie under the repository's own name and commit."""
    url = huggingface.files_url("https://hub.example", "hf://org/name@refs/pr/1", "0" * 40)
    assert url == f"https://hub.example/org/name/resolve/{'0' * 40}"


def test_listing_and_choosing_fit_together(hub: Hub) -> None:
    """What the Hub lists and `needed_texts` asks for is what `choose` needs."""
    listing = _resolve()
    texts = _texts(listing, *select.needed_texts(listing.files)[:1])
    selection = select.choose(listing.files, texts | {"empty.config.json": "{}"})
    assert "model.safetensors" in {file.path for file in selection.files}


_CHILD = """
import sys
from modelshelf import sources
from modelshelf.shelf.errors import Error
try:
    listing = sources.resolve("hf://org/name")
    sources.read_texts(listing, ["config.json"])
    print(listing.commit)
except Error as error:
    print(error.exit_code, error, error.hint)
"""


def _child(**env: str) -> str:
    """Resolve in a process of its own, which reads the environment as a user's would."""
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CHILD],
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_ones_own_authority_is_trusted(tmp_path: pathlib.Path, variable: str) -> None:
    """Either variable makes the certificate of a private authority trusted for metadata."""
    made = make_certificate(tmp_path)
    with Hub(tls=made) as hub:
        repo = hub.add("org/name", FILES)
        env = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path)}
        assert _child(**env, **{variable: made.authority}) == repo.commit
        refused = _child(**env)
    assert refused.startswith("15 ")
    assert "certificate" in refused
    assert variable in refused


def test_a_certificate_file_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    """A wrong path in SSL_CERT_FILE is a SourceError."""
    env = {"HF_ENDPOINT": "https://127.0.0.1:9", "HOME": str(tmp_path)}
    assert "SSL_CERT_FILE" in _child(**env, SSL_CERT_FILE="/no/such.pem")
    assert _child(**env, REQUESTS_CA_BUNDLE="/no/such.pem").startswith("15 ")


@pytest.mark.parametrize("secure", [False, True])
def test_proxies_count_for_metadata(tmp_path: pathlib.Path, secure: bool) -> None:  # noqa: FBT001
    """HTTP_PROXY and HTTPS_PROXY are used, and NO_PROXY keeps a host from them."""
    made = make_certificate(tmp_path) if secure else None
    with Hub(tls=made) as hub, Proxy() as proxy:
        repo = hub.add("org/name", FILES)
        env = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path)}
        env |= {"HTTPS_PROXY" if secure else "HTTP_PROXY": proxy.url}
        env |= {"REQUESTS_CA_BUNDLE": made.authority} if made else {}
        assert _child(**env) == repo.commit
        used = len(proxy.requests)
        assert used > 0
        assert _child(**env, NO_PROXY="127.0.0.1") == repo.commit
        assert len(proxy.requests) == used


def test_the_environment_is_read_as_huggingface_hub_reads_it(tmp_path: pathlib.Path) -> None:
    """HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count from the environment."""
    with Hub() as hub:
        repo = hub.add("org/name", FILES, token=SECRET)
        env = {"HF_ENDPOINT": hub.url + "/", "HOME": str(tmp_path), "HF_TOKEN": SECRET}
        assert _child(**env) == repo.commit
        assert "offline mode" in _child(**env, HF_HUB_OFFLINE="1")
