"""Names, hosts, paths and addresses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.config import text_checks
from modelshelf.config.text_checks import parse_mount_source
from modelshelf.shelf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "server", "path"),
    [
        (
            "10.100.32.2:/2633050/7d1686e4-9212-420f-a593-ab544993d99b",
            "10.100.32.2",
            "/2633050/7d1686e4-9212-420f-a593-ab544993d99b",
        ),
        ("fs-1.efs.eu-west-1.amazonaws.com:/", "fs-1.efs.eu-west-1.amazonaws.com", "/"),
        ("[fd00:0:0::7]:/models", "fd00::7", "/models"),
        (" nas:/a b//c/ ", "nas", "/a b/c"),
        ("nas:/a:/b", "nas", "/a:/b"),
    ],
)
def test_a_mount_source_has_two_halves(text: str, server: str, path: str) -> None:
    """Host and path are separated by the first `:/`, and an IPv6 address loses its brackets."""
    assert parse_mount_source(text) == (server, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        "10.0.0.1/models",
        "10.0.0.1:models",
        ":/models",
        "nfs://10.0.0.1/models",
        "fd00::7:/models",
        "[fd00::7/models",
        "[nas]x:/models",
        "nas:2049:/models",
        "nas:/a/../b",
        "na s:/models",
        "nas:/a\nb",
    ],
)
def test_what_is_no_mount_source(text: str) -> None:
    """Any other text is refused, and the hint has an example."""
    with pytest.raises(UsageError, match="is not a Mount Source") as caught:
        parse_mount_source(text)
    assert "HOST:/PATH" in caught.value.hint
    assert "[fd00::7]:/models" in caught.value.hint


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True), st.text(max_size=9))
def test_no_mount_source_ends_otherwise(server: str, rest: str) -> None:
    """Any text after the host gives an absolute path or a UsageError."""
    try:
        found, path = parse_mount_source(f"{server}:/{rest}")
    except UsageError:
        return
    assert found == server
    assert path.startswith("/")
    assert ".." not in path.split("/")


_REFUSED: list[tuple[Callable[[str], str], str]] = [
    (text_checks.check_key, "Mistral"),
    (text_checks.check_key, "a_b"),
    (text_checks.check_key, "-a"),
    (text_checks.check_key, "a" * 41),
    (text_checks.check_namespace, "a" * 64),
    (text_checks.check_namespace, "a.b"),
    (text_checks.check_object_name, "a..b"),
    (text_checks.check_data_key, "a/b"),
    (text_checks.check_absolute_path, "models"),
    (text_checks.check_absolute_path, "/a/../b"),
    (text_checks.check_folder_on_share, "/models"),
    (text_checks.check_folder_on_share, "a/../../b"),
    (text_checks.check_folder_on_share, ""),
    (text_checks.check_host, "https://nas"),
    (text_checks.check_host, "nas:2049"),
    (text_checks.check_host, "a..b"),
    (text_checks.check_url, "ftp://a"),
    (text_checks.check_url, "https://"),
    (text_checks.check_url, "https://a/b?c"),
    (text_checks.check_source, "/models/mistral"),
    (text_checks.check_source, "file:///models"),
    (text_checks.check_source, "s3://bucket/model"),
    (text_checks.check_source, "mistralai/Mistral-7B"),
    (text_checks.check_repo_id, "a"),
    (text_checks.check_repo_id, "a/b@c"),
    (text_checks.check_image, "https://ghcr.io/a"),
    (text_checks.check_image, "a b"),
    (text_checks.check_api_name, "-x"),
    (text_checks.check_api_name, "a b"),
    (text_checks.check_http_path, "health"),
    (text_checks.check_variable_name, "1A"),
    (text_checks.check_resource_name, "gpu"),
    (text_checks.check_mount_option, "hard,ro"),
]


@pytest.mark.parametrize(("check", "text"), _REFUSED)
def test_what_is_refused(check: Callable[[str], str], text: str) -> None:
    """A text that is not allowed is refused with an explanation."""
    with pytest.raises(ValueError, match=r"\w"):
        check(text)


_TAKEN: list[tuple[Callable[[str], str], str, str]] = [
    (text_checks.check_key, "mistral-7b", "mistral-7b"),
    (text_checks.check_absolute_path, "//a//b/", "/a/b"),
    (text_checks.check_folder_on_share, "a/b/", "a/b"),
    (text_checks.check_host, "[fd00::0007]", "fd00::7"),
    (text_checks.check_url, "https://hub.example:8443/mirror/", "https://hub.example:8443/mirror"),
    (text_checks.check_source, "hf://org/name@refs/pr/3", "hf://org/name@refs/pr/3"),
    (text_checks.check_source, "hf://gpt2", "hf://gpt2"),
    (text_checks.check_registry, "mirror.example:5000/hub/", "mirror.example:5000/hub"),
    (text_checks.check_image, "ghcr.io/a/b:v1@sha256:00", "ghcr.io/a/b:v1@sha256:00"),
]


@pytest.mark.parametrize(("check", "text", "taken"), _TAKEN)
def test_what_is_taken(check: Callable[[str], str], text: str, taken: str) -> None:
    """A text that is allowed is returned in the form in which it is used."""
    assert check(text) == taken


def test_a_password_is_not_repeated() -> None:
    """An error about a URL does not repeat its password."""
    for check in (text_checks.check_url, text_checks.check_source):
        with pytest.raises(ValueError, match=r"\w") as caught:
            check("https://me:secret@hub.example/a")
        assert "secret" not in str(caught.value)
