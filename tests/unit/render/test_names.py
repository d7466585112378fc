"""Names, labels and hashes of what is rendered."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.render_inputs import config

from modelshelf.render.names import (
    SERVER,
    Key,
    fitted,
    key,
    labels,
    of_file,
    selector,
    short_hash,
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def test_labels_say_whose_an_object_is() -> None:
    """An object's labels name its purpose, its file and its manager."""
    assert labels(config(), SERVER, "mistral") == {
        "app.kubernetes.io/name": "mistral",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/part-of": "models",
        "app.kubernetes.io/managed-by": "modelshelf",
    }


def test_a_selector_is_a_part_of_the_labels() -> None:
    """A server's selector uses labels that its pods have and that never change."""
    chosen = selector(config(), "mistral")

    assert chosen.items() < labels(config(), SERVER, "mistral").items()
    assert "app.kubernetes.io/managed-by" not in chosen


def test_all_objects_of_a_file_are_found_by_two_labels() -> None:
    """Two labels select all objects of a file, whatever their names are."""
    assert of_file(config()).items() < labels(config(), SERVER, "mistral").items()
    assert of_file(config(more="name: others")) != of_file(config())


def test_a_key_identifies_an_object() -> None:
    """An object's key has its namespace, except for an object of the whole cluster."""
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "llm"}}
    volume = {"kind": "PersistentVolume", "metadata": {"name": "a"}}

    assert key(claim) == Key("PersistentVolumeClaim", "llm", "a")
    assert key(volume) == Key("PersistentVolume", "", "a")
    assert str(key(volume)) == "PersistentVolume/a"


def test_a_hash_ignores_the_order_of_keys() -> None:
    """Equal values have equal hashes whatever the order of their keys; other values differ."""
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1})
    assert short_hash({"a": 1}) != short_hash({"a": 2})
    assert len(short_hash([], digits=10)) == 10


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("mistral",), "mistral"),
        (("pull", "mistral-7b", "01234567"), "pull-mistral-7b-01234567"),
        (("x" * 63,), "x" * 63),
    ],
)
def test_a_valid_name_is_unchanged(parts: tuple[str, ...], name: str) -> None:
    """A name that Kubernetes accepts is not changed."""
    assert fitted(*parts) == name


def test_long_names_stay_apart() -> None:
    """Two names that differ only behind the cut get different results."""
    assert fitted("x" * 70 + "a", "01234567") != fitted("x" * 70 + "b", "01234567")
    assert fitted("x" * 70, "01234567").endswith("-01234567")


def test_names_that_differ_in_refused_characters_stay_apart() -> None:
    """Two names that differ only in characters that Kubernetes refuses get different results."""
    assert fitted("Qwen2.5") != fitted("qwen2-5")


@given(st.lists(st.text(), min_size=1, max_size=3), st.text("0123456789abcdef", min_size=8))
def test_any_name_becomes_a_dns_label(parts: list[str], digits: str) -> None:
    """Any text becomes a name that Kubernetes accepts."""
    assert _LABEL.fullmatch(fitted(*parts, digits[:8]))
