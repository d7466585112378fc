"""Our tables of what vLLM accepts and implements, compared with vLLM's own registries."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from modelshelf.engines.vllm_versions import known_values
from modelshelf.select import native_models

_PRINT_REGISTRIES = """
import json, typing
from importlib import metadata
from vllm.config.load import SafetensorsLoadStrategy
from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
from vllm.version import __version__
print("\\n" + json.dumps([__version__, {
    "--load-format": list(_LOAD_FORMAT_TO_MODEL_LOADER),
    "--safetensors-load-strategy": typing.get_args(SafetensorsLoadStrategy),
    "--tool-call-parser": ToolParserManager.list_registered(),
    "--reasoning-parser": ReasoningParserManager.list_registered(),
}]))
"""


def test_the_table_is_what_vllm_itself_has(engine_python: Path) -> None:
    """The table has every name that this version registers, and no other."""
    output = subprocess.run(
        [engine_python, "-c", _PRINT_REGISTRIES],
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    ).stdout
    version, registered = json.loads(output.splitlines()[-1])
    minor = int(version.split(".")[1])
    assert minor == 32
    assert {option: sorted(names) for option, names in registered.items()} == {
        option: sorted(known_values(option, minor)) for option in registered
    }


def test_the_names_of_native_models_are_vllms_own(engine_python: Path) -> None:
    """The table of what vLLM implements itself is what its registries and transformers name."""
    script = Path(__file__).parents[2] / "scripts" / "native_models.py"
    text = subprocess.run(
        [engine_python, script], capture_output=True, text=True, check=True, timeout=400
    ).stdout
    assert text == Path(native_models.__file__).read_text("utf-8"), "run make native-models"
