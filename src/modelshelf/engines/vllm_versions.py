"""What each minor version of vLLM takes for some of its arguments, so that none fails on a node.

Read in the packages of 0.30.0, 0.31.0, 0.32.0 and 0.33.0: parsers in their `tool_parsers` and
`reasoning`, load formats in `model_executor/model_loader`. No name was taken away between them. An
image of somebody's own may have plugins with other names, and another version other names: nothing
is refused for those.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from modelshelf.shelf.errors import UsageError

MINORS = (30, 31, 32, 33)
_OFFICIAL = re.compile(r"(?:^|/)vllm/vllm-openai(?:-[a-z0-9]+)*:v0\.(\d+)\.\d+(?:[-@].*)?")
_PLUGINS = ("--tool-parser-plugin", "--reasoning-parser-plugin")

# Option → the minor since which there are values → these.
_VALUES: Mapping[str, Mapping[int, str]] = {
    "--load-format": {
        30: "auto dummy fastsafetensors hf instanttensor ipc_cache mistral modelexpress npcache pt "
        "runai_streamer runai_streamer_sharded safetensors sharded_state tensorizer",
    },
    "--safetensors-load-strategy": {30: "eager lazy prefetch torchao"},
    "--tool-call-parser": {
        30: "apertus cohere_command3 cohere_command4 deepseek_v3 deepseek_v31 deepseek_v32 "
        "deepseek_v4 deepseek_v41 dots ernie45 functiongemma gemma4 gigachat3 glm45 glm47 granite "
        "granite-20b-fc granite4 hermes hunyuan_a13b hy_v3 hy_v4 inkling internlm jamba "
        "k2_horizon kimi_k2 kimi_k3 lfm2 ling3 llama3_json llama4_json llama4_pythonic longcat "
        "mimo minicpm5 minimax_m2 minimax_m3 mistral muse_glimmer olmo3 openai phi4_mini_json "
        "poolside_v1 pythonic qwen3_coder qwen3_xml seed_oss step3 step3p5 xlam",
        32: "hf plamo3 qwen3_json",
        33: "beam muse musespark1x step5",
    },
    "--reasoning-parser": {
        30: "cohere_command3 cohere_command4 deepseek_r1 deepseek_v3 deepseek_v4 deepseek_v41 "
        "ernie45 gemma4 glm45 glm47 granite holo2 hunyuan_a13b hy_v3 hy_v4 inkling k2_horizon "
        "kimi_k2 kimi_k3 ling3 mimo minimax_m2 minimax_m2_append_think minimax_m3 mistral "
        "muse_glimmer nemotron_v3 olmo3 openai_gptoss poolside_v1 qwen3 seed_oss step3 step3p5",
        31: "granite_thinking_parser",
        32: "hf minicpmv plamo3",
        33: "beam muse musespark1x step5",
    },
}
OPTIONS = tuple(_VALUES)


def values(option: str, minor: int) -> frozenset[str]:
    """What a minor version takes for one of `OPTIONS`."""
    since = _VALUES[option]
    return frozenset(name for first in since if first <= minor for name in since[first].split())


def minor_of(image: str) -> int | None:
    """The minor version of vLLM that the project's own image of a name has; None of any other."""
    found = _OFFICIAL.search(image)
    return int(found[1]) if found and int(found[1]) in MINORS else None


def refuse(args: Sequence[str], image: str) -> None:
    """Refuse arguments that end vLLM's start.

    Args:
        args: The user's.
        image: The engine's.

    Raises:
        UsageError: The image's version of vLLM does not have a value; the hint has the nearest.
    """
    minor = minor_of(image)
    if minor is None or any(option in _PLUGINS for option, _ in given(args)):
        return
    for option, value in given(args):
        if option not in _VALUES:
            continue
        known = values(option, minor)
        if _written(option, value) not in known:
            later = [n for n in MINORS if n > minor and value in values(option, n)]
            near = difflib.get_close_matches(value, known, n=1, cutoff=0.4)
            hint = f"it has {', '.join(sorted(known))}"
            if later:
                hint = f"vLLM has it from 0.{later[0]} on: name such an image"
            elif near:
                hint = f"did you mean {near[0]!r}? {hint}"
            raise UsageError(f"vLLM 0.{minor} has no {option} {value!r}", hint=hint)


def given(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, as vLLM's parser reads them; empty where there is none."""
    for i, argument in enumerate(args):
        if not argument.startswith("--"):
            continue
        option, separator, value = argument.partition("=")
        if not separator and i + 1 < len(args) and not args[i + 1].startswith("--"):
            value = args[i + 1]
        yield option.replace("_", "-"), value


def _written(option: str, value: str) -> str:
    return value.lower() if option == "--load-format" else value
