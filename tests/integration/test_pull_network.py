"""The puller's way to the bytes: redirects, expiring URLs, tokens, proxies and certificates."""

from __future__ import annotations

import base64
import gc
import http.server
import os
import re
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Certificate, Hub, Pattern, Proxy, Repo, make_certificate
from hub.content import read
from support.pull_runs import (
    FAST,
    KIB,
    Recorder,
    add_model,
    assert_nothing_published,
    assert_right,
    quick_pull,
    spec_of,
)

from modelshelf.shelf.errors import Error, NotAuthorisedError, NotFoundError, SourceError
from modelshelf.shelf.events import Event
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.connection import proxy_for, tls_context
from modelshelf.transfer.events import Progressed, Retrying
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.pull import PullSpec
from modelshelf.transfer.retries import Backoff

LARGE = "model.safetensors"
TOKEN = "hf_SecretTokenOfTheTests"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without the machine's proxies and certificate bundles."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub that sends clients to another host for LFS files."""
    with Hub(redirect=True) as hub:
        yield hub


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that no system trusts."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(certificate: Certificate) -> Iterator[Hub]:
    """The same Hub over TLS."""
    with Hub(redirect=True, tls=certificate) as hub:
        yield hub


def everything_said(error: Error | None, events: Recorder) -> str:
    """All that a user could see of a pull: events, the error, and its traceback."""
    said = events.text()
    if error is not None:
        said += repr(error) + error.hint + "".join(traceback.format_exception(error))
    return said


def assert_secrets_kept(shelf: Shelf, said: str) -> None:
    """Neither the token nor a signed URL was said, or written anywhere on the shelf."""
    for secret in (TOKEN, "sig=", "/signed/"):
        assert secret not in said
        for folder, _, names in os.walk(shelf.path):
            for name in names:
                assert secret not in name
                assert secret.encode() not in Path(folder, name).read_bytes()


def fail(shelf: Shelf, spec: PullSpec, **changes: object) -> tuple[SourceError, str]:
    """A pull that ends with a SourceError: it, and everything said."""
    events = Recorder()
    with pytest.raises(SourceError) as failed:
        quick_pull(shelf, spec, events, **changes)
    assert_nothing_published(shelf)
    return failed.value, everything_said(failed.value, events)


def test_each_file_is_resolved_once(shelf: Shelf, hub: Hub) -> None:
    """The Hub is asked once for each file, however many ranges its file host serves."""
    repo = add_model(hub)
    assert_right(quick_pull(shelf, spec_of(hub, repo), chunk=64 * KIB), repo)
    asked = [request.file for request in hub.requests if request.origin == "hub"]
    assert sorted(map(str, asked)) == sorted(repo.files)
    assert sum(request.origin == "host" for request in hub.requests) > 50
    assert all(request.range for request in hub.requests)


def test_the_token_stays_with_the_hub(shelf: Shelf, hub: Hub) -> None:
    """Only the Hub gets the token: not the file host, no event, and no file on the shelf."""
    repo = add_model(hub, token=TOKEN)
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo, token=TOKEN), events), repo)
    sent = {(request.origin, request.authorization) for request in hub.requests}
    assert sent == {("hub", f"Bearer {TOKEN}"), ("host", None)}
    assert_secrets_kept(shelf, everything_said(None, events))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 403, "on": "host"},
        {"kind": "status", "status": 404, "on": "host"},
        {"kind": "status", "status": 418, "on": "host"},
        {"kind": "reset", "after": 0},
        {"kind": "stall", "after": 0},
        {"kind": "wrong-start"},
        {"kind": "redirect", "on": "host"},
    ],
)
def test_secrets_are_kept_when_it_fails(shelf: Shelf, hub: Hub, fault: dict[str, object]) -> None:
    """However a pull fails, nothing that is said or left on the shelf holds a secret."""
    repo = add_model(hub, token=TOKEN)
    hub.misbehave(path=LARGE, **fault)  # type: ignore[arg-type]
    error, said = fail(shelf, spec_of(hub, repo, token=TOKEN), stall=0.1)
    assert error.exit_code == 15
    assert_secrets_kept(shelf, said)


def test_a_signed_url_that_expires(shelf: Shelf, hub: Hub) -> None:
    """After a signed URL has expired the Hub is asked for another one, once for each expiry."""
    repo = add_model(hub, token=TOKEN)
    hub.signed_uses = 3
    events = Recorder()
    spec = spec_of(hub, repo, token=TOKEN)
    # Four connections share three uses, so one of them may come too late several times.
    patient = Backoff(max_tries=50, first_seconds=0.01, max_seconds=1.0)
    assert_right(quick_pull(shelf, spec, events, backoff=patient), repo)
    assert hub.bytes_sent() == sum(entry.size for entry in repo.files.values())
    refused = [request for request in hub.requests if request.status == 403]
    assert refused
    resolved = [r for r in hub.requests if r.origin == "hub" and r.file == LARGE]
    assert 4 <= len(resolved) <= 1 + len(refused)
    assert {event.reason for event in events.of(Retrying)} == {"a signed URL was refused with 403"}
    assert_secrets_kept(shelf, everything_said(None, events))


