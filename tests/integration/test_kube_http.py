"""What a cluster's client sends, when it asks again, and what failures become."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import lightkube.core.exceptions
import pytest
import trustme
import yaml
from support.scripted_server import Answer, ApiServer, json_answer, refusal, serving

from modelshelf.kube import refusals
from modelshelf.kube.client import Cluster
from modelshelf.kube.connection import Connection, RawResponse
from modelshelf.kube.kubeconfig import KubeContext
from modelshelf.kube.refusals import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    MissingError,
    UnreachableError,
)
from modelshelf.shelf.errors import Error, TargetError, TimedOutError, UsageError

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "llm"}}
STRICT = "?fieldManager=modelshelf&fieldValidation=Strict"
BUSY = refusal(503, "the server is currently unable to handle the request")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A scripted API server."""
    with serving() as server:
        yield server


def context(url: str, user: dict[str, Any] | None = None, **cluster: Any) -> KubeContext:
    """A context of that server."""
    return KubeContext("test", url, {"server": url, **cluster}, user or {})


def cluster(url: str, sleeps: list[float] | None = None, **user: Any) -> Cluster:
    """A client of that server that notes how long it would have slept."""
    slept = [] if sleeps is None else sleeps
    connection = Connection(context(url, user), sleep=slept.append)
    return Cluster(connection, sleep=slept.append)


def test_an_object_comes_back_as_it_is_and_is_none_where_there_is_none(api: ApiServer) -> None:
    """Unknown fields are kept, and a 404 makes `get` return None."""
    odd = POD | {"spec": {"fieldOfTheFuture": [1, None, {"x": "é"}]}}
    api.script = [json_answer(odd), refusal(404, 'pods "b" not found')]
    with cluster(api.url) as it:
        assert (it.get("Pod", "a", "llm"), it.get("Pod", "b", "llm")) == (odd, None)
        assert it.calls == 2
    assert [request.path for request in api.requests] == [
        "/api/v1/namespaces/llm/pods/a",
        "/api/v1/namespaces/llm/pods/b",
    ]


