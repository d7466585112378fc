"""What names a source, and what a source may list."""

from __future__ import annotations

import hashlib
import os

import pytest

from modelshelf import sources
from modelshelf.shelf.errors import (
    Error,
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    RefusedError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.values import File
from modelshelf.sources.hub_refusals import HubQuery, refusal
from modelshelf.sources.listing import Listing, refuse_escapes, refuse_large, shelf_name, text_of

ASKED = HubQuery("org/name", "v2", "https://hub.example/hf", "hub.example", with_token=False)


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("hf://org/name", False),
        ("hf://org/name@v1", False),
        ("org/name", False),
        ("org/name@refs/pr/3", False),
        ("HF://org/name", False),
        ("./org/name", True),
        ("/models/name", True),
        ("~/models/name", True),
        ("name.gguf", True),
        ("a/b/c", True),
        ("..", True),
        ("file:///models/name", True),
    ],
)
def test_a_name_is_a_repository_or_a_path(uri: str, local: bool) -> None:  # noqa: FBT001
    """`org/name` is a repository; a path says that it is one by its first characters or depth."""
    assert sources.is_local(uri) is local


def test_a_name_that_is_both_is_refused(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If `org/name` is also a path here, the user must say which is meant."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("org/name")
    with pytest.raises(UsageError, match="could be a repository") as raised:
        sources.resolve("org/name")
    assert raised.value.hint == "write ./org/name for the path, or hf://org/name for the repository"
    assert sources.is_local("./org/name")


@pytest.mark.parametrize("uri", ["s3://bucket/x", "https://huggingface.co/org/name"])
def test_unknown_kinds_of_source_say_what_is_known(uri: str) -> None:
    """A scheme that this version does not know is a usage error."""
    with pytest.raises(UsageError, match="in this version") as raised:
        sources.resolve(uri)
    assert "hf://" in raised.value.hint


@pytest.mark.parametrize(
    ("status", "headers", "kind", "words"),
    [
        (401, {"x-error-code": "RepoNotFound"}, NotFoundError, "knows no model org/name"),
        (404, {"x-error-code": "RepoNotFound"}, NotFoundError, "knows no model org/name"),
        (404, {"x-error-code": "RevisionNotFound"}, NotFoundError, "has no revision 'v2'"),
        (404, {"x-error-code": "EntryNotFound"}, NotFoundError, "lacks a file"),
        (404, {}, NotFoundError, "knows no model"),
        (401, {"x-error-code": "GatedRepo"}, NotAuthorisedError, "is gated"),
        (403, {"x-error-code": "GatedRepo"}, NotAuthorisedError, "is gated"),
        (401, {}, NotAuthorisedError, "nobody without a token"),
        (403, {}, NotAuthorisedError, "answers 403"),
        (
            403,
            {"x-error-message": "Access to this resource is disabled."},
            NotAuthorisedError,
            "has disabled",
        ),
        (400, {}, SourceError, "answers 400"),
        (451, {}, SourceError, "answers 451"),
    ],
)
def test_a_refusal_becomes_the_right_error(
    status: int, headers: dict[str, str], kind: type[Error], words: str
) -> None:
    """Statuses and X-Error-Code become an error with the family's exit code and a next step."""
    error = refusal(ASKED, status, headers)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid credentials in Authorization header",
        "Invalid username or password.",
        'User Access Token "ci" is expired',
    ],
)
def test_a_token_that_is_not_valid_is_named_as_the_reason(message: str) -> None:
    """A public model with an invalid token is refused because of the token, in the Hub's words."""
    with_token = HubQuery("org/name", "v2", "https://hub.example", "hub.example", with_token=True)
    error = refusal(with_token, 401, {"x-error-message": message})
    assert isinstance(error, NotAuthorisedError)
    assert f"the token which was sent is not valid: “{message}”" in str(error)
    assert "unset it" in error.hint
    assert "not valid" not in str(refusal(ASKED, 401, {"x-error-message": message}))


