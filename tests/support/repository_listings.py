"""Hand-written file lists of repositories on the Hub: names, sizes, and small texts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from modelshelf.select import SelectedFiles, choose
from modelshelf.shelf.values import File

GB = 10**9


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """The files of a repository, and the texts that `choose` may need."""

    files: tuple[File, ...]
    texts: Mapping[str, str]

    def with_files(self, sizes: Mapping[str, int], texts: Mapping[str, str] = {}) -> Repository:
        """Return the repository with more files."""
        return repository(
            {**{f.path: f.size for f in self.files}, **sizes}, {**self.texts, **texts}
        )

    def without(self, *paths: str) -> Repository:
        """Return the repository without some files."""
        return Repository(tuple(f for f in self.files if f.path not in paths), self.texts)


def repository(sizes: Mapping[str, int], texts: Mapping[str, str] = {}) -> Repository:
    """Make a repository of files with some sizes. A `config.json` without a text is `{}`."""
    files = tuple(File(path, size, git_sha1="0" * 40) for path, size in sorted(sizes.items()))
    plain = {path: "{}" for path in sizes if path.endswith("config.json")}
    return Repository(files, plain | dict(texts))


def index(*parts: str) -> str:
    """Make the text of an index that names these parts."""
    tensors = {f"layer.{number}.weight": part for number, part in enumerate(parts)}
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": tensors})


def parts(stem: str, total: int, end: str = ".safetensors") -> list[str]:
    """List the names of numbered parts."""
    return [f"{stem}-{number:05}-of-{total:05}{end}" for number in range(1, total + 1)]


def select_from(repo: Repository, **options: object) -> SelectedFiles:
    """Choose files of a repository."""
    return choose(repo.files, repo.texts, **options)  # type: ignore[arg-type]


def paths(selected: SelectedFiles) -> set[str]:
    """List the paths of the chosen files."""
    return {file.path for file in selected.files}


def reasons(selected: SelectedFiles) -> dict[str, int]:
    """Map each reason to the number of files that were left out for it."""
    return {group.reason: group.files for group in selected.left_out}


_TOKENIZER = {"tokenizer.json": 2_000_000, "tokenizer_config.json": 50_000}
_COMMON = {".gitattributes": 1_500, "README.md": 9_000, "config.json": 700}

MISTRAL_7B = repository(
    _COMMON
    | _TOKENIZER
    | dict.fromkeys(parts("model", 3), 4_900_000_000)
    | {
        "consolidated.safetensors": 14_500_000_000,
        "model.safetensors.index.json": 24_000,
        "params.json": 200,
        "generation_config.json": 120,
        "special_tokens_map.json": 414,
        "tokenizer.model": 587_404,
        "tokenizer.model.v3": 587_404,
    },
    {"model.safetensors.index.json": index(*parts("model", 3))},
)

LLAMA_8B = repository(
    _COMMON
    | _TOKENIZER
    | dict.fromkeys(parts("model", 4), 4 * GB)
    | {
        "LICENSE": 7_600,
        "USE_POLICY.md": 4_700,
        "generation_config.json": 200,
        "model.safetensors.index.json": 23_950,
        "original/consolidated.00.pth": 16 * GB,
        "original/params.json": 199,
        "original/tokenizer.model": 2_183_982,
        "special_tokens_map.json": 296,
    },
    {"model.safetensors.index.json": index(*parts("model", 4))},
)

MISTRAL_FORMAT = repository(
    {
        ".gitattributes": 1_500,
        "README.md": 12_000,
        "SYSTEM_PROMPT.txt": 2_000,
        "consolidated.safetensors": 48 * GB,
        "params.json": 1_200,
        "tekken.json": 19_400_000,
    }
)

QWEN_GGUF = repository(
    {
        ".gitattributes": 3_000,
        "LICENSE": 11_343,
        "README.md": 5_000,
        "qwen2.5-7b-instruct-q2_k.gguf": 3_015_939_968,
        "qwen2.5-7b-instruct-q3_k_m.gguf": 3_808_390_016,
    }
    | dict.fromkeys(parts("qwen2.5-7b-instruct-q4_k_m", 2, ".gguf"), 2_340_000_000)
    | dict.fromkeys(parts("qwen2.5-7b-instruct-q8_0", 3, ".gguf"), 2_700_000_000)
    | dict.fromkeys(parts("qwen2.5-7b-instruct-fp16", 4, ".gguf"), 3_800_000_000)
)

LLAVA_GGUF = repository(
    {
        "README.md": 2_000,
        "llava-v1.6-mistral-7b.Q3_K_M.gguf": 3_520_000_000,
        "llava-v1.6-mistral-7b.Q4_K_M.gguf": 4_370_000_000,
        "mmproj-model-bf16.gguf": 624_000_000,
        "mmproj-model-f16.gguf": 624_434_368,
        "mmproj-model-f32.gguf": 1_248_000_000,
    }
)

REMOTE_CODE = repository(
    _COMMON
    | {
        "configuration_deep.py": 9_000,
        "modeling_deep.py": 80_000,
        "tokenization_deep.py": 4_000,
        "model.safetensors": 3 * GB,
        "tokenizer_config.json": 800,
        "assets/figure.png": 300_000,
    },
    {
        "config.json": json.dumps(
            {
                "auto_map": {
                    "AutoConfig": "configuration_deep.DeepConfig",
                    "AutoModelForCausalLM": "modeling_deep.DeepForCausalLM",
                }
            }
        ),
        "tokenizer_config.json": json.dumps(
            {"auto_map": {"AutoTokenizer": ["tokenization_deep.DeepTokenizer", None]}}
        ),
    },
)

BINS_ONLY = repository(
    _COMMON
    | dict.fromkeys(parts("pytorch_model", 2, ".bin"), 7 * GB)
    | {
        "pytorch_model.bin.index.json": 26_800,
        "special_tokens_map.json": 411,
        "tokenizer.model": 499_723,
        "training_args.bin": 3_000,
    },
    {"pytorch_model.bin.index.json": index(*parts("pytorch_model", 2, ".bin"))},
)

GPT2 = repository(
    _COMMON
    | _TOKENIZER
    | {
        "64-8bits.tflite": 125_162_496,
        "flax_model.msgpack": 497_764_120,
        "merges.txt": 456_318,
        "model.safetensors": 548_105_171,
        "onnx/config.json": 879,
        "onnx/decoder_model.onnx": 653_665_842,
        "onnx/decoder_model_merged.onnx": 655_188_998,
        "pytorch_model.bin": 548_118_077,
        "rust_model.ot": 702_517_648,
        "tf_model.h5": 497_933_648,
        "vocab.json": 1_042_301,
    }
)
