"""The loopback Hub behaves, and misbehaves, as the tests of the puller rely on."""

from __future__ import annotations

import hashlib
import http.client
import os
import pathlib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hub import Content, Hub, Pattern, Proxy, make_certificate, safetensors
from hub.content import read

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


def _child(code: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SNAPSHOT = """
import sys, huggingface_hub
huggingface_hub.snapshot_download("org/name", local_dir=sys.argv[1])
"""


@pytest.mark.parametrize("redirect", [False, True])
def test_real_client_downloads_a_snapshot(tmp_path: pathlib.Path, *, redirect: bool) -> None:
    """The real huggingface_hub takes the loopback Hub for a Hub, with and without a file host."""
    with Hub(redirect=redirect) as hub:
        _add_model(hub)
        repo = hub.add(
            "org/name",
            {f"part-{n:02}/x.bin": bytes([n]) for n in range(7)} | {"big": Pattern(BIG, seed=5)},
            lfs={"big"},
        )
        hub.page_size = 3
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret"}
        done = _child(SNAPSHOT, str(tmp_path / "to"), **env)
    assert done.returncode == 0, done.stderr
    for path, entry in repo.files.items():
        assert (tmp_path / "to" / path).read_bytes() == read(entry.content)
    assert len([r for r in hub.requests if "/tree/" in r.path]) == 5
    sent = {r.authorization for r in hub.requests if r.origin == "host"}
    assert sent == ({None} if redirect else set())


@pytest.mark.parametrize(
    ("setup", "name"),
    [
        ("gated", "GatedRepoError"),
        ("missing", "RepositoryNotFoundError"),
        ("revision", "RevisionNotFoundError"),
    ],
)
def test_refusals_are_those_the_real_client_knows(setup: str, name: str) -> None:
    """X-Error-Code makes the real client raise the error meant for it."""
    code = f"""
import huggingface_hub
from huggingface_hub import errors
try:
    huggingface_hub.get_hf_file_metadata(
        huggingface_hub.hf_hub_url("org/name", "x", revision={setup!r}), token="hf_other")
except Exception as error:
    print(type(error).__name__)
"""
    with Hub() as hub:
        if setup != "missing":
            hub.add("org/name", {"x": b"x"}, token="hf_right", gated=setup == "gated")
        if setup == "revision":
            hub.add("org/name", {"x": b"x"})
        done = _child(code, HF_ENDPOINT=hub.url)
    assert done.stdout.strip() == name, done.stderr


def test_ranges_hold_what_was_asked_for(hub: Hub) -> None:
    """A range gets 206, Content-Range and just its bytes; one past the end gets 416."""
    content = read(safetensors(BIG))
    reply, body = _get(hub, Range="bytes=100-2000099")
    assert reply.status == 206
    assert reply.headers["Content-Range"] == f"bytes 100-2000099/{BIG}"
    assert body == content[100:2000100]
    assert _get(hub, Range=f"bytes={BIG}-")[0].status == 416
    assert _get(hub, Range="bytes=-5")[1] == content[-5:]
    assert hub.bytes_sent("model.safetensors") == 2_000_000 + 5


def test_checksums_are_of_the_bytes_served(hub: Hub) -> None:
    """The listing states the sha256 that the served bytes have."""
    entry = hub.add("o/m", {"x": Pattern(BIG, seed=3)}, lfs={"x"}).files["x"]
    _, body = _get(hub, "/o/m/resolve/main/x")
    assert hashlib.sha256(body).hexdigest() == entry.sha256


def test_flip_changes_one_byte(hub: Hub) -> None:
    """A flipped byte leaves the length alone, and the next request gets the true one."""
    hub.misbehave("flip", at=1_500_000, times=1)
    spoilt, true = _get(hub)[1], _get(hub)[1]
    assert [i for i in range(BIG) if spoilt[i] != true[i]] == [1_500_000]


def test_reset_reaches_the_client_as_rst(hub: Hub) -> None:
    """A reset ends the body with ECONNRESET, not with an end of file."""
    hub.misbehave("reset", after=1000, times=1)
    with pytest.raises(ConnectionResetError):
        _get(hub)
    assert len(_get(hub)[1]) == BIG


def test_short_body_ends_cleanly(hub: Hub) -> None:
    """A body cut short ends with an end of file."""
    hub.misbehave("short", after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        _get(hub)
    assert len(caught.value.partial) == 1000


@pytest.mark.parametrize("kind", ["long", "long-chunked", "long-close"])
def test_long_body_holds_too_much(hub: Hub, kind: str) -> None:
    """A body that runs long holds more than the range, in each framing."""
    hub.misbehave(kind, extra=70_000)  # type: ignore[arg-type]
    _, body = _get(hub, Range="bytes=0-99")
    assert len(body) == 70_100
    assert _get(hub)[1][:BIG] == read(safetensors(BIG))


def test_refusals_name_when_to_come_again(hub: Hub) -> None:
    """A status fault sends its status, Retry-After and X-Error-Code, as often as asked."""
    fault = hub.misbehave("status", "*.safetensors", status=429, retry_after=7, times=2)
    assert [_get(hub)[0].status for _ in range(3)] == [429, 429, 200]
    assert _get(hub, "/org/name/resolve/main/config.json")[0].status == 200
    assert fault.hits == 2


def test_headers_lie_on_request(hub: Hub) -> None:
    """Content-Range and Content-Length can be off, and Range ignored or demanded."""
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


def test_stall_lasts_until_released(hub: Hub) -> None:
    """A stalled body goes quiet after its bytes, and ends well once released."""
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


def test_slow_keeps_to_its_rate(hub: Hub) -> None:
    """A slow reply waits before its first byte and then keeps to its rate."""
    hub.misbehave("slow", delay=0.1, rate=1_000_000)
    began = time.monotonic()
    _get(hub, Range="bytes=0-199999")
    assert 0.25 <= time.monotonic() - began < 1


def test_refused_connections_are_reset(hub: Hub) -> None:
    """A refused connection is reset before a request is read."""
    hub.misbehave("refuse", times=1)
    with pytest.raises((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        _get(hub)
    assert len(_get(hub)[1]) == BIG


def test_signed_urls_expire() -> None:
    """The file host answers a signed URL until its uses are up or all are expired."""
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


def test_redirects_of_every_kind(hub: Hub) -> None:
    """A renamed repository redirects relatively; a fault redirects anywhere, to itself too."""
    hub.rename("org/name", "org/new")
    reply, _ = _get(hub)
    assert (reply.status, reply.headers["Location"]) == (307, FILE.replace("name", "new"))
    hub.misbehave("redirect", location="https://elsewhere.invalid/x", times=1)
    assert _get(hub)[0].headers["Location"] == "https://elsewhere.invalid/x"
    hub.misbehave("redirect")
    assert _get(hub)[0].headers["Location"] == FILE


def test_any_name_is_listed(hub: Hub) -> None:
    """A listing names what the test put there, however unfit."""
    hub.add("bad/names", {"../../x": b"x", "a\nb": b"y"})
    _, body = _get(hub, "/api/models/bad/names/tree/main?recursive=true")
    assert b'"path": "../../x"' in body
    assert b'"path": "a\\nb"' in body


def test_https_needs_its_authority(tmp_path: pathlib.Path) -> None:
    """With a certificate the Hub speaks TLS that only those who trust its authority accept."""
    certificate = make_certificate(tmp_path)
    with Hub(tls=certificate) as hub:
        _add_model(hub)
        hub.misbehave("reset", after=100_000, times=1)
        url = urlsplit(hub.url)
        assert url.hostname
        context = ssl.create_default_context(cafile=certificate.authority)
        connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        connection.request("GET", FILE)
        # Python's ssl tells a reset as an end of file.
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            connection.getresponse().read()
        connection.close()
        connection.request("GET", FILE)
        assert len(connection.getresponse().read()) == BIG
        connection.close()
        stranger = http.client.HTTPSConnection(url.hostname, url.port)
        with pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", FILE)
        stranger.close()


def test_proxy_tunnels_and_forwards(hub: Hub, tmp_path: pathlib.Path) -> None:
    """The proxy forwards plain requests, tunnels CONNECT, and demands its credentials."""
    hub_at = urlsplit(hub.url).netloc
    with Proxy(credentials="user:word") as proxy:
        proxy_at = urlsplit(proxy.url)
        assert proxy_at.hostname
        connection = http.client.HTTPConnection(proxy_at.hostname, proxy_at.port, timeout=10)
        connection.request("GET", hub.url + FILE)
        assert connection.getresponse().status == 407
        connection.close()
        word = {"Proxy-Authorization": "Basic dXNlcjp3b3Jk"}
        connection.request("GET", hub.url + FILE, headers=word)
        assert len(connection.getresponse().read()) == BIG
        connection.close()
        tunnel = http.client.HTTPConnection(proxy_at.hostname, proxy_at.port, timeout=10)
        host, _, port = hub_at.partition(":")
        tunnel.set_tunnel(host, int(port), headers=word)
        tunnel.request("GET", FILE)
        assert len(tunnel.getresponse().read()) == BIG
        tunnel.close()
    assert [r.method for r in proxy.requests] == ["GET", "GET", "CONNECT"]
    assert proxy.requests[2].target == hub_at
    assert {r.headers.get("proxy-authorization") for r in hub.requests} == {None}
