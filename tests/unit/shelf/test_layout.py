"""Where things lie on a shelf, and which names may lie there."""

from __future__ import annotations

import os
import tempfile
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelshelf.shelf import layout
from modelshelf.shelf.errors import RefusedError, UsageError


def test_the_folders_are_those_of_layout_1() -> None:
    """Each kind of thing has its place below the shelf's folder."""
    assert layout.LAYOUT == 1
    assert layout.model_folder("org/name") == "models/org/name"
    assert layout.snapshot_folder("org/name", "c-f") == "models/org/name/c-f"
    assert layout.staging_folder("org/name", "c-f", "w") == "staging/org/name/c-f.w"
    assert layout.staging_parent("org/name") == "staging/org/name"
    assert layout.compile_cache_folder("org/name") == "compile-cache/org/name"
    assert layout.compile_cache_folder("org/name", "c-f") == "compile-cache/org/name/c-f"
    assert layout.tag_file("org/name", "prod") == "tags/org/name/prod.json"
    assert layout.lease_file("pull/org/name/c-f") == "leases/pull--org--name--c-f.json"


def test_a_lease_has_a_file_name_however_long_the_model_s_is() -> None:
    """The longest name that a model may have still makes file names that systems take."""
    key = f"read/{'o' * 63}/{'n' * 64}/{'c' * 40}-{'f' * 8}/{'u' * 32}"
    assert len(os.path.basename(layout.lease_file(key))) <= 255


@pytest.mark.parametrize("tag", ["prod", "v1.2", "2024-01-01", "A_b", "x" * 96])
def test_plain_words_are_tags(tag: str) -> None:
    """Letters, digits, dots, dashes and underscores make a tag."""
    assert os.path.basename(layout.tag_file("org/name", tag)) == f"{tag}.json"


@pytest.mark.parametrize("tag", ["", "a/b", "..", "a..b", ".hidden", "-x", "a b", "ä", "x" * 97])
def test_other_words_are_no_tags(tag: str) -> None:
    """A word that could leave the folder, or hide in it, cannot be a tag."""
    with pytest.raises(UsageError, match="cannot be a tag"):
        layout.tag_file("org/name", tag)


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["config.json"],
        ["a/b/c.txt", "a/b/d.txt", "a/e.txt", "f"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        [".gitattributes", "README.md", "a b.txt", " leading", "…", "日本語/ファイル.json"],
        ["constant", "com", "com10", "console.log", "nul-1", "parted.bin", "a.party", "x.nfs1"],
        ["x" * 243, "/".join(["d" * 200] * 10)],
        ["a", "a.b", "ab"],
        ["*", "what?", '"quoted"', "<x>|y"],
    ],
)
def test_honest_names_pass(paths: list[str]) -> None:
    """Names as repositories have them are accepted, and so are odd ones that do no harm."""
    layout.refuse_unsafe_names(paths)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "is absolute or empty"),
        ("/etc/passwd", "is absolute or empty"),
        ("..", "escapes"),
        ("../../x", "escapes"),
        ("a/../b", "escapes"),
        ("a/..", "escapes"),
        (".", "escapes"),
        ("./a", "escapes"),
        ("a//b", "escapes"),
        ("a/", "escapes"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("\x1b[31mred", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\u202egpj.exe", "control"),
        ("a\u2066b", "control"),
        ("a\u200db", "control"),
        ("\ufeffa", "control"),
        ("a\u2028b", "control"),
        ("a\u2029b", "control"),
        ("a\ud800b", "control"),
        ("a\\b", "backslash"),
        ("..\\b", "backslash"),
        ("C:/x", "colon"),
        ("file:stream", "colon"),
        (".snapshot.json", "reserved"),
        ("a/.snapshot.json", "reserved"),
        (".Snapshot.JSON", "reserved"),
        (".\u017fnapshot.json", "reserved"),
        (".writer.json", "reserved"),
        (".cache/x", "reserved"),
        ("model.safetensors.part", "reserved"),
        ("model.PART", "reserved"),
        ("folder.part/x", "reserved"),
        ("model.part.synced", "reserved"),
        (".nfs0", "reserved"),
        ("a/.NFS000123", "reserved"),
        ("con", "device"),
        ("a/Nul.txt", "device"),
        ("COM1", "device"),
        ("com¹.bin", "device"),
        ("lpt9.tar.gz", "device"),
        ("CONOUT$", "device"),
        ("aux", "device"),
        ("prn.json", "device"),
        ("a.", "ends in a dot"),
        ("a ", "ends in a dot or a space"),
        ("a./b", "ends in a dot"),
        ("x" * 244, "longer than 243"),
        ("é" * 122, "longer than 243"),
        ("/".join(["d" * 200] * 11), "longer than 2048"),
    ],
)
def test_unsafe_names_are_refused(path: str, problem: str) -> None:
    """A name that is dangerous on some system is refused, and the message quotes it safely."""
    with pytest.raises(RefusedError, match=problem) as e:
        layout.refuse_unsafe_names(["config.json", path])
    assert e.value.exit_code == 14
    assert str(e.value).isprintable()


