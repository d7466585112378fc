"""The Hub's protocol, which the tests' Hub simulator and our mirror both speak.

Every test here runs over both of them, by plain HTTP and by the real huggingface_hub client: the
simulator proves our puller, and the mirror serves real clients, so the two must agree on what a
server of this protocol answers. What only one of them does is tested in `test_hub`,
`test_mirror_protocol` and `test_mirror_clients`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hub import Hub
from support.hub_client import client_environment, read_files, run_client
from support.mirror_process import running
from support.plain_http import HttpServer
from support.small_models import describe, put

from modelshelf.shelf.shelf import Shelf

WEIGHTS = os.urandom(4_096) * 750  # about 3 MB, several blocks
WEIGHTS_SHA256 = describe("w.safetensors", WEIGHTS).sha256
OLD_FILES = {"config.json": b"{}"}
NEW_FILES = {
    "config.json": json.dumps({"model_type": "llama", "hidden_size": 64}).encode(),
    "empty.txt": b"",
    "sub/a%2e b.txt": b"odd name",
    "sub/deep/c.txt": b"deep",
    "w.safetensors": WEIGHTS,
}
MANY_FILES = {f"f/{number:04}.txt": b"%d" % number for number in range(1_203)}
FILE = "/o/n/resolve/main/w.safetensors"


@dataclasses.dataclass(frozen=True)
class ModelServer(HttpServer):
    """A server of the Hub's protocol that has o/n, with two commits, and o/many.

    Attributes:
        old_commit: The commit of o/n with `OLD_FILES`, which `v1` and `prod` name.
        new_commit: The commit of o/n with `NEW_FILES`, which `main` names.
        missing_model_status: How it answers for a model that it lacks: the Hub hides that a model
            exists, and the mirror has nothing to hide.
        refusal_words: Words in the message of each refusal.
        requests_received: Returns how many requests it has received so far.
        file_bytes_sent: Returns how many bytes of files it has sent so far.
    """

    old_commit: str
    new_commit: str
    missing_model_status: int
    refusal_words: str
    requests_received: Callable[[], int]
    file_bytes_sent: Callable[[], int]


@contextlib.contextmanager
def simulator(_: Path, *, redirect: bool = False) -> Iterator[ModelServer]:
    """The tests' Hub simulator.

    Args:
        redirect: Whether it sends clients to a file host for large files, as the real Hub does.
    """
    with Hub(redirect=redirect) as hub:
        repo = hub.add("o/n", OLD_FILES)
        old = repo.commit
        repo.revisions.update({"v1": old, "prod": old})
        new = repo.update(NEW_FILES, lfs={"w.safetensors"})
        hub.add("o/many", MANY_FILES)
        yield ModelServer(hub.url, old, new, 401, "", lambda: len(hub.requests), hub.bytes_sent)


@contextlib.contextmanager
def simulator_with_file_host(folder: Path) -> Iterator[ModelServer]:
    """The tests' Hub simulator, whose large files come from another origin."""
    with simulator(folder, redirect=True) as server:
        yield server


@contextlib.contextmanager
def mirror(folder: Path) -> Iterator[ModelServer]:
    """Our mirror of a shelf with the same models."""
    old, new = "01d" + "0" * 37, "5" * 40
    shelf = Shelf.create(folder / "shelf")
    shelf.tag(put(shelf, "o/n", OLD_FILES, commit=old, revision="v1", created=1.0), "prod")
    put(shelf, "o/n", NEW_FILES, commit=new)
    put(shelf, "o/many", MANY_FILES)
    with running(shelf.path) as mirror:
        yield ModelServer(
            mirror.url,
            old,
            new,
            404,
            "on this shelf",
            lambda: mirror.counters()["requests"],
            lambda: mirror.counters()["file_bytes"],
        )


# A plain request to a server with a file host gets a redirect, which only a client follows.
@pytest.fixture(scope="module", params=[simulator, mirror], ids=lambda make: make.__name__)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    """A server that sends its files itself."""
    with request.param(tmp_path_factory.mktemp("protocol")) as server:
        yield server


# Files come from the simulator's own port in `test_hub`; here, as from the real Hub, from another.
@pytest.fixture(
    scope="module", params=[simulator_with_file_host, mirror], ids=lambda make: make.__name__
)
def client_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    """A server for the real client, which follows redirects to a file host."""
    with request.param(tmp_path_factory.mktemp("clients")) as server:
        yield server


