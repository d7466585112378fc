"""Sizes as people and Kubernetes write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.config.quantity import bytes_of, kubernetes_quantity, quantity_of
from modelshelf.shelf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1024", 1024),
        ("100Gi", 100 * 2**30),
        ("1.5Ki", 1536),
        ("200MB", 200_000_000),
        ("15GiB", 15 * 2**30),
        ("2e9", 2_000_000_000),
        ("2E", 2 * 10**18),
        ("0.3", 1),
        (" 1k ", 1000),
    ],
)
def test_what_a_quantity_stands_for(text: str, count: int) -> None:
    """Units are binary or decimal, with or without a B; fractions of a byte are rounded up."""
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1Gi", "1 Gi", "1gb", "1KiBi", "0x10", "1e999", "½Gi"])
def test_what_is_no_quantity(text: str) -> None:
    """Any other text is refused, and the hint has an example."""
    with pytest.raises(UsageError, match="is not a size") as caught:
        bytes_of(text)
    assert "100Gi" in caught.value.hint


@given(st.integers(0, 2**62))
def test_a_written_size_holds_the_bytes_and_hardly_more(count: int) -> None:
    """A quantity is at least as large as the number of bytes, and at most a tenth larger."""
    assert count <= bytes_of(quantity_of(count)) <= count * 1.1


def test_kubernetes_takes_no_b() -> None:
    """A size for Kubernetes has no B, and a size of 0 is refused."""
    assert [kubernetes_quantity(text) for text in ("100GB", "5Gi", "7")] == ["100G", "5Gi", "7"]
    with pytest.raises(UsageError, match="more than 0"):
        kubernetes_quantity("0Gi")
