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
# The endings of configurations, templates and licences, and of what tokenizers read:
# `vocab_files_names` in transformers 5 names `bpe.codes`, `vocab.bpe`, `source.spm` and others.
_TEXTS = frozenset(
    {
        ".bpe",
        ".codes",
        ".jinja",
        ".json",
        ".md",
        ".model",
        ".spm",
        ".tiktoken",
        ".txt",
        ".vocab",
        ".yaml",
        ".yml",
    }
)
_LEGAL = re.compile(r"(licen[cs]e|notice|readme|copying|us(e|age)_policy)")
# Mistral calls its tokenizers tokenizer.model.v3 and the like.
_TEXT_NAMES = re.compile(rf"{_LEGAL.pattern}|tokenizer\.model\.v")
# Files that training leaves behind. No engine opens them.
_TRAINING = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|sampler"
    r"|tokenizer|openvino|ggml|.*_optim_states|.*_model_states|pytorch_model_fsdp)"
)
# Files that only a trainer writes: transformers' Trainer, Accelerate, DeepSpeed.
_TRAINER_STATE = re.compile(
    r"trainer_state\.json|(optimizer|scheduler|scaler)(_\d+)?\.(pt|bin)|rng_state.*\.pth"
    r"|random_states_\d+\.pkl|zero_to_fp32\.py|.*_(optim|model)_states\.pt"
)
# Folders that hold the same model for another program.
_COPY_FOLDERS = re.compile(
    r"original|onnx|openvino|flax|tf|tensorflow|coreml|gguf|ggml|mlx|tflite|metal|rust"
)
# Folders that are called after a step of training: `checkpoint-500`, `global_step1000`, `epoch_3`.
_STEP_FOLDERS = re.compile(
    r"checkpoints?|(checkpoint|ckpt|(global[-_]?)?step|epoch|iter)s?[-_]?\d+"
)
# The configurations that may name code: https://huggingface.co/docs/transformers/custom_models.
# transformers reads `auto_map` in these and in no others.
_CODE_CONFIGS = frozenset(
    {
        "config.json",
        "feature_extractor_config.json",
        "image_processor_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
    }
)
# macOS writes such a file beside each file that it copies to a disk of another system
# (AppleDouble, RFC 1740). It has the name, and the ending, of the file that it belongs to.
_APPLE_DOUBLE = "._"


_INDEX = re.compile(
    r"(?P<stem>.+)\.(?P<ending>safetensors|bin)(?:\.(?P<before>[\w-]+))?\.index"
    r"(?:\.(?P<after>[\w-]+))?\.json"
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
    if name.startswith(_APPLE_DOUBLE):
        return Kind.OTHER
    if weights_of_index(path):
        return Kind.INDEX
    kind = _KIND_BY_ENDING.get(os.path.splitext(name)[1], Kind.OTHER)
    if kind is Kind.OTHER and _TEXT_NAMES.match(name):
        kind = Kind.TEXT
    return Kind.OTHER if kind is Kind.TEXT and name.startswith(".") else kind


def weights_of_index(path: str) -> str:
    """Return the name of the weights that an index describes.

    The name of a variant stands at several places: transformers writes
    `model.safetensors.index.fp16.json`, and diffusers has written
    `model.safetensors.fp16.index.json` and `model.fp16.safetensors.index.json`.

    Returns:
        `model.safetensors` or `model.fp16.safetensors`, without a folder; an empty text if the path
        is not such an index.
    """
    match = _INDEX.fullmatch(os.path.basename(path))
    if match is None:
        return ""
    variant = match["before"] or match["after"]
    return ".".join(filter(None, (match["stem"], variant, match["ending"])))


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
    return os.path.basename(path) in _CODE_CONFIGS


def is_trainer_state(path: str) -> bool:
    """Whether a file is one that only a trainer writes, to go on with the training."""
    return bool(_TRAINER_STATE.fullmatch(os.path.basename(path).lower()))


def is_copy(path: str) -> bool:
    """Whether a file is in a folder that repeats the model, judged by the names of its folders.

    Such a folder holds the model for another program, or an earlier state of its training.
    """
    folders = [part.lower() for part in path.split("/")[:-1]]
    return any(_COPY_FOLDERS.fullmatch(f) or _STEP_FOLDERS.fullmatch(f) for f in folders)
