"""YAML as values with lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.config.yaml_reader import read_yaml
from modelshelf.shelf.errors import UsageError


def test_every_value_has_a_line() -> None:
    """Each value has its line, and an unknown path has the line of the nearest value around it."""
    document = read_yaml("a:\n  b:\n    - 1\n    - c: 2\n", "f")
    assert document.data == {"a": {"b": [1, {"c": 2}]}}
    assert document.line(("a",)) == 1
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "b", 1, "c")) == 4
    assert document.line(("a", "b", 7, "x")) == 2
    assert document.line(()) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("010", 10),
        ("1.50", 1.5),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("0x10", "0x10"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """Truth values and dates of YAML 1.1 that YAML 1.2 does not have are text."""
    found = read_yaml(f"a: {text}", "f").data["a"]
    assert found == value
    assert type(found) is type(value)


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_json_is_read_as_json(value: object) -> None:
    """Every JSON document is read as the same value, because YAML includes JSON."""
    assert read_yaml(json.dumps(value, ensure_ascii=False), "f").data == value


def test_merged_mappings() -> None:
    """`<<` merges the keys of an anchor; the mapping's own keys and earlier anchors win."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 0\nd: {<<: *b}\n"
    data = read_yaml(text, "f").data
    assert data["c"] == {"x": 0, "y": 1, "z": 2}
    assert data["d"] == {"y": 2, "z": 2}


_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: the key 'a' is already in line 1"),
        ("a: 1\n1: 2\n", "f:2: a key must be text"),
        ("? [a]\n: 1\n", "f:1: a key must be text"),
        ("a:\n\tb: 1\n", "f:2: this is not valid YAML: found character '\\t'"),
        ("a: [1\nb: 2\n", "f:2: this is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "f:2: this is not valid YAML"),
        ("a: *b\n", "f:1: this is not valid YAML"),
        (
            "a: !!python/name:os.system x\n",
            "f:1: 'x' is not a kind of value that this file can hold",
        ),
        ("a: &a [*a]\n", "f:1: this is nested too deeply or repeats itself without end"),
        ("a: &a {<<: *a}\n", "f:1: this is nested too deeply or repeats itself without end"),
        ("a: {<<: 1}\n", "f:1: << merges mappings"),
        ("[" * 5000, "f is nested too deeply"),
        (_LAUGHS, "without end"),
        ("a: \0", "f is not valid YAML"),
        ('a: "\\ud800"\n', "f:1: '\\ud800' is not a kind of value that this file can hold"),
        ("a: " + "9" * 5000, "is not a kind of value that this file can hold"),
    ],
)
def test_what_is_no_document(text: str, message: str) -> None:
    """A text that cannot be read is refused, and the error names the line."""
    with pytest.raises(UsageError) as caught:
        read_yaml(text, "f")
    assert message in str(caught.value)


@given(st.text(alphabet="ab:-[]{}&*<!|>'\"#%@,? \n\t~1", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Any text is read or raises UsageError."""
    try:
        document = read_yaml(text, "f")
    except UsageError:
        return
    assert json.loads(json.dumps(document.data)) == document.data