def test_the_hubs_own_words_are_passed_on_without_secrets() -> None:
    """A refusal quotes X-Error-Message in one line, without the queries and users of URLs."""
    said = "No.\nSee https://me:pw@hub.example/x?sig=secret now"
    error = refusal(ASKED, 403, {"x-error-message": said})
    assert "“No. See https://hub.example/x now”" in str(error)
    assert len(str(refusal(ASKED, 451, {"x-error-message": "x" * 9_999}))) < 400


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_data_sets_and_spaces_are_no_models(kind: str) -> None:
    """The URI of a data set or of a space is a usage error that says so."""
    with pytest.raises(UsageError, match=f"is a {kind} of the Hub, and only models") as raised:
        sources.resolve(f"hf://{kind}s/org/name")
    assert raised.value.exit_code == 2


def test_hints_say_how_to_be_let_in() -> None:
    """A gated model's hint names its page; an unknown one's says that it may be private."""
    gated = refusal(ASKED, 403, {"x-error-code": "GatedRepo"})
    assert "https://hub.example/hf/org/name" in gated.hint
    assert "HF_TOKEN" in gated.hint
    unknown = refusal(ASKED, 404, {"x-error-code": "RepoNotFound"})
    assert "private" in unknown.hint
    with_token = HubQuery("org/name", "v2", "https://hub.example", "hub.example", with_token=True)
    assert "which the token that was sent may not read" in str(refusal(with_token, 401, {}))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a\\b", "a\nb", ""])
def test_escaping_names_are_refused_whether_chosen_or_not(path: str) -> None:
    """A source that lists a name which would leave its folder is refused entirely."""
    with pytest.raises(RefusedError, match="lists a file named") as raised:
        refuse_escapes(["config.json", path])
    assert raised.value.exit_code == 14


def test_odd_names_are_left_to_the_choice() -> None:
    """An unusual name of a file that is not chosen is accepted."""
    refuse_escapes(["images/a:b.png", "con.txt", "ünïcode.md", "a b.txt"])


def test_text_is_compared_with_what_was_listed() -> None:
    """A text is used only if its size and its git blob id or sha256 are right."""
    blob = hashlib.sha1(b"blob 2\0{}", usedforsecurity=False).hexdigest()
    assert text_of(File("c", 2, git_sha1=blob), b"{}") == "{}"
    lfs = hashlib.sha256(b"{}").hexdigest()
    assert text_of(File("c", 2, lfs_sha256=lfs), b"{}") == "{}"
    for file, data in [
        (File("c", 2, git_sha1=blob), b"{ "),
        (File("c", 2, lfs_sha256=lfs), b"[]"),
        (File("c", 3, git_sha1=blob), b"{}"),
    ]:
        with pytest.raises(IntegrityError, match="is not what its source states"):
            text_of(file, data)
    with pytest.raises(IntegrityError, match="is not UTF-8"):
        text_of(File("c", 1), b"\xff")


def test_a_huge_text_is_refused_unread() -> None:
    """A configuration of gigabytes is not read."""
    with pytest.raises(RefusedError, match="too many"):
        refuse_large(File("config.json", 64 * 1024 * 1024 + 1))


def test_names_for_the_shelf_are_plain() -> None:
    """A model's name on the shelf is org/name without a tag."""
    assert shelf_name("me/tiny") == "me/tiny"
    for name in ("tiny", "me/tiny@v1", "a/b/c", "me/../x", "-x/y"):
        with pytest.raises(UsageError, match="cannot be called"):
            shelf_name(name)


def test_a_listing_knows_its_files() -> None:
    """A file that is not listed is not found."""
    listing = Listing("hf://org/name@main", "org/name", "main", "0" * 40, (File("a", 1),))
    assert listing.file("a").size == 1
    with pytest.raises(NotFoundError, match="'b'"):
        listing.file("b")
    assert sources.narrow(listing, ()).files == ()