def test_only_a_hostile_name_is_a_reason_for_distrust() -> None:
    """The hint for a name that one system lacks says how to do without the file."""
    for path, hint in (("../x", "do not trust this source"), ("aux.json", "--exclude")):
        with pytest.raises(RefusedError) as raised:
            layout.refuse_unsafe_names([path])
        assert hint in raised.value.hint


def test_usable_names_can_lie_in_one_folder() -> None:
    """Of names that collide the first is usable, and of unsafe ones none."""
    paths = ["model.safetensors", "README.md", "Readme.md", "aux/x", "a:b", "d", "d/x", "../y"]
    usable = layout.usable_names(paths)
    assert usable == {"model.safetensors", "README.md", "d"}
    layout.refuse_unsafe_names(usable)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a"),
        ("README.md", "readme.md"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("É/x", "e\u0301/y"),
        ("Å", "\u212b"),
        ("a/x", "A/y"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b/c", "A/B"),
        ("\u0345\u0301", "\u0301\u0345"),
    ],
)
def test_names_that_are_one_somewhere_are_refused(one: str, other: str) -> None:
    """Two files that collide by case or Unicode form, or a file that is a folder, are refused."""
    with pytest.raises(RefusedError, match="one name on some filesystems"):
        layout.refuse_unsafe_names(["config.json", one, other])


def test_a_list_without_end_is_cut_off() -> None:
    """A list that is too long is refused at the first file too many."""
    names = (f"{i}.bin" for i in range(10**9))
    with pytest.raises(RefusedError, match="more than 100,000 files"):
        layout.refuse_unsafe_names(names)
    assert next(names) == f"{layout.MAX_FILES + 1}.bin"


# Few letters, and ones that meet: case, composed and decomposed, dots, separators, odd spaces.
_letters = st.sampled_from("aAbß.\u017fsSée\u0301kK\u212a/ \\:\n\u202e~-_0")
_names = st.text(_letters, min_size=1, max_size=8) | st.sampled_from(
    ["..", "../a", ".nfs0", "a.part", "CON", ".snapshot.json", "a/b", "A/b", "/a"]
)


def _accepted(paths: list[str]) -> bool:
    try:
        layout.refuse_unsafe_names(paths)
    except RefusedError:
        return False
    return True


@given(st.lists(_names | st.text(min_size=1, max_size=12), max_size=12))
@example(["a", "A"])
@example(["a/b", "A/c"])
@settings(max_examples=60)
def test_accepted_names_stay_inside_and_apart(candidates: list[str]) -> None:
    """A list that is accepted can be made in one folder: nothing escapes, and nothing collides."""
    paths: list[str] = []
    for candidate in candidates:
        if _accepted([*paths, candidate]):
            paths.append(candidate)
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            target = os.path.join(folder, *path.split("/"))
            assert os.path.realpath(target).startswith(os.path.realpath(folder) + os.sep)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "x", encoding="utf-8"):
                pass
        made = [
            os.path.relpath(os.path.join(where, name), folder)
            for where, _, names in os.walk(folder)
            for name in names
        ]
    assert sorted(made) == sorted(paths)
    assert len({_composed(path) for path in paths}) == len(paths)
    assert len({path.lower() for path in paths}) == len(paths)


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    """Folding a folded name changes nothing."""
    assert layout.fold(layout.fold(text)) == layout.fold(text)


@given(st.lists(st.text(st.characters(), max_size=6), max_size=4))
def test_any_list_is_accepted_or_refused(paths: list[str]) -> None:
    """No list of strings, surrogates included, raises anything but a refusal."""
    try:
        layout.refuse_unsafe_names(paths)
    except RefusedError as e:
        assert str(e).isprintable()  # noqa: PT017 - most lists pass
