"""The tests' Hub simulator records requests and misbehaves as the tests of our puller rely on.

What it has in common with our mirror, the Hub's protocol, is tested in `test_hub_protocol`.
"""

from __future__ import annotations

import hashlib
import http.client
import pathlib
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hub import Content, Hub, Pattern, Proxy, make_certificate, safetensors
from hub.content import read
from support.hub_client import client_environment, read_files, run_client

BIG = 3_000_000
FILE = "/org/name/resolve/main/model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub with one model of a large and a small file."""
    with Hub() as hub:
        _add_model(hub)
        yield hub


def _add_model(hub: Hub) -> None:
    files: dict[str, bytes | Content] = {
        "model.safetensors": safetensors(BIG),
        "config.json": b"{}",
    }
    hub.add("org/name", files, lfs={"model.safetensors"})


def _connect(hub: Hub, *, host: bool = False) -> http.client.HTTPConnection:
    url = urlsplit(hub.host.url if host else hub.url)
    assert url.hostname
    return http.client.HTTPConnection(url.hostname, url.port, timeout=10)


def _get(hub: Hub, target: str = FILE, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = _connect(hub)
    try:
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize("redirect", [False, True])
def test_requests_of_the_real_client_are_recorded(
    tmp_path: pathlib.Path, *, redirect: bool
) -> None:
    """The records show the client's requests for pages, and that no token went to the file host."""
    with Hub(redirect=redirect) as hub:
        _add_model(hub)
        repo = hub.add(
            "org/name",
            {f"part-{n:02}/x.bin": bytes([n]) for n in range(7)} | {"big": Pattern(BIG, seed=5)},
            lfs={"big"},
        )
        hub.page_size = 3
        environment = client_environment(hub.url, tmp_path) | {"HF_TOKEN": "hf_secret"}
        folder = run_client("result = snapshot_download('org/name')", environment)
    contents = {path: read(entry.content) for path, entry in repo.files.items()}
    assert read_files(folder) == contents
    assert len([r for r in hub.requests if "/tree/" in r.path]) == 5
    tokens = {r.authorization for r in hub.requests if r.origin == "host"}
    assert tokens == ({None} if redirect else set())


def test_a_gated_model_is_refused_to_the_real_client(tmp_path: pathlib.Path) -> None:
    """The error code of a gated model makes the real client raise the error meant for it."""
    code = "result = name(get_hf_file_metadata, hf_hub_url('org/name', 'x'), token='hf_other')"
    with Hub() as hub:
        hub.add("org/name", {"x": b"x"}, token="hf_right", gated=True)
        raised = run_client(code, client_environment(hub.url, tmp_path))
    assert raised == "GatedRepoError"


def test_checksums_are_those_of_the_bytes_sent(hub: Hub) -> None:
    """The checksum in the listing is the sha256 of the bytes that are sent."""
    entry = hub.add("o/m", {"x": Pattern(BIG, seed=3)}, lfs={"x"}).files["x"]
    _, body = _get(hub, "/o/m/resolve/main/x")
    assert hashlib.sha256(body).hexdigest() == entry.sha256


def test_flip_changes_one_byte(hub: Hub) -> None:
    """A flip changes one byte and not the length, and the next request gets the right bytes."""
    hub.misbehave("flip", at=1_500_000, times=1)
    damaged, intact = _get(hub)[1], _get(hub)[1]
    assert [i for i in range(BIG) if damaged[i] != intact[i]] == [1_500_000]


def test_reset_reaches_the_client_as_rst(hub: Hub) -> None:
    """A reset ends the body with ECONNRESET and not with an end of file."""
    hub.misbehave("reset", after=1000, times=1)
    with pytest.raises(ConnectionResetError):
        _get(hub)
    assert len(_get(hub)[1]) == BIG


def test_a_short_body_ends_with_an_end_of_file(hub: Hub) -> None:
    """The connection is closed in order after a body that is too short."""
    hub.misbehave("short", after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        _get(hub)
    assert len(caught.value.partial) == 1000


@pytest.mark.parametrize("kind", ["long", "long-chunked", "long-close"])
def test_a_long_body_has_too_many_bytes(hub: Hub, kind: str) -> None:
    """A long body has more bytes than the range, in each framing."""
    hub.misbehave(kind, extra=70_000)  # type: ignore[arg-type]
    _, body = _get(hub, Range="bytes=0-99")
    assert len(body) == 70_100
    assert _get(hub)[1][:BIG] == read(safetensors(BIG))


def test_a_status_fault_strikes_as_often_as_asked(hub: Hub) -> None:
    """A status fault sends its status as often as the test asks, and to the matching path only."""
    fault = hub.misbehave("status", "*.safetensors", status=429, retry_after=7, times=2)
    assert [_get(hub)[0].status for _ in range(3)] == [429, 429, 200]
    assert _get(hub, "/org/name/resolve/main/config.json")[0].status == 200
    assert fault.hits == 2


def test_headers_can_be_wrong(hub: Hub) -> None:
    """Content-Range and Content-Length can be wrong, and a Range can be ignored or demanded."""
    hub.misbehave("wrong-start", by=10, times=1)
    assert _get(hub, Range="bytes=0-9")[0].headers["Content-Range"] == f"bytes 10-19/{BIG}"
    hub.misbehave("wrong-total", by=1, times=1)
    assert _get(hub, Range="bytes=0-9")[0].headers["Content-Range"] == f"bytes 0-9/{BIG + 1}"
    hub.misbehave("ignore-range", times=1)
    reply, body = _get(hub, Range="bytes=0-9")
    assert (reply.status, len(body)) == (200, BIG)
    hub.misbehave("wrong-length", by=5, times=1)
    with pytest.raises(http.client.IncompleteRead):
        _get(hub)
    hub.misbehave("need-range")
    assert _get(hub)[0].status == 403
    assert _get(hub, Range="bytes=0-9")[0].status == 206


def test_a_stall_lasts_until_the_test_releases_it(hub: Hub) -> None:
    """A stalled body stops after some bytes; after the release the Hub sends files whole again."""
    hub.misbehave("stall", after=1000)
    connection = _connect(hub)
    connection.request("GET", FILE)
    reply = connection.getresponse()
    assert len(reply.read(1000)) == 1000
    assert connection.sock is not None
    connection.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        reply.read(1)
    connection.close()
    hub.release()
    assert len(_get(hub)[1]) == BIG


def test_a_slow_reply_keeps_to_its_rate(hub: Hub) -> None:
    """A slow reply begins after its delay and then sends at its rate."""
    hub.misbehave("slow", delay=0.1, rate=1_000_000)
    start = time.monotonic()
    _get(hub, Range="bytes=0-199999")
    assert 0.25 <= time.monotonic() - start < 1


def test_a_refused_connection_is_reset(hub: Hub) -> None:
    """The Hub resets a refused connection before it reads a request."""
    hub.misbehave("refuse", times=1)
    with pytest.raises((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        _get(hub)
    assert len(_get(hub)[1]) == BIG


def test_signed_urls_expire() -> None:
    """The file host answers a signed URL once if it may be used once, and then with 403."""
    with Hub(redirect=True) as hub:
        _add_model(hub)
        hub.signed_uses = 1
        location = _get(hub)[0].headers["Location"]
        assert location.startswith(hub.host.url + "/signed/")
        connection = _connect(hub, host=True)
        statuses = []
        for _ in range(2):
            connection.request("GET", location.removeprefix(hub.host.url))
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
        assert statuses == [200, 403]
        assert {r.connection for r in hub.requests if r.origin == "host"} == {1}


def test_redirects_lead_anywhere(hub: Hub) -> None:
    """A renamed repository redirects to a relative URL, and a fault to any URL or to itself."""
    hub.rename("org/name", "org/new")
    reply, _ = _get(hub)
    assert (reply.status, reply.headers["Location"]) == (307, FILE.replace("name", "new"))
    hub.misbehave("redirect", location="https://elsewhere.invalid/x", times=1)
    assert _get(hub)[0].headers["Location"] == "https://elsewhere.invalid/x"
    hub.misbehave("redirect")
    assert _get(hub)[0].headers["Location"] == FILE


def test_a_listing_has_any_file_name(hub: Hub) -> None:
    """A listing has the file names that a test added, also those that no Hub would accept."""
    hub.add("bad/names", {"../../x": b"x", "a\nb": b"y"})
    _, body = _get(hub, "/api/models/bad/names/tree/main?recursive=true")
    assert b'"path": "../../x"' in body
    assert b'"path": "a\\nb"' in body


def test_https_needs_the_certificates_authority(tmp_path: pathlib.Path) -> None:
    """A Hub with a certificate speaks TLS, which only clients that trust its authority accept."""
    certificate = make_certificate(tmp_path)
    with Hub(tls=certificate) as hub:
        _add_model(hub)
        hub.misbehave("reset", after=100_000, times=1)
        url = urlsplit(hub.url)
        assert url.hostname
        context = ssl.create_default_context(cafile=certificate.authority)
        connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        connection.request("GET", FILE)
        # Python's ssl reports a reset as an end of file.
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            connection.getresponse().read()
        connection.close()
        connection.request("GET", FILE)
        assert len(connection.getresponse().read()) == BIG
        connection.close()
        untrusting = http.client.HTTPSConnection(url.hostname, url.port)
        with pytest.raises(ssl.SSLCertVerificationError):
            untrusting.request("GET", FILE)
        untrusting.close()


def test_proxy_tunnels_and_forwards(hub: Hub, tmp_path: pathlib.Path) -> None:
    """The proxy demands its credentials, forwards plain requests and opens tunnels for CONNECT."""
    hub_address = urlsplit(hub.url).netloc
    with Proxy(credentials="user:word") as proxy:
        proxy_url = urlsplit(proxy.url)
        assert proxy_url.hostname
        connection = http.client.HTTPConnection(proxy_url.hostname, proxy_url.port, timeout=10)
        connection.request("GET", hub.url + FILE)
        assert connection.getresponse().status == 407
        connection.close()
        credentials = {"Proxy-Authorization": "Basic dXNlcjp3b3Jk"}
        connection.request("GET", hub.url + FILE, headers=credentials)
        assert len(connection.getresponse().read()) == BIG
        connection.close()
        tunnel = http.client.HTTPConnection(proxy_url.hostname, proxy_url.port, timeout=10)
        host, _, port = hub_address.partition(":")
        tunnel.set_tunnel(host, int(port), headers=credentials)
        tunnel.request("GET", FILE)
        assert len(tunnel.getresponse().read()) == BIG
        tunnel.close()
    assert [r.method for r in proxy.requests] == ["GET", "GET", "CONNECT"]
    assert proxy.requests[2].target == hub_address
    assert {r.headers.get("proxy-authorization") for r in hub.requests} == {None}