def test_all_signed_urls_expire_at_once(shelf: Shelf, hub: Hub) -> None:
    """In the middle of a pull all URLs expire, and it goes on without fetching a byte twice."""
    repo = add_model(hub)
    hub.misbehave("slow", LARGE, rate=4_000_000)
    expired = threading.Event()

    def listener(event: Event) -> None:
        if isinstance(event, Progressed) and event.fetched > 500_000 and not expired.is_set():
            expired.set()
            hub.expire_signed_urls()
            hub.faults.clear()

    assert_right(quick_pull(shelf, spec_of(hub, repo), listener), repo)
    assert expired.is_set()
    assert hub.bytes_sent() == sum(entry.size for entry in repo.files.values())


def test_signed_urls_that_never_work(shelf: Shelf, hub: Hub) -> None:
    """A file host that refuses every URL ends the pull after a bounded number of tries."""
    repo = add_model(hub)
    hub.signed_uses = 0
    error, said = fail(shelf, spec_of(hub, repo))
    assert error.exit_code == 15
    assert "refused with 403" in str(error)
    assert len(hub.requests) <= 2 * FAST.limits.max_connections * FAST.backoff.max_tries
    assert_secrets_kept(shelf, said)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/signed/x?sig=0",
        "http://user:sig=0@127.0.0.1:1/x",
        "ftp://127.0.0.1/signed/x?sig=0",
        "file:///etc/passwd?sig=0",
        "http://127.0.0.1:port/signed/x?sig=0",
        "http://[::1/signed/x?sig=0",
        "http://127.0.0.1:1/signed/\tx y?sig=0",
        "",
    ],
)
def test_a_redirect_that_leads_nowhere(shelf: Shelf, hub: Hub, location: str) -> None:
    """A redirect to a closed port, to no URL of HTTP, or in a loop, ends as a SourceError."""
    repo = add_model(hub)
    hub.misbehave("redirect", LARGE, location=location)
    error, said = fail(shelf, spec_of(hub, repo))
    assert error.exit_code == 15
    assert_secrets_kept(shelf, said)
    loops = [request for request in hub.requests if request.file == LARGE]
    assert len(loops) <= FAST.limits.max_connections * max(FAST.backoff.max_tries, 10)


def test_a_renamed_repository(shelf: Shelf, hub: Hub) -> None:
    """A repository that was renamed is followed to its new name, token and all."""
    repo = add_model(hub, token=TOKEN)
    spec = spec_of(hub, repo, token=TOKEN)
    hub.rename("org/name", "new/name")
    repo.repo_id = "org/name"
    assert_right(quick_pull(shelf, spec), repo)


def test_a_renamed_repository_that_refuses(shelf: Shelf, hub: Hub) -> None:
    """Behind a rename, too, a gate is a gate and a missing file is missing."""
    repo = add_model(hub, token=TOKEN)
    spec = spec_of(hub, repo)
    hub.rename("org/name", "new/name")
    error, _ = fail(shelf, spec)
    assert isinstance(error, NotAuthorisedError)
    repo.token = None
    repo.files.clear()
    error, _ = fail(shelf, spec)
    assert isinstance(error, NotFoundError)


def test_an_error_of_the_network_names_the_host(shelf: Shelf, hub: Hub) -> None:
    """Each try, and the error in the end, name the host and port that did not answer."""
    repo = add_model(hub)
    hub.misbehave("redirect", LARGE, location="http://127.0.0.1:1/x")
    events = Recorder()
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1: connection refused"):
        quick_pull(shelf, spec_of(hub, repo), events)
    assert {event.reason for event in events.of(Retrying)} == {"127.0.0.1:1: connection refused"}


def test_bodies_that_came_compressed(shelf: Shelf, hub: Hub) -> None:
    """A file that is sent compressed, though nobody asked for that, is checked by its content."""
    repo = add_model(hub)
    hub.misbehave("gzip")
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    assert events.of(Retrying) == []


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Encoding": "br"}, "compressed by 'br'"),
        ({"Content-Encoding": "gzip"}, "the body is not gzip"),
    ],
)
def test_a_compression_that_cannot_be_read(
    shelf: Shelf, hub: Hub, headers: dict[str, str], words: str
) -> None:
    """A reply in another compression than its headers say, or than we know, is named."""
    repo = add_model(hub)
    hub.misbehave("ignore-range", "config.json")
    hub.misbehave("headers", "config.json", headers=headers)
    error, _ = fail(shelf, spec_of(hub, repo))
    assert error.exit_code == 15
    assert words in str(error)


