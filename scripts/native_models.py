"""Prints src/modelshelf/select/native_models.py: what vLLM and its transformers implement.

Run it with the Python that vLLM is installed in: `make native-models`. The names are read from the
packages, and vLLM itself is not imported.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

_HEAD = '''"""Names of what vLLM {vllm} and transformers {transformers} implement themselves. Pure.

`make native-models` writes this file. A model whose classes are all named here is served without
the Python files of its repository. The names are words of a text, since a line for each would take
a thousand lines.
"""

'''
_WIDTH = 100


def module_text() -> str:
    """Return the text of the module for the packages that this Python has."""
    distributions = importlib.metadata.packages_distributions()
    vllm, transformers = (
        importlib.metadata.version(distributions[name][0]) for name in ("vllm", "transformers")
    )
    return _HEAD.format(vllm=vllm, transformers=transformers) + "\n".join(
        _assignment(name, doc, words) for name, doc, words in _tables()
    )


def _tables() -> list[tuple[str, str, set[str]]]:
    return [
        (
            "ARCHITECTURES",
            "Classes of models: `architectures` in config.json.",
            _architectures(),
        ),
        ("MODEL_TYPES", "Types of configurations: `model_type` in config.json.", _model_types()),
        (
            "TOKENIZERS",
            "Classes of tokenizers, without `Fast` at the end: `tokenizer_class`.",
            _tokenizers(),
        ),
        (
            "PROCESSORS",
            "Classes of processors, without `Fast` at the end: `processor_class` and the like.",
            _processors(),
        ),
    ]


def _architectures() -> set[str]:
    """The keys of the tables in vLLM's registry of models that make up `_VLLM_MODELS`."""
    tree = _parse_vllm("model_executor/models/registry.py")
    tables = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = [value.id for value in tables["_VLLM_MODELS"].values if isinstance(value, ast.Name)]
    return {
        str(key.value)
        for name in names
        for key in tables[name].keys
        if isinstance(key, ast.Constant)
    }


def _model_types() -> set[str]:
    """The types that transformers knows, and those that vLLM adds."""
    from transformers.models.auto.configuration_auto import (  # noqa: PLC0415 - not in every Python
        CONFIG_MAPPING_NAMES,
    )

    registry = next(
        node.value
        for node in _parse_vllm("transformers_utils/config.py").body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "_CONFIG_REGISTRY"
    )
    assert isinstance(registry, ast.Call)
    added = {keyword.arg for keyword in registry.keywords if keyword.arg}
    for keyword in registry.keywords:
        if keyword.arg is None:
            added |= set(ast.literal_eval(keyword.value))
    return set(CONFIG_MAPPING_NAMES) | added


def _tokenizers() -> set[str]:
    import transformers  # noqa: PLC0415 - not in every Python
    from transformers.models.auto.tokenization_auto import (  # noqa: PLC0415
        TOKENIZER_MAPPING_NAMES,
    )

    bases = {"PreTrainedTokenizer", "TokenizersBackend"}
    public = {name for name in dir(transformers) if name.endswith(("Tokenizer", "TokenizerFast"))}
    named = bases | public | {name for name in TOKENIZER_MAPPING_NAMES.values() if name}
    return {name.removesuffix("Fast") for name in named if not name.startswith("Auto")}


def _processors() -> set[str]:
    import transformers  # noqa: PLC0415 - not in every Python

    ends = ("Processor", "ProcessorFast", "FeatureExtractor")
    public = {name for name in dir(transformers) if name.endswith(ends)}
    return {
        name.removesuffix("Fast")
        for name in public
        if not name.startswith("Auto") and not name.endswith("LogitsProcessor")
    }


def _parse_vllm(path: str) -> ast.Module:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        sys.exit("this Python has no vLLM: run make native-models")
    return ast.parse((Path(spec.origin).parent / path).read_text(encoding="utf-8"))


def _assignment(name: str, doc: str, words: Iterable[str]) -> str:
    lines = textwrap.fill(
        " ".join(sorted(words)), _WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return f'{name} = frozenset(\n    """\n{lines}\n""".split()  # noqa: SIM905\n)\n"""{doc}"""\n'


if __name__ == "__main__":
    sys.stdout.write(module_text())
