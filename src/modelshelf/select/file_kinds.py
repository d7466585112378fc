"""Judging what a file of a repository is by its name alone. Pure."""

from __future__ import annotations

import enum
import os
import re

# Formats that are based on pickle. Opening such a file may run code that is in it.
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
_CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh"})
_OTHER_WEIGHTS = frozenset(
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
# Mistral calls its tokenizers tokenizer.model.v3 and the like. The other names are legal texts.
_TEXT_NAMES = re.compile(r"(licen[cs]e|notice|readme|copying|use_policy|tokenizer\.model\.v)")
_LEGAL = re.compile(r"(licen[cs]e|notice|readme|copying|use_policy)")
# Files that training leaves behind. No engine opens them.
_TRAINING = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|sampler"
    r"|tokenizer|openvino|ggml|.*_optim_states|.*_model_states)"
)
# Folders that hold the same model for another program, or an earlier state of its training.
_COPY_FOLDERS = re.compile(
    r"(original|onnx|openvino|flax|tf|tensorflow|coreml|gguf|ggml|mlx|tflite|metal|rust"
    r"|checkpoint-\d+|global_step\d+)"
)


class Kind(enum.Enum):
    """The kind of a file, as far as an engine is concerned."""

    SAFETENSORS = "safetensors"
    GGUF = "GGUF"
    PICKLE = "pickle"
    CODE = "code"
    OTHER_WEIGHTS = "weights in another format"
    INDEX = "index"
    TEXT = "text"
    OTHER = "other"


_KIND_BY_ENDING = (
    dict.fromkeys(_TEXTS, Kind.TEXT)
    | dict.fromkeys(_OTHER_WEIGHTS, Kind.OTHER_WEIGHTS)
    | dict.fromkeys(_CODE, Kind.CODE)
    | dict.fromkeys(PICKLES, Kind.PICKLE)
    | {".safetensors": Kind.SAFETENSORS, ".gguf": Kind.GGUF}
)


def kind_of(path: str) -> Kind:
    """Return the kind of a file. A file whose name begins with a dot is never a text."""
    name = os.path.basename(path).lower()
    if weights_of_index(path):
        return Kind.INDEX
    kind = _KIND_BY_ENDING.get(os.path.splitext(name)[1], Kind.OTHER)
    if kind is Kind.OTHER and _TEXT_NAMES.match(name):
        kind = Kind.TEXT
    return Kind.OTHER if kind is Kind.TEXT and name.startswith(".") else kind


def weights_of_index(path: str) -> str:
    """Return the name of the weights that an index describes.

    Returns:
        `model.safetensors` for `model.safetensors.index.json`, without a folder; an empty text if
        the path is not such an index.
    """
    match = re.fullmatch(
        r"(.+\.(?:safetensors|bin))\.index(?:\.[\w-]+)?\.json", os.path.basename(path)
    )
    return match[1] if match else ""


def is_refused(path: str) -> bool:
    """Whether a file may run code, so that it is refused unless unsafe files are allowed."""
    return kind_of(path) in (Kind.PICKLE, Kind.CODE)


def is_pickled_weights(path: str) -> bool:
    """Whether a pickle may hold the weights of a model, and is not left over from training."""
    name = os.path.basename(path).lower()
    return kind_of(path) is Kind.PICKLE and not _TRAINING.match(name)


def is_legal(path: str) -> bool:
    """Whether a file is a licence, a notice or a README. These accompany every copy of a model."""
    return kind_of(path) is Kind.TEXT and bool(_LEGAL.match(os.path.basename(path).lower()))


def is_config(path: str) -> bool:
    """Whether a file is a configuration that may name code to run (`auto_map`)."""
    return os.path.basename(path).endswith("config.json") and kind_of(path) is Kind.TEXT


def is_copy(path: str) -> bool:
    """Whether a file is in a folder that repeats the model for another program."""
    return any(_COPY_FOLDERS.fullmatch(part.lower()) for part in path.split("/")[:-1])