def test_a_used_up_limit_is_waited_for(shelf: Shelf, hub: Hub) -> None:
    """The RateLimit header says how long a refused file is waited for."""
    repo = add_model(hub)
    limit = {"RateLimit": '"resolvers";r=0;t=1'}
    hub.misbehave("status", LARGE, times=1, status=429, headers=limit, on="hub")
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    (retry,) = events.of(Retrying)
    assert retry.wait >= 1


def test_a_user_in_the_endpoint_is_sent_for_files_too(shelf: Shelf, hub: Hub) -> None:
    """A mirror's user and password go to the mirror alone, in place of the token."""
    repo = add_model(hub)
    snapshot = spec_of(hub, repo).snapshot
    endpoint = hub.url.replace("//", "//me:p%40ss@")
    source = HubSource.of_snapshot(endpoint, snapshot, TOKEN)
    assert "p%40ss" not in repr(source)
    assert_right(quick_pull(shelf, PullSpec(snapshot, source)), repo)
    basic = "Basic " + base64.b64encode(b"me:p@ss").decode()
    sent = {(request.origin, request.authorization) for request in hub.requests}
    assert sent == {("hub", basic), ("host", None)}


def plain(hub: Hub) -> Repo:
    """A model that the Hub serves itself."""
    return hub.add("org/name", {"data.bin": Pattern(700_000), "config.json": b"{}"})


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_http_through_a_proxy(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Requests for http go to the proxy as whole URLs, with its credentials, both hosts' alike."""
    with Hub(redirect=True) as hub, Proxy("me:p@ss word") as proxy:
        repo = add_model(hub)
        address = proxy.url.removeprefix("http://")
        monkeypatch.setenv(variable, f"http://me:p%40ss%20word@{address}")
        events = Recorder()
        assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
        assert len(proxy.requests) == len(hub.requests)
        assert {re.sub(r"(?<=\d)/.*", "", request.target) for request in proxy.requests} == {
            hub.url,
            hub.host.url,
        }
        assert not any("proxy-authorization" in request.headers for request in hub.requests)
        assert "p@ss" not in everything_said(None, events)


def test_a_proxy_that_wants_credentials(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's 407 is told."""
    with Hub() as hub, Proxy("me:right") as proxy:
        repo = plain(hub)
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:wrong@"))
        error, said = fail(shelf, spec_of(hub, repo))
    assert "407" in str(error)
    assert "wrong" not in said


@pytest.mark.parametrize(
    "form",
    [
        "127.0.0.1",
        "127.0.0.1:{port}",
        "example.org,127.0.0.1",
        "*",
        "10.0.0.0/8, 127.0.0.0/8",
        "::1/128,127.0.0.1/32",
    ],
)
def test_no_proxy(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Hosts that NO_PROXY names, with or without their port, are asked directly."""
    with Hub() as hub:
        repo = plain(hub)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", form.format(port=hub.url.rpartition(":")[2]))
        assert_right(quick_pull(shelf, spec_of(hub, repo)), repo)


def test_all_proxy_is_for_every_scheme(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY is used where there is no proxy for the scheme."""
    with Hub() as hub, Proxy() as proxy:
        repo = plain(hub)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert_right(quick_pull(shelf, spec_of(hub, repo)), repo)
        assert len(proxy.requests) == len(hub.requests)


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "127.0.0.1/33", "127.0.0.0/x", "example.org/8"])
def test_networks_without_the_host_do_not_count(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """A network that NO_PROXY lists counts only for its own addresses."""
    monkeypatch.setenv("http_proxy", "http://proxy.example")
    monkeypatch.setenv("no_proxy", entry)
    assert proxy_for("http", "127.0.0.1:80") == "http://proxy.example"
    assert proxy_for("http", "hub.example") == "http://proxy.example"
    monkeypatch.setenv("no_proxy", f"{entry},127.0.0.0/8,fd00::/8")
    assert proxy_for("http", "127.0.0.1:80") is None
    assert proxy_for("http", "[fd00::1]:80") is None


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://"])
def test_a_proxy_that_cannot_be_used(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str
) -> None:
    """A proxy of another kind is named instead of being passed by."""
    with Hub() as hub:
        repo = plain(hub)
        monkeypatch.setenv(variable, proxy)
        error, _ = fail(shelf, spec_of(hub, repo))
        assert "http_proxy" in error.hint
        assert hub.requests == []


@pytest.mark.parametrize("variable", BUNDLES)
def test_tls(
    shelf: Shelf,
    secure: Hub,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """A private authority is trusted where one of the two variables names it."""
    repo = add_model(secure, token=TOKEN)
    monkeypatch.setenv(variable, certificate.authority)
    assert_right(quick_pull(shelf, spec_of(secure, repo, token=TOKEN)), repo)
    assert {r.authorization for r in secure.requests if r.origin == "host"} == {None}


def test_tls_that_breaks_off(
    shelf: Shelf, secure: Hub, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under TLS, too, resets, short bodies and stalls cost no more than what they cut."""
    repo = add_model(secure)
    monkeypatch.setenv("SSL_CERT_FILE", certificate.authority)
    for place, kind in enumerate(("reset", "short", "stall")):
        begins = place * FAST.chunk
        secure.misbehave(kind, LARGE, after=100_000, begins=begins)  # type: ignore[arg-type]
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(secure, repo), events), repo)
    assert len(events.of(Retrying)) == 3


def test_a_certificate_that_nobody_vouches_for(shelf: Shelf, secure: Hub) -> None:
    """An untrusted certificate ends the pull at once and says which variables to set."""
    repo = add_model(secure)
    error, said = fail(shelf, spec_of(secure, repo))
    assert error.exit_code == 15
    assert "certificate" in str(error)
    assert "SSL_CERT_FILE" in error.hint
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert secure.requests == []
    assert '"retrying"' not in said


def test_a_file_host_that_nobody_vouches_for(shelf: Shelf, hub: Hub, secure: Hub) -> None:
    """An untrusted certificate behind a redirect is an error that does not show the URL."""
    repo = add_model(hub)
    hub.misbehave("redirect", LARGE, location=f"{secure.host.url}/signed/x?sig=0")
    error, said = fail(shelf, spec_of(hub, repo))
    assert "SSL_CERT_FILE" in error.hint
    assert_secrets_kept(shelf, said)


@pytest.mark.parametrize("variable", BUNDLES)
def test_a_bundle_that_cannot_be_read(
    shelf: Shelf, secure: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """A missing bundle, and one without a certificate, are named."""
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    repo = add_model(secure)
    for bundle in (tmp_path / "missing.pem", empty):
        monkeypatch.setenv(variable, str(bundle))
        tls_context.cache_clear()
        error, _ = fail(shelf, spec_of(secure, repo))
        assert bundle.name in str(error)
        assert variable in error.hint


def test_https_through_a_proxy(
    shelf: Shelf, secure: Hub, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections for https are tunnelled, with the proxy's credentials."""
    repo = add_model(secure, token=TOKEN)
    monkeypatch.setenv("SSL_CERT_FILE", certificate.authority)
    with Proxy("me:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://me:secret@"))
        assert_right(quick_pull(shelf, spec_of(secure, repo, token=TOKEN)), repo)
        asked = {(request.method, request.target) for request in proxy.requests}
        assert asked == {
            ("CONNECT", url.removeprefix("https://")) for url in (secure.url, secure.host.url)
        }
        assert not any("authorization" in request.headers for request in proxy.requests)
    assert not any("proxy-authorization" in request.headers for request in secure.requests)


# Before 3.12 http.client leaves the reply of a proxy that refuses to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_tunnel_that_is_refused(
    shelf: Shelf, secure: Hub, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses a tunnel is told apart from a Hub that fails."""
    repo = add_model(secure)
    monkeypatch.setenv("SSL_CERT_FILE", certificate.authority)
    with Proxy("me:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error, _ = fail(shelf, spec_of(secure, repo))
    assert "proxy answered 407" in str(error)
    del error
    gc.collect()


class OldServer(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0: each reply ends with its connection, and ranges are served all the same."""

    protocol_version = "HTTP/1.0"
    content = read(Pattern(1_500_000))

    def do_GET(self) -> None:
        """Answer one range."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert match is not None
        first, last = int(match[1]), int(match[2])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        self.end_headers()
        self.wfile.write(self.content[first : last + 1])

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def test_a_server_of_http_1_0(shelf: Shelf, hub: Hub) -> None:
    """A server of HTTP/1.0, which states no lengths and closes each connection, is supported."""
    repo = hub.add("org/old", {"data.bin": Pattern(1_500_000)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            hub.misbehave("redirect", location=f"http://127.0.0.1:{server.server_port}/x")
            events = Recorder()
            assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
        finally:
            server.shutdown()
            thread.join()
    assert events.of(Retrying) == []
