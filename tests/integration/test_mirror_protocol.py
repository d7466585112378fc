"""The mirror's HTTP protocol, requested without a client library."""

import contextlib
import email
import email.policy
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.mirror_process import Mirror, running
from support.small_models import COMMIT, describe, put

from modelshelf.shelf.shelf import Shelf

WEIGHTS = bytes(range(256)) * 12_000  # about 3 MB, several blocks
FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "empty.txt": b"",
    "sub/a%2e b.txt": b"odd name",
    "sub/deep/c.txt": b"deep",
    "w.safetensors": WEIGHTS,
}
FILE = "/o/n/resolve/main/w.safetensors"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf with one model of five files, tagged prod."""
    shelf = Shelf.create(tmp_path_factory.mktemp("protocol") / "shelf")
    shelf.tag(put(shelf, "o/n", FILES), "prod")
    return shelf


@pytest.fixture(scope="module")
def mirror(shelf: Shelf) -> Iterator[Mirror]:
    """A mirror of that shelf in a process of its own."""
    with running(shelf.path) as mirror:
        yield mirror


def test_a_file_comes_whole_with_its_identity(mirror: Mirror) -> None:
    """GET sends the bytes, the commit, and the LFS size and checksum."""
    reply = mirror.ask(FILE)
    sha256 = describe("w.safetensors", WEIGHTS).sha256
    assert (reply.status, reply.body) == (200, WEIGHTS)
    assert reply.headers["x-repo-commit"] == COMMIT
    assert reply.headers["x-linked-etag"] == reply.headers["etag"] == f'"{sha256}"'
    assert reply.headers["x-linked-size"] == reply.headers["content-length"] == str(len(WEIGHTS))
    assert reply.headers["accept-ranges"] == "bytes"


def test_head_sends_the_same_headers_and_no_body(mirror: Mirror) -> None:
    """HEAD of a file or of metadata has the content length and no body."""
    reply = mirror.ask(FILE, method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(WEIGHTS))
    reply = mirror.ask("/api/models/o/n", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1048570-2097160", 1_048_570, 2_097_161),
        ("bytes=3000000-", 3_000_000, len(WEIGHTS)),
        ("bytes=-7", len(WEIGHTS) - 7, len(WEIGHTS)),
    ],
)
def test_a_range_is_sent_exactly(mirror: Mirror, asked: str, start: int, stop: int) -> None:
    """One range gives those bytes, also across the borders of blocks."""
    reply = mirror.ask(FILE, headers={"range": asked})
    assert reply.status == 206
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(WEIGHTS)}"
    assert reply.body == WEIGHTS[start:stop]


def test_several_ranges_come_as_parts(mirror: Mirror) -> None:
    """A MIME parser reads every part of a multipart answer."""
    reply = mirror.ask(FILE, headers={"range": "bytes=10-13, -4, 2000000-2000003"})
    assert reply.status == 206
    head = f"Content-Type: {reply.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + reply.body, policy=email.policy.HTTP)
    parts = [(p["content-range"], p.get_payload(decode=True)) for p in message.iter_parts()]
    size = len(WEIGHTS)
    assert parts == [
        (f"bytes 10-13/{size}", WEIGHTS[10:14]),
        (f"bytes {size - 4}-{size - 1}/{size}", WEIGHTS[-4:]),
        (f"bytes 2000000-2000003/{size}", WEIGHTS[2_000_000:2_000_004]),
    ]


def test_a_range_behind_the_end_is_416(mirror: Mirror) -> None:
    """The refusal states the size of the file, and the connection stays usable."""
    with contextlib.closing(mirror.connect()) as conn:
        conn.request("GET", FILE, headers={"range": f"bytes={len(WEIGHTS)}-"})
        response = conn.getresponse()
        assert (response.status, response.read()) == (416, b"")
        assert response.headers["content-range"] == f"bytes */{len(WEIGHTS)}"
        conn.request("GET", "/o/n/resolve/main/empty.txt")
        response = conn.getresponse()
        assert (response.status, response.read()) == (200, b"")


def test_conditions(mirror: Mirror) -> None:
    """A known tag is answered 304; a range of another content with the whole file."""
    tag = mirror.ask(FILE, method="HEAD").headers["etag"]
    assert mirror.ask(FILE, headers={"if-none-match": tag}).status == 304
    resumed = mirror.ask(FILE, headers={"range": "bytes=5-", "if-range": tag})
    assert (resumed.status, resumed.body) == (206, WEIGHTS[5:])
    changed = mirror.ask(FILE, headers={"range": "bytes=5-", "if-range": '"other"'})
    assert (changed.status, changed.body) == (200, WEIGHTS)


@pytest.mark.parametrize(
    "path", ["sub/a%252e%20b.txt", "sub%2Fa%252e%20b.txt", "sub/a%252e%20b%2Etxt"]
)
def test_names_are_decoded_once(mirror: Mirror, path: str) -> None:
    """A file whose name contains percent signs is found by its quoted name."""
    reply = mirror.ask(f"/o/n/resolve/main/{path}")
    assert (reply.status, reply.body) == (200, b"odd name")


@pytest.mark.parametrize(
    "path",
    [
        "/o/n/resolve/main/.snapshot.json",
        "/o/n/resolve/main/../../../../../shelf.json",
        "/o/n/resolve/main/%2e%2e/%2e%2e/%2e%2e/%2e%2e/shelf.json",
        "/o/n/resolve/main/..%2f..%2f..%2f..%2fshelf.json",
        "/o/n/resolve/main/%252e%252e/shelf.json",
        "/o/n/resolve/main//etc/passwd",
        "/o/n/resolve/main/%2Fetc%2Fpasswd",
        "/o/n/resolve/main/sub",
        "/o/n/resolve/main/sub/../config.json",
        "/o/n/resolve/../config.json",
        "/o/n/resolve/main/config.json%00",
        "/o/../resolve/main/config.json",
        "/%2e%2e/shelf.json",
        "//o/n/resolve/main/config.json",
        "/o%2Fn/x/resolve/main/config.json",
    ],
)
def test_only_recorded_names_are_served(mirror: Mirror, path: str) -> None:
    """No URL leads to a file that the snapshot does not list under exactly that path."""
    reply = mirror.ask(path)
    assert reply.status == 404
    assert set(reply.json()) == {"error"}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/o/none", "RepoNotFound"),
        ("/api/models/gpt2", "RepoNotFound"),
        ("/none/n/resolve/main/x", "RepoNotFound"),
        ("/api/models/o/n/revision/none", "RevisionNotFound"),
        ("/api/models/o/n/tree/none", "RevisionNotFound"),
        ("/o/n/resolve/none/config.json", "RevisionNotFound"),
        ("/o/n/resolve/main/none", "EntryNotFound"),
        ("/api/models/o/n/tree/main/none", "EntryNotFound"),
        ("/api/models/o/n/tree/main/config.json", "EntryNotFound"),
    ],
)
def test_refusals_carry_the_hubs_code(mirror: Mirror, path: str, code: str) -> None:
    """Whatever is missing is a 404 with the code that clients turn into an exception."""
    for method in ("GET", "HEAD"):
        reply = mirror.ask(path, method=method)
        assert (reply.status, reply.headers["x-error-code"]) == (404, code)
        assert "on this shelf" in reply.headers["x-error-message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/whoami-v2", 401),
        ("/api/agent-harnesses", 404),
        ("/api/models/o/n/xet-read-token/main", 404),
        ("/", 404),
    ],
)
def test_what_is_no_model_is_refused_plainly(mirror: Mirror, path: str, status: int) -> None:
    """Other routes of the Hub are refused without a code that is about models."""
    reply = mirror.ask(path)
    assert reply.status == status
    assert "x-error-code" not in reply.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(mirror: Mirror, method: str) -> None:
    """Every writing method is refused, and says why."""
    reply = mirror.ask(FILE, method=method, body=b"x")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert "read-only" in reply.json()["error"]


def test_a_tree_is_paged_by_links(mirror: Mirror) -> None:
    """The links of the pages keep the query and lead to every file and folder once."""
    path = "/api/models/o/n/tree/main?recursive=true&expand=false&limit=3"
    pages = []
    while path:
        reply = mirror.ask(path)
        pages.append([node["path"] for node in reply.json()])
        link = reply.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        parts = urlsplit(link[1:].partition(">")[0])
        assert not link or f"http://{parts.netloc}" == mirror.url
        path = f"{parts.path}?{parts.query}" if link else ""
    assert pages == [
        ["config.json", "empty.txt", "sub"],
        ["sub/a%2e b.txt", "sub/deep", "sub/deep/c.txt"],
        ["w.safetensors"],
    ]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1" * 30])
def test_a_senseless_limit_is_refused(mirror: Mirror, limit: str) -> None:
    """A limit that is not a positive number is a 400."""
    assert mirror.ask(f"/api/models/o/n/tree/main?limit={limit}").status == 400


def test_paths_info_reads_forms_and_json(mirror: Mirror) -> None:
    """A list of paths may be a form or JSON; unknown paths are left out."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    path = "/api/models/o/n/paths-info/prod"
    reply = mirror.ask(
        path, method="POST", headers=form, body=b"paths=sub&paths=config.json&paths=no&expand=False"
    )
    assert [(node["type"], node["path"]) for node in reply.json()] == [
        ("directory", "sub"),
        ("file", "config.json"),
    ]
    json = {"content-type": "application/json"}
    reply = mirror.ask(path, method="POST", headers=json, body=b'{"paths": ["w.safetensors"]}')
    assert [node["lfs"]["size"] for node in reply.json()] == [len(WEIGHTS)]
    for body in (b"{", b"[]", b'{"paths": 1}', b'{"paths": [1]}'):
        assert mirror.ask(path, method="POST", headers=json, body=body).status == 400
    assert mirror.ask(path).status == 405


