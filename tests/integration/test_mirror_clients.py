"""What real clients, unmodified, get from the mirror beyond `test_hub_protocol`.

The clients know nothing of the mirror but HF_ENDPOINT.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub_client import client_environment, read_files, run_client
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
GGUF = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0)


def tokenizer() -> bytes:
    """A tokenizer of three words."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({"<unk>": 0, "hello": 1, "world": 2}, unk_token="<unk>")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return str(made.to_str()).encode()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror of a shelf with an old and a new commit of one model, and a local model."""
    shelf = Shelf.create(tmp_path_factory.mktemp("clients") / "shelf")
    old = put(shelf, "o/n", {"config.json": b"{}"}, commit=OLD, revision="v1", created=1.0)
    shelf.tag(old, "prod")
    put(shelf, "o/n", {**FILES, "tokenizer.json": tokenizer()}, commit=NEW)
    put(shelf, "me/local", {"notes.txt": b"mine", "w.gguf": GGUF}, origin="local")
    with running(shelf.path) as mirror:
        yield mirror


@pytest.fixture
def environment(mirror: Mirror, tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose clients use the mirror."""
    return client_environment(mirror.url, tmp_path)


def test_a_local_models_download_passes_the_clients_own_check(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """`verify_repo_checksums` finds the files of a local model equal to what the mirror states."""
    code = f"""
folder = {str(tmp_path / "download")!r}
snapshot_download("me/local", local_dir=folder)
check = api.verify_repo_checksums("me/local", local_dir=folder)
result = [check.checked_count, len(check.mismatches), len(check.missing_paths)]
"""
    assert run_client(code, environment) == [2, 0, 0]


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
    result = run_client(code, environment)
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
    assert run_client(code, environment) == [
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
    assert set(read_files(target)) == {"config.json", "tokenizer.json", "tokenizer_config.json"}


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
    assert run_client(code, environment) == [[1, 2], 64]


def test_modelshelf_pulls_from_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Our own pull verifies against the mirror's checksums, of a local model's files too."""
    code = f"""
import modelshelf
shelf = {str(tmp_path / "shelf")!r}
pulled = [modelshelf.pull(s, shelf=shelf, all_files=True) for s in ("hf://me/local", "hf://o/n@prod")]
result = [[s.repo_id, s.commit, [f.path for f in s.files]] for s in pulled]
"""
    assert run_client(code, {**environment, "PYTHONPATH": SRC}) == [
        ["me/local", COMMIT, ["notes.txt", "w.gguf"]],
        ["o/n", OLD, ["config.json"]],
    ]
