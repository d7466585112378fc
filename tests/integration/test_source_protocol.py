"""What both kinds of source promise: a folder on this machine and a repository on a Hub.

Every test here runs over both. What only one of them does is tested in
`tests/unit/sources/test_local.py` and `tests/integration/test_huggingface.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hub import Hub, safetensors
from hub.content import content_of, read
from huggingface_hub import constants

from modelshelf import select, sources
from modelshelf.shelf.errors import IntegrityError, NotFoundError, UsageError

TEXTS = {
    "config.json": '{"model_type": "llama"}',
    "empty.config.json": "",
    "tokenizer/vocab file.json": '{"a": 1}',
}
FILES: dict[str, bytes] = {
    **{path: text.encode() for path, text in TEXTS.items()},
    "model.safetensors": read(safetensors(100_000)),
}


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A source that has a model with `FILES`.

    Attributes:
        uri: The model's URI.
        source: The source that its listing states.
        missing_uri: The URI of a model that the source does not have.
        damage: Changes a file without changing what an earlier listing states of it.
    """

    uri: str
    source: str
    missing_uri: str
    damage: Callable[[str, bytes], None]


def folder_source(folder: Path, hub: Hub) -> ModelSource:
    """A folder on this machine."""
    del hub
    model = folder / "model"
    for path, content in FILES.items():
        (model / path).parent.mkdir(parents=True, exist_ok=True)
        (model / path).write_bytes(content)

    def damage(path: str, content: bytes) -> None:
        (model / path).write_bytes(content)

    return ModelSource(str(model), model.as_uri(), str(folder / "missing"), damage)


def hub_source(folder: Path, hub: Hub) -> ModelSource:
    """A repository on a Hub."""
    del folder
    repo = hub.add("org/name", FILES, lfs={"model.safetensors"})

    def damage(path: str, content: bytes) -> None:
        repo.files[path].content = content_of(content)

    return ModelSource("hf://org/name", "hf://org/name@main", "hf://org/missing", damage)


@pytest.fixture(params=[folder_source, hub_source], ids=lambda make: make.__name__)
def model(
    request: pytest.FixtureRequest, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelSource:
    """A source that has the model; its user has no token and no proxy."""
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "REQUESTS_CA_BUNDLE", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    source: ModelSource = request.param(tmp_path, hub)
    return source


def test_a_listing_has_all_files_by_path(model: ModelSource) -> None:
    """A listing states the source and every file with its size, sorted by path."""
    listing = sources.resolve(model.uri)
    assert listing.source == model.source
    assert [(file.path, file.size) for file in listing.files] == [
        (path, len(content)) for path, content in sorted(FILES.items())
    ]


def test_the_stated_source_resolves_to_the_same_listing(model: ModelSource) -> None:
    """The URI that a listing states leads to an equal listing."""
    listing = sources.resolve(model.uri)
    assert sources.resolve(listing.source) == listing


def test_a_given_name_is_the_shelfs_and_not_the_sources(model: ModelSource) -> None:
    """--name changes what the shelf calls a model; a name without a slash is a usage error."""
    listing = sources.resolve(model.uri, name="me/mine")
    assert (listing.source, listing.repo_id) == (model.source, "me/mine")
    with pytest.raises(UsageError):
        sources.resolve(model.uri, name="mine")


def test_a_missing_model_is_not_found(model: ModelSource) -> None:
    """A model that the source does not have is exit 11, and the error names it."""
    with pytest.raises(NotFoundError, match="missing") as raised:
        sources.resolve(model.missing_uri)
    assert raised.value.exit_code == 11


def test_texts_are_read_by_path(model: ModelSource) -> None:
    """Texts are read as they are, an empty one and one with a space in its name, too."""
    assert sources.read_texts(sources.resolve(model.uri), TEXTS) == TEXTS


def test_a_text_that_is_not_listed_is_not_found(model: ModelSource) -> None:
    """A text that the listing does not have is not found."""
    with pytest.raises(NotFoundError, match=r"none\.json"):
        sources.read_texts(sources.resolve(model.uri), ["none.json"])


def test_a_text_that_differs_from_the_listing_is_refused(model: ModelSource) -> None:
    """A text whose size changed since it was listed is an integrity error that names it."""
    listing = sources.resolve(model.uri)
    model.damage("config.json", b"{}")
    with pytest.raises(IntegrityError, match=r"config\.json is not what its source states"):
        sources.read_texts(listing, ["config.json"])


def test_chosen_files_have_checksums_and_a_commit(model: ModelSource) -> None:
    """A narrowed listing has only the chosen files, each with a checksum, and a commit."""
    listing = sources.resolve(model.uri)
    chosen = tuple(file for file in listing.files if file.path in TEXTS)
    narrowed = sources.narrow(listing, chosen)
    assert [file.path for file in narrowed.files] == sorted(TEXTS)
    assert all(file.sha256 or file.lfs_sha256 or file.git_sha1 for file in narrowed.files)
    assert len(bytes.fromhex(narrowed.commit)) == 20
    assert narrowed.source == listing.source


def test_a_listing_and_its_texts_are_what_choose_needs(model: ModelSource) -> None:
    """The listing and the texts that `needed_texts` names are enough to choose the files."""
    listing = sources.resolve(model.uri)
    texts = sources.read_texts(listing, select.needed_texts(listing.files)[:1])
    selection = select.choose(listing.files, texts | {"empty.config.json": "{}"})
    assert "model.safetensors" in {file.path for file in selection.files}
