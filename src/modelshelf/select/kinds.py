"""What a file of a repository is, judged by its name alone. Pure."""

from __future__ import annotations

import enum
import os
import re

# Opening one of these may run code in it: Python's pickle, and what is built on it.
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
_CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh"})
_WEIGHTS_ELSEWHERE = frozenset(
    {
        ".onnx",
        ".onnx_data",
        ".h5",
        ".msgpack",
        ".tflite",
        ".ot",
        ".pb",
        ".npz",
        ".pdparams",
        ".mlmodel",
        ".engine",
    }
)
_TEXTS = frozenset(
    {".json", ".txt", ".model", ".tiktoken", ".jinja", ".md", ".yaml", ".yml", ".vocab", ".spm"}
)
# tokenizer.model.v3 is what Mistral calls its tokenizers; the rest are legal texts.
_TEXT_NAMES = re.compile(r"(licen[cs]e|notice|readme|copying|use_policy|tokenizer\.model\.v)")
_LEGAL = re.compile(r"(licen[cs]e|notice|readme|copying|use_policy)")
# Left over from training: no engine opens these.
_TRAINING = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|sampler"
    r"|tokenizer|openvino|ggml|.*_optim_states|.*_model_states)"
)
# Folders that hold the same model for something else, or as it was in training.
_COPIES = re.compile(
    r"(original|onnx|openvino|flax|tf|tensorflow|coreml|gguf|ggml|mlx|tflite|metal|rust"
    r"|checkpoint-\d+|global_step\d+)"
)


class Kind(enum.Enum):
    """What an engine would do with a file."""

    SAFETENSORS = "safetensors"
    GGUF = "GGUF"
    PICKLE = "pickle"
    CODE = "code"
    OTHER_WEIGHTS = "weights in another format"
    INDEX = "index"
    TEXT = "text"
    OTHER = "other"


_BY_END = (
    dict.fromkeys(_TEXTS, Kind.TEXT)
    | dict.fromkeys(_WEIGHTS_ELSEWHERE, Kind.OTHER_WEIGHTS)
    | dict.fromkeys(_CODE, Kind.CODE)
    | dict.fromkeys(PICKLES, Kind.PICKLE)
    | {".safetensors": Kind.SAFETENSORS, ".gguf": Kind.GGUF}
)


def kind_of(path: str) -> Kind:
    """What a file is. Names beginning with a dot are never texts."""
    name = os.path.basename(path).lower()
    if weights_of_index(path):
        return Kind.INDEX
    kind = _BY_END.get(os.path.splitext(name)[1], Kind.OTHER)
    if kind is Kind.OTHER and _TEXT_NAMES.match(name):
        kind = Kind.TEXT
    return Kind.OTHER if kind is Kind.TEXT and name.startswith(".") else kind


def weights_of_index(path: str) -> str:
    """The set that an index is about, `model.safetensors` for `model.safetensors.index.json`.

    Returns:
        Its name without a folder; empty if the path is no such index.
    """
    match = re.fullmatch(
        r"(.+\.(?:safetensors|bin))\.index(?:\.[\w-]+)?\.json", os.path.basename(path)
    )
    return match[1] if match else ""


def is_refused(path: str) -> bool:
    """Whether a file may run code, and so is on no shelf unless unsafe files were allowed."""
    return kind_of(path) in (Kind.PICKLE, Kind.CODE)


def is_pickled_weights(path: str) -> bool:
    """Whether a pickle may hold a model's weights, rather than what training left behind."""
    name = os.path.basename(path).lower()
    return kind_of(path) is Kind.PICKLE and not _TRAINING.match(name)


def is_legal(path: str) -> bool:
    """Whether a file is a licence, a notice or a README, which go wherever the model goes."""
    return kind_of(path) is Kind.TEXT and bool(_LEGAL.match(os.path.basename(path).lower()))


def is_config(path: str) -> bool:
    """Whether a file is a configuration that may name code (`auto_map`) to be run."""
    return os.path.basename(path).endswith("config.json") and kind_of(path) is Kind.TEXT


def is_copy(path: str) -> bool:
    """Whether a file lies in a folder that repeats the model for another program."""
    return any(_COPIES.fullmatch(part.lower()) for part in path.split("/")[:-1])
