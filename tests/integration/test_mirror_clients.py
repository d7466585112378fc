"""The mirror used by real, unmodified clients, which know only HF_ENDPOINT.

Each runs in a process of its own, since huggingface_hub reads its environment when imported.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mirror_process import SRC, Mirror, running
from support.small_models import COMMIT, describe, put

from modelshelf.shelf.shelf import Shelf

OLD, NEW = "a" * 40, "b" * 40
WEIGHTS = os.urandom(1 << 20) * 3
FILES = {
    "config.json": json.dumps({"model_type": "llama", "hidden_size": 64}).encode(),
    "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
    "sub/deep/a b.txt": b"deep",
    "model.safetensors": WEIGHTS,
}
MANY = 1_203
GGUF = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0)

_PRELUDE = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub import errors
api = HfApi()
def name(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
"""


def tokenizer() -> bytes:
    """A tokenizer of three words."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({"<unk>": 0, "hello": 1, "world": 2}, unk_token="<unk>")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return str(made.to_str()).encode()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror of a shelf with an old and a new commit of one model, a local and a large one."""
    shelf = Shelf.create(tmp_path_factory.mktemp("clients") / "shelf")
    old = put(shelf, "o/n", {"config.json": b"{}"}, commit=OLD, revision="v1", created=1.0)
    shelf.tag(old, "prod")
    put(shelf, "o/n", {**FILES, "tokenizer.json": tokenizer()}, commit=NEW)
    put(shelf, "me/local", {"notes.txt": b"mine", "w.gguf": GGUF}, origin="local")
    put(shelf, "o/many", {f"f/{n:04}.txt": b"%d" % n for n in range(MANY)})
    with running(shelf.path) as mirror:
        yield mirror


@pytest.fixture
def environment(mirror: Mirror, tmp_path: Path) -> dict[str, str]:
    """What a user sets to use the mirror, and a home of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": mirror.url,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


def python(code: str, environment: dict[str, str]) -> Any:
    """Run some Python after the prelude, and return the value of its variable `result`."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{_PRELUDE}\n{code}\nprint(json.dumps(result))"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def files_below(folder: str | Path) -> dict[str, bytes]:
    """Path → content of the files in a folder, hidden ones left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def test_snapshot_download_gets_every_file(environment: dict[str, str]) -> None:
    """The whole model arrives, filed under its commit."""
    folder = python("result = snapshot_download('o/n')", environment)
    assert Path(folder).name == NEW
    assert files_below(folder) == {**FILES, "tokenizer.json": tokenizer()}


def test_what_was_downloaded_passes_the_hubs_own_check(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """`verify_repo_checksums` finds LFS, git and local files equal to what the mirror states."""
    code = f"""
result = []
for repo in ("o/n", "me/local"):
    folder = {str(tmp_path)!r} + "/" + repo
    snapshot_download(repo, local_dir=folder)
    checked = api.verify_repo_checksums(repo, local_dir=folder)
    result.append([checked.checked_count, len(checked.mismatches), len(checked.missing_paths)])
"""
    assert python(code, environment) == [[len(FILES) + 1, 0, 0], [2, 0, 0]]


def test_revisions_by_tag_commit_and_name(environment: dict[str, str]) -> None:
    """A tag, a commit and a recorded name each lead to the old commit."""
    code = """
result = [open(hf_hub_download("o/n", "config.json", revision=r)).read() for r in sys.argv[1:]]
result += [api.model_info("o/n", revision=r).sha for r in ("prod", "main")]
""".replace("sys.argv[1:]", f"('prod', 'v1', '{OLD}')")
    assert python(code, environment) == ["{}", "{}", "{}", OLD, NEW]


def test_metadata_is_what_clients_expect(environment: dict[str, str]) -> None:
    """Model info, refs, a tree, paths and existence come through huggingface_hub's own classes."""
    code = """
info = api.model_info("o/n", files_metadata=True)
weights = [s for s in info.siblings if s.rfilename == "model.safetensors"][0]
refs = api.list_repo_refs("o/n")
commits = lambda kind: {ref.name: ref.target_commit for ref in kind}
shown = lambda nodes: sorted(type(node).__name__ + " " + node.path for node in nodes)
paths = api.get_paths_info("o/n", ["sub", "config.json", "none"])
result = {
    "info": [info.id, info.sha, info.private, info.gated, len(info.siblings)],
    "weights": [weights.size, weights.lfs.sha256, weights.lfs.pointer_size],
    "refs": [commits(refs.branches), commits(refs.tags)],
    "top": shown(api.list_repo_tree("o/n")),
    "deep": shown(api.list_repo_tree("o/n", "sub", recursive=True)),
    "paths": sorted(p.path for p in paths),
    "exists": [
        api.file_exists("o/n", "config.json"),
        api.file_exists("o/n", "none"),
        api.repo_exists("o/none"),
    ],
    "search": [m.id for m in api.list_models(search="LOCAL")],
}
"""
    result = python(code, environment)
    sha256 = describe("model.safetensors", WEIGHTS).sha256
    assert result == {
        "info": ["o/n", NEW, False, False, len(FILES) + 1],
        "weights": [len(WEIGHTS), sha256, 132],
        "refs": [{"main": NEW, "v1": OLD}, {"prod": OLD}],
        "top": [
            "RepoFile config.json",
            "RepoFile model.safetensors",
            "RepoFile tokenizer.json",
            "RepoFile tokenizer_config.json",
            "RepoFolder sub",
        ],
        "deep": ["RepoFile sub/deep/a b.txt", "RepoFolder sub/deep"],
        "paths": ["config.json", "sub"],
        "exists": [True, False, False],
        "search": ["me/local"],
    }


