"""Where objects live in the API."""

from __future__ import annotations

import pytest

from modelshelf.kube.kinds import KINDS, describe_object, label_selector


@pytest.mark.parametrize(
    ("kind", "where", "path"),
    [
        ("Pod", ("llm", "a"), "/api/v1/namespaces/llm/pods/a"),
        ("Pod", (None,), "/api/v1/pods"),
        ("Pod", ("llm", "a", "log"), "/api/v1/namespaces/llm/pods/a/log"),
        ("Deployment", ("llm",), "/apis/apps/v1/namespaces/llm/deployments"),
        ("PersistentVolume", (None, "a"), "/api/v1/persistentvolumes/a"),
        ("PersistentVolume", ("llm", "a"), "/api/v1/persistentvolumes/a"),
        ("StorageClass", (None, "a b?"), "/apis/storage.k8s.io/v1/storageclasses/a%20b%3F"),
    ],
)
def test_a_path_says_kind_namespace_and_name(
    kind: str, where: tuple[str | None, ...], path: str
) -> None:
    """The path of a kind without namespaces has no namespace, even if one is given."""
    assert KINDS[kind].path(*where) == path  # type: ignore[arg-type]


def test_a_group_is_empty_for_the_core() -> None:
    """The core API group is written as an empty text, as in RBAC rules."""
    assert (KINDS["Pod"].group, KINDS["Job"].group) == ("", "batch")


def test_a_selector_is_sorted() -> None:
    """Labels are sorted, and a value of None selects objects that have the label at all."""
    assert label_selector({"b": "2", "a": None, "c": ""}) == "a,b=2,c="


def test_an_object_in_words() -> None:
    """A message names the kind, and the namespace and the name where they are known."""
    assert [
        describe_object("Pod", "a", "llm"),
        describe_object("Pod", "a"),
        describe_object("Pod", "", "llm"),
        describe_object("Pod"),
    ] == [
        "Pod llm/a",
        "Pod a",
        "Pod llm",
        "Pod",
    ]
