"""The reference pages that are written from the code, and the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib.util
import os
import pathlib
import sys
from types import ModuleType

import pytest

import modelshelf
from modelshelf import api
from modelshelf.config import quantity, text_checks
from modelshelf.shelf import shelf

ROOT = pathlib.Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date() -> None:
    """The reference pages are what `make reference` writes."""
    for path, text in _script().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run make reference: {path.name}"


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    """Each name in `modelshelf.__all__` can be imported and has a docstring."""
    for name in modelshelf.__all__:
        thing = getattr(modelshelf, name)
        if callable(thing) and name != "Listener":
            assert thing.__doc__, name


def test_unknown_names_are_attribute_errors() -> None:
    """A name that is not public raises AttributeError."""
    with pytest.raises(AttributeError, match="nothing"):
        modelshelf.nothing  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("module", [api, shelf, text_checks, quantity], ids=lambda m: m.__name__)
def test_docstring_examples(module: ModuleType, tmp_path: pathlib.Path) -> None:
    """The examples in docstrings run in a folder called `tmp` and do what they say."""
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    (tiny / "config.json").write_bytes(b"{}")
    (tiny / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    known = {**vars(module), "tmp": tmp_path, "os": os}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    tests = [t for t in doctest.DocTestFinder().find(module, globs=known) if t.examples]
    assert tests
    for test in tests:
        assert runner.run(test).failed == 0, test.name