def test_long_trees_are_followed_to_the_end(environment: dict[str, str]) -> None:
    """A tree of more than one page is listed whole, each path once."""
    code = "result = [e.path for e in api.list_repo_tree('o/many', recursive=True)]"
    assert sorted(python(code, environment)) == ["f", *(f"f/{n:04}.txt" for n in range(MANY))]


def test_errors_are_the_clients_own(environment: dict[str, str]) -> None:
    """A missing model, revision or file raises the exception that each call documents."""
    code = """
result = [
    name(api.model_info, "o/none"),
    name(api.model_info, "o/n", revision="none"),
    name(hf_hub_download, "o/none", "config.json"),
    name(hf_hub_download, "o/n", "config.json", revision="none"),
    name(hf_hub_download, "o/n", "none.json"),
    name(lambda: list(api.list_repo_tree("o/n", "none"))),
    issubclass(errors.RemoteEntryNotFoundError, errors.EntryNotFoundError),
]
"""
    assert python(code, environment) == [
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RemoteEntryNotFoundError",
        "RemoteEntryNotFoundError",
        True,
    ]


def test_a_half_finished_download_is_resumed(mirror: Mirror, environment: dict[str, str]) -> None:
    """The client's own resume (`http_get` on a partial file) fetches only what is missing."""
    url = f"{mirror.url}/o/n/resolve/main/model.safetensors"
    have = len(WEIGHTS) - 100_000
    code = f"""
import io
from huggingface_hub.file_download import http_get
import urllib.request
request = urllib.request.Request({url!r}, headers={{"Range": "bytes=0-{have - 1}"}})
buffer = io.BytesIO()
buffer.write(urllib.request.urlopen(request).read())
http_get({url!r}, buffer, resume_size={have}, expected_size={len(WEIGHTS)})
import hashlib
result = hashlib.sha256(buffer.getvalue()).hexdigest()
"""
    before = mirror.counters()
    assert python(code, environment) == describe("w.bin", WEIGHTS).sha256
    assert mirror.counters()["file_bytes"] - before["file_bytes"] == len(WEIGHTS)


def test_the_hubs_file_system_reads(environment: dict[str, str]) -> None:
    """HfFileSystem lists, finds and reads parts of files."""
    code = """
fs = HfFileSystem()
with fs.open("o/n/model.safetensors", "rb", block_size=1 << 16) as file:
    file.seek(1 << 20)
    part = file.read(16)
result = [
    sorted(fs.ls("o/n", detail=False)),
    fs.find("o/n@main/sub"),
    fs.read_text("o/n@prod/config.json"),
    part.hex(),
    fs.exists("o/n/none"),
]
"""
    assert python(code, environment) == [
        [f"o/n/{p}" for p in sorted([*FILES, "tokenizer.json", "sub"]) if "deep" not in p],
        ["o/n@main/sub/deep/a b.txt"],
        "{}",
        WEIGHTS[:16].hex(),
        False,
    ]


def test_the_hf_command_downloads(environment: dict[str, str], tmp_path: Path) -> None:
    """`hf download` fetches a chosen part of a model."""
    hf = shutil.which("hf", path=os.path.dirname(sys.executable)) or shutil.which("hf")
    assert hf is not None, "the hf command comes with huggingface_hub"
    target = tmp_path / "got"
    ended = subprocess.run(
        [hf, "download", "o/n", "--include", "*.json", "--local-dir", str(target)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert set(files_below(target)) == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_transformers_loads_tokenizer_and_config(environment: dict[str, str]) -> None:
    """AutoTokenizer and AutoConfig work by the model's name alone."""
    pytest.importorskip("transformers")
    code = """
from transformers import AutoConfig, AutoTokenizer
result = [
    AutoTokenizer.from_pretrained("o/n")("hello world").input_ids,
    AutoConfig.from_pretrained("o/n").hidden_size,
]
"""
    assert python(code, environment) == [[1, 2], 64]


def test_a_second_download_fetches_nothing(mirror: Mirror, environment: dict[str, str]) -> None:
    """The counters prove that files which a client already has are not sent again."""
    python("result = snapshot_download('o/n')", environment)
    before = mirror.counters()
    python("result = snapshot_download('o/n')", environment)
    after = mirror.counters()
    assert after["requests"] > before["requests"]
    assert after["file_bytes"] == before["file_bytes"]


def test_modelshelf_pulls_from_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Our own pull verifies against the mirror's checksums, of a local model's files too."""
    code = f"""
import modelshelf
shelf = {str(tmp_path / "shelf")!r}
pulled = [modelshelf.pull(s, shelf=shelf, all_files=True) for s in ("hf://me/local", "hf://o/n@prod")]
result = [[s.repo_id, s.commit, [f.path for f in s.files]] for s in pulled]
"""
    assert python(code, {**environment, "PYTHONPATH": SRC}) == [
        ["me/local", COMMIT, ["notes.txt", "w.gguf"]],
        ["o/n", OLD, ["config.json"]],
    ]
