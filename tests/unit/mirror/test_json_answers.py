"""The JSON of the Hub's protocol."""

import json

from support.small_models import COMMIT, describe

from modelshelf.mirror import json_answers
from modelshelf.mirror.models import Model
from modelshelf.shelf.values import Snapshot

SNAPSHOT = Snapshot(
    source="hf://o/n@main",
    repo_id="o/n",
    revision="main",
    commit=COMMIT,
    files=(describe("sub/config.json", b"{}"), describe("w.gguf", b"abc")),
    created=1_700_000_000.5,
    path="/s",
)
MODEL = Model("o/n", (SNAPSHOT,), {"prod": SNAPSHOT.id})
TREE = MODEL.tree("main")
assert TREE is not None
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
CONFIG_OID = "9e26dfeeb6e641a33dae4961196235bdb965b21b"
POINTER_OID = "80d7d501c2b256023dc42e46d958b9ac2ec283ee"


def test_model_info_lists_the_files() -> None:
    """A model's answer has its commit, its date in the Hub's format, and its files' names."""
    assert TREE is not None
    info = json_answers.model_info(MODEL, TREE)
    assert (info["id"], info["sha"], info["private"], info["gated"]) == (
        "o/n",
        COMMIT,
        False,
        False,
    )
    assert info["lastModified"] == "2023-11-14T22:13:20.500Z"
    assert info["siblings"] == [{"rfilename": "sub/config.json"}, {"rfilename": "w.gguf"}]


def test_blobs_add_sizes_and_checksums() -> None:
    """With `blobs`, each file has its size, git id and, for LFS, sha256."""
    assert TREE is not None
    assert json_answers.model_info(MODEL, TREE, blobs=True)["siblings"] == [
        {"rfilename": "sub/config.json", "size": 2, "blobId": CONFIG_OID},
        {
            "rfilename": "w.gguf",
            "size": 3,
            "blobId": POINTER_OID,
            "lfs": {"sha256": SHA256, "size": 3, "pointerSize": 126},
        },
    ]


def test_listings_show_files_and_folders() -> None:
    """The entries of a listing have the fields that clients read."""
    assert TREE is not None
    nodes, _ = TREE.page("", recursive=True, after=None, limit=10)
    folder, config, weights = json_answers.tree_entries(nodes)
    assert (folder["type"], folder["path"], len(folder["oid"])) == ("directory", "sub", 40)
    assert config == {"type": "file", "oid": CONFIG_OID, "size": 2, "path": "sub/config.json"}
    assert weights == {
        "type": "file",
        "oid": POINTER_OID,
        "size": 3,
        "path": "w.gguf",
        "lfs": {"oid": SHA256, "size": 3, "pointerSize": 126},
    }


def test_nothing_speaks_of_xet() -> None:
    """No answer has a field that would send a client to another host."""
    assert TREE is not None
    nodes, _ = TREE.page("", recursive=True, after=None, limit=10)
    said = [
        json_answers.model_info(MODEL, TREE, blobs=True),
        json_answers.tree_entries(nodes),
        json_answers.refs(MODEL),
        json_answers.search_result([MODEL]),
    ]
    assert "xet" not in json.dumps(said).lower()


def test_refs_name_commits() -> None:
    """Branches and tags point at commits."""
    assert json_answers.refs(MODEL) == {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}],
        "converts": [],
        "tags": [{"name": "prod", "ref": "refs/tags/prod", "targetCommit": COMMIT}],
        "pullRequests": [],
    }


def test_a_refusal_cannot_forge_headers() -> None:
    """A name from a URL is put into the header without line breaks and in ASCII."""
    answer = json_answers.no_entry("o/n", "main", "x\r\nset-cookie: é")
    message = answer.headers["x-error-message"]
    assert message.isascii()
    assert message.isprintable()
    assert (answer.status, answer.headers["x-error-code"]) == (404, "EntryNotFound")


def test_the_next_page_keeps_the_query() -> None:
    """The link is absolute and quotes the cursor."""
    link = json_answers.next_link("http://h/t", {"recursive": "true", "cursor": "old"}, "a b/ü&")
    assert link == '<http://h/t?recursive=true&cursor=a%20b%2F%C3%BC%26>; rel="next"'
