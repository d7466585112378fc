"""What a request for a file is answered with."""

import pytest

from modelshelf.mirror.byte_ranges import Span
from modelshelf.mirror.file_answer import FileAnswer, answer_file
from modelshelf.mirror.tree import FileEntry

COMMIT = "c" * 40
LFS = FileEntry("w.gguf", 10, "a" * 40, "b" * 64, 126, "/s")
GIT = FileEntry("config.json", 10, "a" * 40, None, 0, "/s")
TAG = f'"{"b" * 64}"'
LFS_HEADERS = {
    "accept-ranges": "bytes",
    "content-type": "application/octet-stream",
    "etag": TAG,
    "x-repo-commit": COMMIT,
    "x-content-type-options": "nosniff",
    "x-linked-etag": TAG,
    "x-linked-size": "10",
}


def answer(entry: FileEntry = LFS, method: str = "GET", **headers: str) -> FileAnswer:
    """The answer to a request with some headers; underscores stand for dashes."""
    request = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer_file(entry, COMMIT, method, request, "XX")


def test_a_file_comes_whole() -> None:
    """Without conditions the whole file is sent, with its length and identity."""
    headers = {**LFS_HEADERS, "content-length": "10"}
    assert answer() == FileAnswer(200, headers, (Span(0, 10),))


def test_head_tells_and_sends_nothing() -> None:
    """HEAD has the headers of the whole file, whatever the Range, and no body."""
    headers = {**LFS_HEADERS, "content-length": "10"}
    assert answer(method="HEAD", range="bytes=0-1") == FileAnswer(200, headers, ())


def test_a_git_file_has_no_linked_headers() -> None:
    """A file that is not of LFS has only its git id as entity tag."""
    headers = answer(GIT).headers
    assert headers["etag"] == f'"{"a" * 40}"'
    assert not [name for name in headers if "linked" in name]


def test_one_range() -> None:
    """One range is sent as it is."""
    headers = {**LFS_HEADERS, "content-range": "bytes 2-3/10", "content-length": "2"}
    assert answer(range="bytes=2-3") == FileAnswer(206, headers, (Span(2, 4),))


def test_several_ranges_are_framed() -> None:
    """Several ranges make a multipart body of the stated length."""
    delivery = answer(range="bytes=0-1,8-")
    assert delivery.status == 206
    assert delivery.headers["content-type"] == "multipart/byteranges; boundary=XX"
    assert "content-range" not in delivery.headers
    assert [piece for piece in delivery.pieces if isinstance(piece, Span)] == [
        Span(0, 2),
        Span(8, 10),
    ]
    assert delivery.headers["content-length"] == str(sum(map(len, delivery.pieces)))


def test_a_range_outside_is_refused_with_the_size() -> None:
    """416 states the size of the file and sends no body."""
    delivery = answer(range="bytes=10-")
    assert (delivery.status, delivery.pieces) == (416, ())
    assert delivery.headers["content-range"] == "bytes */10"
    assert delivery.headers["content-length"] == "0"


@pytest.mark.parametrize("condition", [TAG, f"W/{TAG}", f'"x", {TAG}', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_known_file_is_not_sent(condition: str, method: str) -> None:
    """If-None-Match with the file's tag is answered 304, Range or not."""
    delivery = answer(method=method, if_none_match=condition, range="bytes=0-1")
    assert delivery == FileAnswer(304, LFS_HEADERS, ())


def test_another_file_is_sent() -> None:
    """If-None-Match with other tags changes nothing."""
    assert answer(if_none_match='"x", W/"y"') == answer()


def test_if_range_guards_a_resumed_download() -> None:
    """A range applies only if the content is still the one that the download began with."""
    assert answer(range="bytes=5-", if_range=TAG).status == 206
    assert answer(range="bytes=5-", if_range='"other"') == answer()
    assert answer(range="bytes=5-", if_range=f"W/{TAG}") == answer()
    assert answer(range="bytes=5-", if_range="Tue, 24 Nov 2026 13:45:18 GMT") == answer()
