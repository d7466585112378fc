"""The parts of test clusters: made as a whole before the namespace is entered, or refused in it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import __main__ as main
from lab import debian, parts
from lab.parts import REPOSITORY, TABLE, PartError, part, register

_TESTS = REPOSITORY / "tests"
# Prints the names that `python -m lab build` makes.
_LISTED = "import lab.__main__, lab.parts; print(*lab.parts.TABLE)"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, outside of the namespace, and a table that is restored."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(parts.INSIDE, raising=False)
    monkeypatch.setattr(parts, "TABLE", dict(TABLE))
    return parts.folder()


def _write(place: Path) -> None:
    (place / "file").write_text("built", encoding="ascii")


def _asks(build: Callable[[Path], None]) -> Callable[[], Path]:
    """A registered function that asks for one part."""

    @register("sample")
    def sample() -> Path:
        return part("sample", ("input",), build)

    return sample


def _kept(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


def test_inside_a_namespace_a_missing_part_is_named_and_not_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the part and the command that makes it, and its builder is not called."""
    monkeypatch.setenv(parts.INSIDE, "modelshelf-test-1")

    def build(place: Path) -> None:
        pytest.fail(f"{place} is built inside")

    with pytest.raises(PartError, match=r"sample-\w+ is missing.*python -m lab build sample"):
        _asks(build)()


def test_inside_a_namespace_a_part_that_was_built_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was built outside is there inside, and is the same folder."""
    sample = _asks(_write)
    built = sample()
    monkeypatch.setenv(parts.INSIDE, "modelshelf-test-1")
    assert sample() == built
    assert (built / "file").read_text(encoding="ascii") == "built"


def test_a_part_that_no_registered_function_asks_for_is_refused(cache: Path) -> None:
    """It is refused even where the cache has it: `lab build` would not make it elsewhere."""
    place = _asks(_write)()
    assert place.is_dir()
    with pytest.raises(LookupError, match="sample is asked for by no function"):
        part("sample", ("input",), _write)


def test_a_part_of_a_part_belongs_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered function may ask another one, and the error names the command of the inner."""
    monkeypatch.setenv(parts.INSIDE, "modelshelf-test-1")

    @register("outer")
    def outer() -> Path:
        return _asks(_write)()

    with pytest.raises(PartError, match="python -m lab build sample"):
        outer()


@pytest.mark.parametrize("fails", [False, True], ids=["leaves nothing", "fails"])
def test_a_part_whose_making_failed_is_not_kept(cache: Path, *, fails: bool) -> None:
    """Neither a builder that fails nor one that leaves nothing behind makes a part."""

    def build(place: Path) -> None:
        if fails:
            _write(place)
            raise PartError("no network")

    reason = "no network" if fails else "nothing was built"
    for _ in range(2):
        with pytest.raises(PartError, match=f"sample cannot be built: {reason}"):
            _asks(build)()
        assert _kept(cache) == []


def test_package_lists_that_did_not_come_are_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`apt-get update` may succeed without having fetched anything, which is a failure here."""
    monkeypatch.setattr(debian, "run", lambda *_, **__: "")

    @register("lists")
    def lists() -> Path:
        return debian._new_lists()

    with pytest.raises(PartError, match="fetched no package lists"):
        lists()
    assert _kept(cache) == []


def test_apt_fails_where_an_index_cannot_be_fetched() -> None:
    """Without this option `apt-get update` succeeds where it reaches no mirror."""
    assert "APT::Update::Error-Mode=any" in debian._APT


def test_packages_that_did_not_come_are_a_failure(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of Debian packages needs as many files as packages."""
    monkeypatch.setattr(debian, "run", lambda *_, **__: "")
    monkeypatch.setattr(debian, "_new_lists", lambda: cache)

    @register("packages")
    def packages() -> debian.Tree:
        return debian.unpacked("packages", ["hello"])

    with pytest.raises(PartError, match="fewer packages than hello"):
        packages()
    assert _kept(cache) == []


def test_parts_that_are_built_in_an_order_exist() -> None:
    """Each name in the order of `python -m lab build` is one of the table."""
    assert set(main._FIRST + main._LAST) <= set(TABLE)


def test_what_the_namespace_may_ask_for_is_what_is_built_before() -> None:
    """Each function that may ask for parts is in the table of `python -m lab build`.

    A test that registered one of its own would pass on machines whose cache has its part alone.
    """
    command = [sys.executable, "-c", _LISTED]
    env = {"PYTHONPATH": str(_TESTS)}
    built = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = {
        name
        for path in _TESTS.rglob("*.py")
        if path != Path(__file__)
        for name in re.findall(r"@register\(\s*\"([^\"]+)\"", path.read_text(encoding="utf-8"))
    }
    assert set(built.stdout.split()) == found