@pytest.fixture
def environment(client_server: ModelServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose client uses the server."""
    return client_environment(client_server.url, tmp_path)


def test_a_file_is_sent_whole_with_its_identity(server: ModelServer) -> None:
    """GET sends a large file's bytes, its commit, and its LFS size and checksum."""
    reply = server.ask(FILE)
    assert (reply.status, reply.body) == (200, WEIGHTS)
    assert reply.headers["x-repo-commit"] == server.new_commit
    assert reply.headers["x-linked-etag"] == reply.headers["etag"] == f'"{WEIGHTS_SHA256}"'
    assert reply.headers["x-linked-size"] == reply.headers["content-length"] == str(len(WEIGHTS))
    assert reply.headers["accept-ranges"] == "bytes"


def test_a_small_file_has_gits_checksum(server: ModelServer) -> None:
    """The ETag of a file that git itself holds is its blob id, and no LFS header is sent."""
    reply = server.ask("/o/n/resolve/main/config.json")
    blob_id = describe("config.json", NEW_FILES["config.json"]).git_sha1
    assert (reply.status, reply.body) == (200, NEW_FILES["config.json"])
    assert reply.headers["etag"] == f'"{blob_id}"'
    assert "x-linked-etag" not in reply.headers


def test_head_sends_the_same_headers_and_no_body(server: ModelServer) -> None:
    """HEAD of a file and of metadata sends the length and no body."""
    reply = server.ask(FILE, method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(WEIGHTS))
    assert reply.headers["x-linked-etag"] == f'"{WEIGHTS_SHA256}"'
    reply = server.ask("/api/models/o/n", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("revision", ["v1", "prod", "commit"])
def test_a_revision_leads_to_its_commit(server: ModelServer, revision: str) -> None:
    """A tag and a commit each lead to the old file and say which commit it is of."""
    name = server.old_commit if revision == "commit" else revision
    reply = server.ask(f"/o/n/resolve/{name}/config.json")
    assert (reply.status, reply.body) == (200, OLD_FILES["config.json"])
    assert reply.headers["x-repo-commit"] == server.old_commit
    assert server.ask(f"/api/models/o/n/revision/{name}").json()["sha"] == server.old_commit


def test_a_model_is_described_by_commit_and_files(server: ModelServer) -> None:
    """The description of a model names the commit of `main` and lists its files."""
    described = server.ask("/api/models/o/n").json()
    assert (described["id"], described["sha"]) == ("o/n", server.new_commit)
    assert {sibling["rfilename"] for sibling in described["siblings"]} == set(NEW_FILES)


@pytest.mark.parametrize(
    ("requested", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-2000099", 100, 2_000_100),
        ("bytes=1048570-2097160", 1_048_570, 2_097_161),
        ("bytes=3000000-", 3_000_000, len(WEIGHTS)),
        ("bytes=-7", len(WEIGHTS) - 7, len(WEIGHTS)),
    ],
)
def test_a_range_is_sent_exactly(
    server: ModelServer, requested: str, start: int, stop: int
) -> None:
    """A request for one range gets those bytes, also across the borders of blocks."""
    before = server.file_bytes_sent()
    reply = server.ask(FILE, headers={"range": requested})
    assert reply.status == 206
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(WEIGHTS)}"
    assert reply.body == WEIGHTS[start:stop]
    assert server.file_bytes_sent() - before == stop - start


def test_a_range_behind_the_end_is_refused(server: ModelServer) -> None:
    """A 416 states the file's size, and the connection can be used again."""
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", FILE, headers={"range": f"bytes={len(WEIGHTS)}-"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (416, b"")
        assert response.headers["content-range"] == f"bytes */{len(WEIGHTS)}"
        connection.request("GET", "/o/n/resolve/main/empty.txt")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")


@pytest.mark.parametrize(
    "path", ["sub/a%252e%20b.txt", "sub%2Fa%252e%20b.txt", "sub/a%252e%20b%2Etxt"]
)
def test_names_are_decoded_once(server: ModelServer, path: str) -> None:
    """A file name that looks quoted is reached by quoting it, in every spelling."""
    reply = server.ask(f"/o/n/resolve/main/{path}")
    assert (reply.status, reply.body) == (200, b"odd name")


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
def test_refusals_carry_the_hubs_error_code(server: ModelServer, path: str, code: str) -> None:
    """A reply about something missing carries the code from which clients make an exception."""
    for method in ("GET", "HEAD"):
        reply = server.ask(path, method=method)
        status = server.missing_model_status if code == "RepoNotFound" else 404
        assert (reply.status, reply.headers["x-error-code"]) == (status, code)
        assert reply.headers["x-error-message"]
        assert server.refusal_words in reply.headers["x-error-message"]


def test_a_tree_is_paged_by_links(server: ModelServer) -> None:
    """Following the links lists every file and folder once; links keep the query and the host."""
    path = "/api/models/o/n/tree/main?recursive=true&expand=false&limit=3"
    pages = []
    while path:
        reply = server.ask(path)
        pages.append([node["path"] for node in reply.json()])
        link = reply.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        parts = urlsplit(link[1:].partition(">")[0])
        assert not link or f"http://{parts.netloc}" == server.url
        assert not link or "recursive=true&expand=false&limit=3" in parts.query
        path = f"{parts.path}?{parts.query}" if link else ""
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(name for page in pages for name in page) == sorted(
        [*NEW_FILES, "sub", "sub/deep"]
    )


def test_a_tree_states_sizes_and_checksums(server: ModelServer) -> None:
    """A tree states each file's size, git's blob id, and the LFS checksum of a large file."""
    rows: Mapping[str, dict[str, object]] = {
        row["path"]: row for row in server.ask("/api/models/o/n/tree/main").json()
    }
    config = describe("config.json", NEW_FILES["config.json"])
    assert rows["config.json"]["size"] == config.size
    assert rows["config.json"]["oid"] == config.git_sha1
    assert "lfs" not in rows["config.json"]
    large = rows["w.safetensors"]["lfs"]
    assert isinstance(large, dict)
    assert (large["oid"], large["size"]) == (WEIGHTS_SHA256, len(WEIGHTS))
    assert rows["sub"]["type"] == "directory"


def test_snapshot_download_gets_every_file(
    client_server: ModelServer, environment: dict[str, str]
) -> None:
    """The client downloads the whole model into a folder named after its commit."""
    folder = run_client("result = snapshot_download('o/n')", environment)
    assert Path(folder).name == client_server.new_commit
    assert read_files(folder) == NEW_FILES


def test_a_second_download_fetches_nothing(
    client_server: ModelServer, environment: dict[str, str]
) -> None:
    """The server sends no file a second time to a client that has the model."""
    run_client("result = snapshot_download('o/n')", environment)
    requests, sent = client_server.requests_received(), client_server.file_bytes_sent()
    run_client("result = snapshot_download('o/n')", environment)
    assert client_server.requests_received() > requests
    assert client_server.file_bytes_sent() == sent


@pytest.mark.usefixtures("client_server")
def test_a_download_passes_the_clients_own_check(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """`verify_repo_checksums` finds LFS and git files equal to what the server states."""
    code = f"""
folder = {str(tmp_path / "download")!r}
snapshot_download("o/n", local_dir=folder)
check = api.verify_repo_checksums("o/n", local_dir=folder)
result = [check.checked_count, len(check.mismatches), len(check.missing_paths)]
"""
    assert run_client(code, environment) == [len(NEW_FILES), 0, 0]


def test_the_client_finds_revisions_by_tag_and_commit(
    client_server: ModelServer, environment: dict[str, str]
) -> None:
    """A tag and a commit each lead the client to the old commit."""
    old, new = client_server.old_commit, client_server.new_commit
    code = f"""
result = [
    open(hf_hub_download("o/n", "config.json", revision=revision)).read()
    for revision in ("prod", "v1", {old!r})
]
result += [api.model_info("o/n", revision=revision).sha for revision in ("prod", "main")]
"""
    assert run_client(code, environment) == ["{}", "{}", "{}", old, new]


def test_the_client_lists_a_tree_of_many_pages(environment: dict[str, str]) -> None:
    """A tree of more than one page is listed whole, each path once."""
    code = "result = [entry.path for entry in api.list_repo_tree('o/many', recursive=True)]"
    assert sorted(run_client(code, environment)) == ["f", *MANY_FILES]


def test_refusals_become_the_clients_own_exceptions(environment: dict[str, str]) -> None:
    """Something missing raises the exception that each call of the client documents."""
    code = """
result = [
    name(api.model_info, "o/none"),
    name(api.model_info, "o/n", revision="none"),
    name(hf_hub_download, "o/none", "config.json"),
    name(hf_hub_download, "o/n", "config.json", revision="none"),
    name(hf_hub_download, "o/n", "none.json"),
    name(lambda: list(api.list_repo_tree("o/n", "none"))),
    name(get_hf_file_metadata, hf_hub_url("o/none", "x"), token="hf_other"),
    name(get_hf_file_metadata, hf_hub_url("o/n", "x", revision="none"), token="hf_other"),
    issubclass(errors.RemoteEntryNotFoundError, errors.EntryNotFoundError),
]
"""
    assert run_client(code, environment) == [
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RemoteEntryNotFoundError",
        "RemoteEntryNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        True,
    ]


def test_the_client_resumes_a_download(
    client_server: ModelServer, environment: dict[str, str]
) -> None:
    """The client's own resume (`http_get` on a partial file) fetches only what is missing."""
    url = f"{client_server.url}/o/n/resolve/main/w.safetensors"
    present = len(WEIGHTS) - 100_000
    code = f"""
import hashlib, io, urllib.request
from huggingface_hub.file_download import http_get
request = urllib.request.Request({url!r}, headers={{"Range": "bytes=0-{present - 1}"}})
buffer = io.BytesIO()
buffer.write(urllib.request.urlopen(request).read())
http_get({url!r}, buffer, resume_size={present}, expected_size={len(WEIGHTS)})
result = hashlib.sha256(buffer.getvalue()).hexdigest()
"""
    before = client_server.file_bytes_sent()
    assert run_client(code, environment) == WEIGHTS_SHA256
    assert client_server.file_bytes_sent() - before == len(WEIGHTS)
