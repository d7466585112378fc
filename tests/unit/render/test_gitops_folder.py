"""Rendered objects as files in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.render_inputs import config, lock

from modelshelf.config.file import Config
from modelshelf.render import code, gitops_folder, yaml_text
from modelshelf.render.carry_over import code_maps_of
from modelshelf.render.gitops_folder import FLUX_FILE, files, write
from modelshelf.render.names import Object, key
from modelshelf.render.rendered import Rendered, render
from modelshelf.render.yaml_text import from_yaml, to_yaml
from modelshelf.shelf.errors import UsageError

_SERVERS = "chat: {model: tiny}\nsmall: {model: tiny}"


def _rendered(file: Config | None = None) -> Rendered:
    file = file or config(servers=_SERVERS)
    return render(file, lock(file))


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _objects(folder: Path) -> list[Object]:
    return [obj for text in _tree(folder).values() for obj in from_yaml(text)]


def _code_map(folder: Path, server: str) -> str:
    objects = from_yaml((folder / f"serve/30-{server}.yaml").read_text())
    (deployment,) = (obj for obj in objects if obj["kind"] == "Deployment")
    return code_maps_of(deployment)["start"]


def _maps(folder: Path) -> list[str]:
    return [
        path.stem.removeprefix("20-")
        for path in sorted(folder.glob("pull/20-modelshelf-start-*.yaml"))
    ]


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of another version of modelshelf."""
    monkeypatch.setattr(code, "files", lambda _package: {"__main__.py": "# another version\n"})


def test_files_are_in_the_order_in_which_they_are_applied(tmp_path: Path) -> None:
    """File names sort into the order of applying: the namespace first, a map before its users."""
    rendered = _rendered()
    written = write(rendered, str(tmp_path))
    maps = [key(obj).name for obj in rendered.code.values()]

    assert [one.path for one in written] == [
        "flux.yaml.example",
        "pull/00-namespace.yaml",
        "pull/10-storage.yaml",
        *(f"pull/20-{name}.yaml" for name in sorted(maps)),
        "pull/30-tiny.yaml",
        "serve/30-chat.yaml",
        "serve/30-small.yaml",
    ]
    assert {one.how for one in written} == {"created"}