def test_models_can_be_searched(mirror: Mirror) -> None:
    """The list of models is filtered by words, author and limit."""
    assert [model["id"] for model in mirror.ask("/api/models").json()] == ["o/n"]
    assert [model["sha"] for model in mirror.ask("/api/models?search=N&author=o").json()] == [
        COMMIT
    ]
    assert mirror.ask("/api/models?search=zzz").json() == []
    assert mirror.ask("/api/models?author=x").json() == []


def test_counters_tell_what_was_sent(mirror: Mirror) -> None:
    """Requests, files and bytes are counted; reading the counters is not."""
    before = mirror.counters()
    mirror.ask(FILE, headers={"range": "bytes=0-1,5-7"})
    mirror.ask(FILE, method="HEAD")
    mirror.ask("/api/models/o/n")
    after = mirror.counters()
    assert {name: after[name] - before[name] for name in after} == {
        "requests": 3,
        "file_requests": 1,
        "file_bytes": 5,
    }


def test_a_link_in_a_files_place_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the place of a published file or folder is refused."""
    shelf = Shelf.create(tmp_path / "shelf")
    secret = tmp_path / "secret"
    (secret / "d").mkdir(parents=True)
    (secret / "d" / "x").write_bytes(b"abc")
    snapshot = put(shelf, "o/n", {"x": b"123", "d/x": b"456", "cut": b"789"})
    assert snapshot.path is not None
    folder = Path(snapshot.path)
    for opened in (folder, folder / "d", folder / "cut"):
        os.chmod(opened, 0o755)
    (folder / "x").unlink()
    (folder / "x").symlink_to(secret / "d" / "x")
    (folder / "d" / "x").unlink()
    (folder / "d").rmdir()
    (folder / "d").symlink_to(secret / "d")
    (folder / "cut").write_bytes(b"7")
    with running(shelf.path) as mirror:
        for path in ("x", "d/x", "cut"):
            reply = mirror.ask(f"/o/n/resolve/main/{path}")
            assert reply.status == 500
            assert "damaged" in reply.json()["error"]
