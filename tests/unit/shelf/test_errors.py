"""Every error has a documented exit code and one family."""

from __future__ import annotations

import inspect

import pytest

from modelshelf.shelf import errors
from modelshelf.shelf.errors import Error

_CODES = {
    "Error": 1,
    "UsageError": 2,
    "NotAuthorisedError": 10,
    "NotFoundError": 11,
    "NotOnShelfError": 11,
    "NoSpaceError": 12,
    "NotWritableError": 13,
    "IntegrityError": 14,
    "RefusedError": 14,
    "SourceError": 15,
    "BusyError": 16,
    "TimedOutError": 16,
    "TargetError": 20,
    "ShelfError": 1,
    "NotAShelfError": 2,
}
_FAMILIES = (
    errors.UsageError,
    errors.SourceError,
    errors.IntegrityError,
    errors.ShelfError,
    errors.TargetError,
)


def _kinds() -> list[type[Error]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, Error)]


def test_the_exit_codes_are_those_that_are_documented() -> None:
    """Scripts rely on the exit codes, so this test repeats each of them."""
    assert {kind.__name__: kind.exit_code for kind in _kinds()} == _CODES


@pytest.mark.parametrize("kind", [k for k in _kinds() if k is not Error], ids=lambda k: k.__name__)
def test_every_error_has_one_family(kind: type[Error]) -> None:
    """Each error belongs to exactly one family, so that a caller can catch a family."""
    assert sum(issubclass(kind, family) for family in _FAMILIES) == 1


def test_an_error_carries_its_hint() -> None:
    """The message does not contain the hint, which is an attribute."""
    error = errors.BusyError("somebody reads it", hint="stop it first")
    assert (str(error), error.hint) == ("somebody reads it", "stop it first")
    assert Error("x").hint == ""