def test_files_hold_the_rendered_objects(tmp_path: Path) -> None:
    """Reading the YAML gives all the objects back."""
    rendered = _rendered()
    write(rendered, str(tmp_path))
    for folder, objects in (
        ("pull", rendered.pull_folder()),
        ("serve", rendered.serve_folder()),
    ):
        assert _objects(tmp_path / folder) == objects


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    """A second run reports each file as unchanged and writes none."""
    write(_rendered(), str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert {one.how for one in write(_rendered(), str(tmp_path))} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_file_with_the_newest_code_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names the newest code map is not parsed again, which saves most of the time."""
    rendered = _rendered()
    before = files(rendered, {})

    def fail(text: str) -> list[Object]:
        raise AssertionError(text)

    monkeypatch.setattr(gitops_folder, "from_yaml", fail)
    assert files(rendered, before) == before


def test_files_of_removed_servers_are_deleted(tmp_path: Path) -> None:
    """Our files of a removed server are deleted; other people's files stay."""
    write(_rendered(), str(tmp_path))
    (tmp_path / "serve/ingress.yaml").write_text("kind: Ingress\n")
    (tmp_path / "kustomization.yaml").write_text("resources: [pull]\n")

    written = write(_rendered(config(servers="chat: {model: tiny}")), str(tmp_path))

    assert [one.path for one in written if one.how == "removed"] == ["serve/30-small.yaml"]
    assert not (tmp_path / "serve/30-small.yaml").exists()
    assert (tmp_path / "serve/ingress.yaml").exists()
    assert (tmp_path / "kustomization.yaml").exists()


def test_a_foreign_file_is_not_overwritten(tmp_path: Path) -> None:
    """A foreign file in the way is named in the error, before any file is written."""
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve/30-chat.yaml").write_text("kind: Deployment\n")

    words = r"30-chat\.yaml is in the way, and modelshelf did not write it"
    with pytest.raises(UsageError, match=words):
        write(_rendered(), str(tmp_path))
    assert list(_tree(tmp_path)) == ["serve/30-chat.yaml"]


@pytest.mark.usefixtures("other_code")
def test_another_version_restarts_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Deployment keeps the code map that it names and its file; pulls get the new map."""
    with monkeypatch.context() as old:
        old.setattr(code, "files", lambda _package: {"__main__.py": "# the old version\n"})
        write(_rendered(), str(tmp_path))
    before = _tree(tmp_path)

    write(_rendered(), str(tmp_path))

    after = _tree(tmp_path)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    added = changed - before.keys()
    assert changed - added == {"pull/30-tiny.yaml"} | {p for p in before if "-transfer-" in p}
    assert {path.rsplit("-", 1)[0] for path in added} == {
        "pull/20-modelshelf-shelf",
        "pull/20-modelshelf-transfer",
    }


def test_a_changed_server_gets_the_new_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed server gets the new map, the others keep theirs, and both maps have files."""
    write(_rendered(), str(tmp_path))
    old = _code_map(tmp_path, "small")
    monkeypatch.setattr(code, "files", lambda _package: {"__main__.py": "# another version\n"})

    write(
        _rendered(config(servers="chat: {model: tiny, port: 9000}\nsmall: {model: tiny}")),
        str(tmp_path),
    )

    new = _code_map(tmp_path, "chat")
    assert new != old
    assert _code_map(tmp_path, "small") == old
    assert _maps(tmp_path) == sorted((old, new))


def test_code_can_be_refreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On request every server gets the new map, and the old map's file is deleted."""
    write(_rendered(), str(tmp_path))
    old = _code_map(tmp_path, "chat")
    monkeypatch.setattr(code, "files", lambda _package: {"__main__.py": "# another version\n"})

    write(_rendered(), str(tmp_path), refresh_code=True)

    new = _code_map(tmp_path, "chat")
    assert new != old
    assert _maps(tmp_path) == [new]


def test_a_map_whose_file_is_gone_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Deployment never names a map whose file is missing from the folder."""
    write(_rendered(), str(tmp_path))
    old = _code_map(tmp_path, "chat")
    (tmp_path / f"pull/20-{old}.yaml").unlink()
    monkeypatch.setattr(code, "files", lambda _package: {"__main__.py": "# another version\n"})

    write(_rendered(), str(tmp_path))

    assert _maps(tmp_path) == [_code_map(tmp_path, "chat")]
    assert _code_map(tmp_path, "chat") != old


def test_damaged_files_are_written_anew(tmp_path: Path) -> None:
    """A file that is no YAML or half a Deployment is replaced, and its code is not kept."""
    write(_rendered(), str(tmp_path))
    good = _tree(tmp_path)
    for path, rest in (("serve/30-chat.yaml", "kind: [\n"), ("serve/30-small.yaml", "kind: 1\n")):
        (tmp_path / path).write_text(good[path].splitlines()[0] + "\n" + rest)

    changed = [one.path for one in write(_rendered(), str(tmp_path)) if one.how == "changed"]

    assert changed == ["serve/30-chat.yaml", "serve/30-small.yaml"]
    assert _tree(tmp_path) == good


def test_the_flux_example_is_not_applied_by_accident(tmp_path: Path) -> None:
    """The Flux example has a name that neither kubectl nor Argo CD reads."""
    write(_rendered(), str(tmp_path))
    pull, serve = from_yaml((tmp_path / FLUX_FILE).read_text())

    assert not FLUX_FILE.endswith((".yaml", ".yml", ".json"))
    assert pull["spec"]["wait"] is True
    assert pull["spec"]["path"] == "./PATH/pull"
    assert serve["spec"]["dependsOn"] == [{"name": pull["metadata"]["name"]}]
    assert pull["spec"]["timeout"] == f"{21600 + 600}s"


def test_the_texts_are_decided_without_a_disk() -> None:
    """The texts of a folder follow from the objects and from the earlier texts alone."""
    assert files(_rendered(), {}) == files(_rendered(), files(_rendered(), {}))


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    """The error names the file that is where the folder should be."""
    (tmp_path / "deploy").write_text("")
    with pytest.raises(UsageError, match=r"deploy.* cannot be written: Not a directory"):
        write(_rendered(), str(tmp_path / "deploy"))


@pytest.mark.parametrize(
    "text",
    ["12e4", "1234567", "0o17", "0x1f", "1:30", "1_000", "y", "N", "yes", "null", "~", "1.5", "-1"],
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    """Text that a reader of YAML could take for a number or a boolean is quoted."""
    assert to_yaml([{"a": text}]) == f"a: '{text}'\n"


def test_text_of_several_lines_stays_readable() -> None:
    """Code and JSON are written as blocks of lines, unchanged."""
    assert to_yaml([{"data": {"a.py": "x = 1\ny = {}\n"}}]) == (
        "data:\n  a.py: |\n    x = 1\n    y = {}\n"
    )


def test_equal_parts_are_written_out() -> None:
    """Readers of Kubernetes YAML need know nothing of anchors."""
    shared = {"a": ["b"]}

    assert to_yaml([{"one": shared, "two": shared}]) == ("one:\n  a:\n  - b\ntwo:\n  a:\n  - b\n")


@given(st.lists(st.text()))
def test_any_text_survives(texts: list[str]) -> None:
    """Whatever is written is read as it was."""
    assert from_yaml(to_yaml([{"texts": texts}])) == [{"texts": texts}]


def test_the_slow_writer_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems without libyaml have the same files in git."""

    class Slow(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (PyYAML's own)
            return True

    Slow.add_representer(str, yaml_text._text)
    fast = files(_rendered(), {})
    monkeypatch.setattr(yaml_text, "_Dumper", Slow)

    assert files(_rendered(), {}) == fast