def test_a_list_is_read_to_its_end_and_its_objects_are_whole(api: ApiServer) -> None:
    """All pages are read, and each object has its kind and API version."""
    first = {"metadata": {"continue": "m/r e"}, "items": [{"metadata": {"name": "a"}}]}
    api.script = [
        json_answer(first),
        json_answer({"metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    with cluster(api.url) as it:
        found = it.list("Deployment", "llm", {"b": "2", "a": None})
    about = {"apiVersion": "apps/v1", "kind": "Deployment"}
    assert found == [about | {"metadata": {"name": name}} for name in "ab"]
    path = "/apis/apps/v1/namespaces/llm/deployments?limit=1000&labelSelector=a%2Cb%3D2"
    assert [request.path for request in api.requests] == [path, f"{path}&continue=m%2Fr+e"]


def test_events_can_be_those_that_tell_of_trouble(api: ApiServer) -> None:
    """The server selects events by type and by the name of their object."""
    api.script = [json_answer({"items": []})]
    with cluster(api.url) as it:
        for name, warnings in (("", False), ("", True), ("x", False), ("x", True)):
            it.events("llm", name, warnings=warnings)
    about = "involvedObject.name%3Dx"
    wanted = ["", "&fieldSelector=type%3DWarning", f"&fieldSelector={about}"]
    wanted += [f"&fieldSelector={about}%2Ctype%3DWarning"]
    path = "/api/v1/namespaces/llm/events?limit=1000"
    assert [request.path for request in api.requests] == [path + fields for fields in wanted]


def test_apply_sends_a_strict_server_side_apply(api: ApiServer) -> None:
    """The whole object is sent except for managedFields, which a server refuses."""
    api.script = [json_answer(POD)]
    sent = POD | {"metadata": POD["metadata"] | {"managedFields": [{}]}}  # type: ignore[operator]
    with cluster(api.url) as it:
        assert it.apply(sent, force=True, dry_run=True) == POD
    (request,) = api.requests
    assert json.loads(request.body) == POD
    assert (request.method, request.headers["content-type"], request.path) == (
        "PATCH",
        "application/apply-patch+yaml",
        f"/api/v1/namespaces/llm/pods/a{STRICT}&force=true&dryRun=All",
    )


def test_patch_delete_and_create_send_what_the_api_wants(api: ApiServer) -> None:
    """Each verb sends the API's method, path, query and body."""
    with cluster(api.url) as it:
        it.patch("Deployment", "m", "llm", {"spec": {"replicas": 2}}, subresource="scale")
        assert it.delete("Pod", "a", "llm", grace=0, propagation="Foreground") is True
        it.create(POD)
    assert [
        (request.method, request.path, json.loads(request.body)) for request in api.requests
    ] == [
        (
            "PATCH",
            "/apis/apps/v1/namespaces/llm/deployments/m/scale?fieldManager=modelshelf",
            {"spec": {"replicas": 2}},
        ),
        (
            "DELETE",
            "/api/v1/namespaces/llm/pods/a",
            {
                "kind": "DeleteOptions",
                "apiVersion": "v1",
                "propagationPolicy": "Foreground",
                "gracePeriodSeconds": 0,
            },
        ),
        (
            "POST",
            f"/api/v1/namespaces/llm/pods{STRICT}",
            POD,
        ),
    ]


def test_delete_waits_until_the_object_itself_is_gone(api: ApiServer) -> None:
    """A new object of the same name ends the wait; a missing object is no error."""
    mine = POD | {"metadata": {"name": "a", "uid": "1"}}
    other = POD | {"metadata": {"name": "a", "uid": "2"}}
    api.script = [
        json_answer(mine),
        json_answer(mine),
        json_answer(other),
        refusal(404, "not found"),
    ]
    slept: list[float] = []
    with cluster(api.url, slept) as it:
        assert it.delete("Pod", "a", "llm", wait=True) is True
        assert it.delete("Pod", "a", "llm", wait=True) is False
    assert slept == [0.1]


def test_delete_names_what_holds_an_object(api: ApiServer) -> None:
    """After the deadline the error names the finalizers."""
    api.script = [
        json_answer(POD | {"metadata": {"name": "a", "uid": "1", "finalizers": ["x/protect"]}})
    ]
    with cluster(api.url) as it, pytest.raises(TimedOutError) as raised:
        it.delete("Pod", "a", "llm", wait=True, timeout=0)
    assert str(raised.value) == (
        "Pod llm/a is still there 0 s after it was deleted, held by x/protect"
    )


def test_transient_failures_are_waited_out(api: ApiServer) -> None:
    """After a lost connection, a 429 and a 503 the request is sent again, with pauses."""
    slept: list[float] = []
    api.script = [Answer(status=0), json_answer({}, 429, Retry_After="2"), BUSY, json_answer(POD)]
    with cluster(api.url, slept) as it:
        assert it.get("Pod", "a", "llm") == POD
        assert it.calls == 4
    assert len(slept) == 3
    assert 0.2 <= slept[0] <= 0.4
    assert 2.0 <= slept[1] <= 2.2
    assert 0.8 <= slept[2] <= 1.6


def test_a_create_is_repeated_only_where_it_cannot_have_happened(api: ApiServer) -> None:
    """A create is repeated after a 429, but not after a lost connection."""
    api.script = [json_answer({}, 429), json_answer(POD, 201), Answer(status=0)]
    with cluster(api.url) as it:
        assert it.create(POD) == POD
        with pytest.raises(UnreachableError):
            it.create(POD)
        assert it.calls == 3


def test_a_server_that_keeps_failing_is_named(api: ApiServer) -> None:
    """After the last try the error names the request, the server and the answer."""
    api.script = [BUSY]
    with cluster(api.url) as it, pytest.raises(UnreachableError) as raised:
        it.list("Pod", "llm")
    assert it.calls == 4
    assert str(raised.value) == (
        f"{api.url} refused to list Pod llm: the server is currently unable to handle the request"
    )
    assert raised.value.hint == (
        "check that the cluster is up: `kubectl --context test get --raw /readyz`"
    )


def test_a_raw_request_is_sent_once_and_returns_any_status(api: ApiServer) -> None:
    """A raw request is sent once, and each status is returned."""
    api.script = [Answer(503, b"no endpoints")]
    with cluster(api.url, token="t0ken") as it:
        reply = it.request("POST", "/proxy/v1/x?y=1", b"hi", headers={"Content-Type": "text/x"})
        assert (reply, it.calls) == (RawResponse(503, b"no endpoints"), 1)
    (request,) = api.requests
    assert (request.path, request.body) == ("/proxy/v1/x?y=1", b"hi")
    assert (request.headers["authorization"], request.headers["content-type"]) == (
        "Bearer t0ken",
        "text/x",
    )


def test_a_raw_request_has_a_deadline(api: ApiServer) -> None:
    """A raw request ends with an error after its timeout."""
    gate = threading.Event()
    api.script = [Answer(gate=gate)]
    with cluster(api.url) as it, pytest.raises(UnreachableError, match="cannot be reached"):
        it.request("GET", "/slow", timeout=0.1)
    gate.set()


def test_logs_are_lines_and_a_lost_connection_ends_following(api: ApiServer) -> None:
    r"""Only \n ends a line; what is left of one that broke off is not passed on."""
    text = 'a\u2028b\n{"x": 1}\nprogress\rmore\nla'.encode() + b"\xff"
    api.script = [Answer(body=text, length=1000), Answer(body=text), Answer()]
    with cluster(api.url) as it:
        followed = list(it.logs("a", "llm", "pull", follow=True, tail=5))
        whole = list(it.logs("a", "llm", previous=True))
        assert list(it.logs("a", "llm", timestamped_bytes=9)) == ["{}"]
    assert whole == ["a\u2028b", '{"x": 1}', "progress\rmore", "la\ufffd"]
    assert followed == whole[:-1]
    assert [request.path for request in api.requests] == [
        "/api/v1/namespaces/llm/pods/a/log?container=pull&follow=true&tailLines=5",
        "/api/v1/namespaces/llm/pods/a/log?previous=true",
        "/api/v1/namespaces/llm/pods/a/log?timestamps=true&limitBytes=9",
    ]


def test_a_log_that_breaks_off_is_an_error_where_nobody_follows(api: ApiServer) -> None:
    """A log that breaks off is an error unless it is followed."""
    api.script = [Answer(body=b"one\n", length=1000)]
    with cluster(api.url) as it, pytest.raises(UnreachableError):
        list(it.logs("a", "llm"))


def test_following_a_silent_log_ends_after_the_time_that_was_named(api: ApiServer) -> None:
    """Following a log ends after `idle` seconds without a byte."""
    with cluster(api.url) as it:
        gate = threading.Event()
        api.script = [Answer(gate=gate), Answer(body=b"one\n", length=9, after=gate)]
        assert list(it.logs("a", "llm", follow=True, idle=0.1)) == []
        assert list(it.logs("a", "llm", follow=True, idle=0.1)) == ["one"]
        gate.set()
        assert it.calls == 2


def test_several_threads_use_one_cluster(api: ApiServer) -> None:
    """Several threads get their own answers, and each request is counted."""
    api.script = [json_answer(POD)]
    found: list[object] = []
    with cluster(api.url) as it:
        threads = [
            threading.Thread(target=lambda: found.append(it.get("Pod", "a", "llm")))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (found, it.calls) == ([POD] * 16, 16)


FORBIDDEN = (
    'deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group '
    '"apps" in the namespace "llm"'
)
FAULTS: dict[str, tuple[list[Answer], type[TargetError], str]] = {
    "401": ([refusal(401, "Unauthorized")], TargetError, "does not accept these credentials"),
    "403": ([refusal(403, FORBIDDEN)], ForbiddenError, "does not let this user list"),
    "404": ([refusal(404, 'namespaces "llm" not found')], MissingError, "not found"),
    "exists": ([refusal(409, "it already exists")], ExistsError, "already exists"),
    "conflict": ([refusal(409, "changed", "Conflict")], ConflictError, "changed"),
    "422": ([refusal(422, "spec.x: Invalid value")], TargetError, "spec.x: Invalid value"),
    "not allowed": ([Answer(405, b"<html>")], TargetError, "HTTP status 405"),
    "moved": ([Answer(302, b"", headers={"Location": "/x"})], TargetError, "HTTP status 302"),
    "no JSON": ([Answer(body=b"<html>hi</html>")], TargetError, "does not answer as"),
    "a list": ([Answer(body=b"[1]")], TargetError, "does not answer as"),
    "not UTF-8": ([Answer(body=b'"\xff"')], TargetError, "does not answer as"),
    "not gzip": (
        [Answer(body=b"nope", headers={"Content-Encoding": "gzip"})],
        UnreachableError,
        "cannot be reached",
    ),
    "dropped": ([Answer(status=0)], UnreachableError, "cannot be reached"),
    "short": ([Answer(body=b"{", length=9)], UnreachableError, "cannot be reached"),
    "429": ([json_answer({}, 429)], UnreachableError, "HTTP status 429"),
    "500": ([refusal(500, "boom")], UnreachableError, "boom"),
    "502": ([Answer(502, b"<html>token=secret</html>")], UnreachableError, "HTTP status 502"),
}
VERBS: dict[str, Callable[[Cluster], object]] = {
    "list": lambda it: it.list("Deployment", "llm"),
    "apply": lambda it: it.apply(POD),
    "create": lambda it: it.create(POD),
    "patch": lambda it: it.patch("Pod", "a", "llm", {}),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_failure_is_one_of_ours(api: ApiServer, fault: str, verb: str) -> None:
    """Each failure becomes an error of ours, never one of httpx2 or lightkube."""
    api.script, kind, text = FAULTS[fault]
    with cluster(api.url) as it, pytest.raises(Error) as raised:
        VERBS[verb](it)
    if verb == "create" and kind is UnreachableError:
        kind = TargetError  # a create that may have happened is not repeated
    assert isinstance(raised.value, kind)
    assert type(raised.value).__module__ in {"modelshelf.shelf.errors", refusals.__name__}
    assert text in str(raised.value)
    assert api.url in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.exit_code == 20


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in vars(refusals).values()
        if isinstance(kind, type) and issubclass(kind, Error)
    ],
)
def test_no_error_of_ours_is_a_third_party_one(kind: type[Error]) -> None:
    """No error of ours is a subclass of an error of httpx2 or lightkube."""
    assert not issubclass(kind, httpx2.HTTPError | lightkube.core.exceptions.ConfigError)


def test_a_server_that_is_not_there_is_named_with_its_context() -> None:
    """The error for a server that does not listen names its URL and the context."""
    with serving() as gone:
        url = gone.url
    with cluster(url) as it, pytest.raises(UnreachableError) as raised:
        it.create(POD)
    assert it.calls == 4
    assert str(raised.value) == (
        f"{url} (context test) cannot be reached: [Errno 111] Connection refused"
    )


def authority_and_server(folder: Path) -> tuple[trustme.CA, ssl.SSLContext]:
    """A certificate authority, and the TLS context of a server with a certificate of it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    authority.cert_pem.write_to_path(os.fspath(folder / "ca.crt"))
    return authority, server


def test_an_unknown_certificate_is_not_asked_about_twice(tmp_path: Path) -> None:
    """A certificate of another authority is refused at the first try, with a hint."""
    _, server = authority_and_server(tmp_path)
    trustme.CA().cert_pem.write_to_path(os.fspath(tmp_path / "other.crt"))
    with serving(server) as api:
        trusted: dict[str, Any] = {"certificate-authority": os.fspath(tmp_path / "other.crt")}
        chosen = context(api.url, **trusted)
        it = Cluster(Connection(chosen))
        with it, pytest.raises(UnreachableError, match="certificate verify failed") as raised:
            it.get("Pod", "a", "llm")
    assert it.calls == 1
    assert raised.value.hint == "check certificate-authority of this cluster in the kubeconfig"


def test_a_client_certificate_is_shown_to_the_server(tmp_path: Path) -> None:
    """The client certificate in a kubeconfig is sent to the server."""
    authority, server = authority_and_server(tmp_path)
    server.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("jane@example.org")
    user = {
        "client-certificate-data": base64.b64encode(mine.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(mine.private_key_pem.bytes()).decode(),
    }
    with serving(server) as api:
        api.script = [json_answer(POD)]
        write(tmp_path / "config", api.url, user, **{"certificate-authority": "ca.crt"})
        with Cluster.connect(os.fspath(tmp_path / "config")) as it:
            assert (it.server, it.context) == (api.url, "here")
            assert it.get("Pod", "a", "llm") == POD


def write(path: Path, url: str, user: dict[str, Any], **more: Any) -> None:
    """A kubeconfig with one context."""
    conf = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url, **more}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(conf), encoding="utf-8")


def test_a_certificate_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """A missing or wrong certificate is an error before any request is sent."""
    write(tmp_path / "config", "https://127.0.0.1:1", {}, **{"certificate-authority": "nope.crt"})
    with pytest.raises(UsageError, match="context here of the kubeconfig cannot be used"):
        Cluster.connect(os.fspath(tmp_path / "config"))
    bad = {"client-certificate-data": "!!", "client-key-data": "SECRET"}
    write(tmp_path / "config", "https://127.0.0.1:1", bad)
    with pytest.raises(UsageError) as raised:
        Cluster.connect(os.fspath(tmp_path / "config"))
    assert str(raised.value) == (
        f"user u in {tmp_path / 'config'} has a client-certificate-data that is not base64"
    )


PLUGIN = """
import json, os, pathlib, sys
count = pathlib.Path(sys.argv[1])
runs = len(count.read_text()) + 1 if count.exists() else 1
count.write_text("x" * runs)
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = {"token": f"{os.environ['WHO']}-{runs}", "expirationTimestamp": sys.argv[2]}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def with_plugin(folder: Path, url: str, expires: str) -> Cluster:
    """A cluster whose token comes from a program."""
    (folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [os.fspath(folder / "plugin.py"), os.fspath(folder / "runs"), expires],
        "env": [{"name": "WHO", "value": "jane"}],
        "interactiveMode": "Never",
    }
    write(folder / "config", url, {"exec": plugin})
    return Cluster.connect(os.fspath(folder / "config"))


def test_a_plugins_token_is_used_until_it_is_refused(api: ApiServer, tmp_path: Path) -> None:
    """The plugin runs once for many requests, and again after a 401."""
    api.script = [
        json_answer(POD),
        json_answer(POD),
        refusal(401, "Unauthorized"),
        json_answer(POD),
    ]
    with with_plugin(tmp_path, api.url, "2100-01-01T00:00:00Z") as it:
        assert [it.get("Pod", "a", "llm") for _ in range(3)] == [POD] * 3
    sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer jane-1", "Bearer jane-1", "Bearer jane-1", "Bearer jane-2"]


def test_a_plugins_token_that_expired_is_not_sent(api: ApiServer, tmp_path: Path) -> None:
    """The plugin runs again when its token has expired."""
    api.script = [json_answer(POD)]
    with with_plugin(tmp_path, api.url, "2000-01-01T00:00:00Z") as it:
        it.get("Pod", "a", "llm")
    assert [request.headers["authorization"] for request in api.requests] == ["Bearer jane-2"]


def test_a_plugins_failure_to_renew_is_ours(api: ApiServer, tmp_path: Path) -> None:
    """A plugin's failure in the middle of a request names the plugin."""
    api.script = [refusal(401, "Unauthorized")]
    with with_plugin(tmp_path, api.url, "2100-01-01T00:00:00Z") as it:
        (tmp_path / "plugin.py").write_text("raise SystemExit(3)", encoding="utf-8")
        with pytest.raises(TargetError, match="ended with exit code 3") as raised:
            it.get("Pod", "a", "llm")
    assert type(raised.value) is TargetError


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ({"token": "SECRET\n"}, "a token or path with characters that HTTP forbids"),
        ({"tokenFile": "/no/token"}, "Token file /no/token not found"),
        ({"tokenFile": "/"}, "[Errno 21] Is a directory: '/'"),
    ],
)
def test_a_token_that_cannot_be_sent_is_not_shown(
    api: ApiServer, user: dict[str, Any], what: str
) -> None:
    """The token is neither in the message nor in the cause of the error."""
    with cluster(api.url, **user) as it, pytest.raises(UsageError) as raised:
        it.get("Pod", "a", "llm")
    assert str(raised.value) == f"{api.url} (context test) cannot be asked: {what}"
    assert raised.value.__suppress_context__
    assert api.requests == []


def test_credentials_go_to_their_own_server_only(api: ApiServer) -> None:
    """A URL in place of a path is sent as a path to the API server."""
    with cluster(api.url, token="t0ken") as it:
        it.request("GET", "http://other.example/x")
        it.request("GET", "//other.example/x")
    assert [request.path for request in api.requests] == [
        "/http://other.example/x",
        "/other.example/x",
    ]
