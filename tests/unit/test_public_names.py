"""The public names of `import modelshelf`, after every module has been imported.

Importing a submodule sets an attribute of its name on the package. A submodule `modelshelf.pull`
would so replace the function `modelshelf.pull`, and only the second call would show it.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import pkgutil
import types
import typing
from collections.abc import Callable

import pytest

import modelshelf
from modelshelf import Error, NotOnShelfError, UsageError

# Modules that cannot be imported on every platform, with the package that they need there.
_OPTIONAL = {"modelshelf.engines.llamacpp_server": "xllamacpp"}


@pytest.fixture(scope="module", autouse=True)
def _every_module_is_imported() -> None:
    for module in pkgutil.walk_packages(modelshelf.__path__, "modelshelf."):
        if module.name.endswith(".__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or _OPTIONAL.get(module.name) != error.name:
                raise


def _call_pull(shelf: modelshelf.Shelf) -> None:
    with pytest.raises(UsageError, match="models do not come from s3://"):
        modelshelf.pull("s3://bucket/model", shelf=shelf)


def _call_serve(shelf: modelshelf.Shelf) -> None:
    with pytest.raises(NotOnShelfError, match="no/model"):
        modelshelf.serve("no/model", shelf=shelf)


def _call_prime(shelf: modelshelf.Shelf) -> None:
    with pytest.raises(UsageError, match="no-engine"):
        modelshelf.prime("no/model", shelf=shelf, engine="no-engine")


def _call_verify(shelf: modelshelf.Shelf) -> None:
    assert modelshelf.verify(shelf.snapshots()) == []


_CALLS: dict[str, Callable[[modelshelf.Shelf], None]] = {
    "pull": _call_pull,
    "serve": _call_serve,
    "prime": _call_prime,
    "verify": _call_verify,
}


@pytest.mark.parametrize("name", modelshelf.__all__)
def test_a_public_name_is_not_a_submodule(name: str) -> None:
    """After every module is imported, a public name is still the same object and not a module."""
    first, second = getattr(modelshelf, name), getattr(modelshelf, name)
    assert first is second
    assert not isinstance(first, types.ModuleType)


def test_every_public_function_is_called() -> None:
    """No public function is left out of the calls below."""
    functions = {n for n in modelshelf.__all__ if inspect.isfunction(getattr(modelshelf, n))}
    assert functions == set(_CALLS)


@pytest.mark.parametrize("name", _CALLS)
def test_a_public_function_can_be_called_twice(name: str, tmp_path: pathlib.Path) -> None:
    """Each of two calls reaches the function, which returns or raises as it documents."""
    shelf = modelshelf.Shelf.create(tmp_path / "shelf")
    for _ in range(2):
        _CALLS[name](shelf)


@pytest.mark.parametrize("name", sorted(set(modelshelf.__all__) - set(_CALLS)))
def test_other_public_names_are_classes_or_values(name: str) -> None:
    """Each error can be made twice, and every other name is a class, a type or a text."""
    value = getattr(modelshelf, name)
    if inspect.isclass(value) and issubclass(value, Error):
        assert [str(value(text)) for text in ("a", "b")] == ["a", "b"]
    else:
        assert inspect.isclass(value) or isinstance(value, str) or typing.get_origin(value)
