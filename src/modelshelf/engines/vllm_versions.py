"""Which values each minor version of vLLM accepts for some of its options.

With this table a wrong value is an error before anything is deployed, not a pod that fails. The
values were read in the packages of 0.30.0, 0.31.0, 0.32.0 and 0.33.0: the parsers in their
`tool_parsers` and `reasoning`, the load formats in `model_executor/model_loader`. No version has
lost a value that an earlier one had. Images that a user has built may have plugins with other
values, and other versions may have other values, so nothing is checked for those.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from modelshelf.shelf.errors import UsageError

MINOR_VERSIONS = (30, 31, 32, 33)
_OFFICIAL_IMAGE = re.compile(r"(?:^|/)vllm/vllm-openai(?:-[a-z0-9]+)*:v0\.(\d+)\.\d+(?:[-@].*)?")
_PLUGIN_OPTIONS = ("--tool-parser-plugin", "--reasoning-parser-plugin")

# Option → the first minor version that has some values → those values.
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


def known_values(option: str, minor: int) -> frozenset[str]:
    """The values that a minor version accepts for one of `OPTIONS`."""
    by_first_minor = _VALUES[option]
    return frozenset(
        value
        for first, values in by_first_minor.items()
        if first <= minor
        for value in values.split()
    )


def minor_of(image: str) -> int | None:
    """The minor version in one of vLLM's official images; None for any other image."""
    match = _OFFICIAL_IMAGE.search(image)
    return int(match[1]) if match and int(match[1]) in MINOR_VERSIONS else None


def require_known_values(args: Sequence[str], image: str) -> None:
    """Refuse values with which vLLM would not start.

    Args:
        args: The user's arguments for vLLM.
        image: The full name of the engine's image.

    Raises:
        UsageError: The image's version of vLLM does not have a value. The hint names a version that
            has it, or the most similar value.
    """
    minor = minor_of(image)
    if minor is None or any(option in _PLUGIN_OPTIONS for option, _ in parse_options(args)):
        return
    for option, value in parse_options(args):
        if option not in _VALUES:
            continue
        if _normalise(option, value) not in known_values(option, minor):
            hint = _hint(option, value, minor)
            raise UsageError(f"vLLM 0.{minor} has no {option} {value!r}", hint=hint)


def _hint(option: str, value: str, minor: int) -> str:
    for later in MINOR_VERSIONS:
        if later > minor and value in known_values(option, later):
            return f"vLLM has it from 0.{later} on: name such an image"
    known = known_values(option, minor)
    hint = f"it has {', '.join(sorted(known))}"
    similar = difflib.get_close_matches(value, known, n=1, cutoff=0.4)
    return f"did you mean {similar[0]!r}? {hint}" if similar else hint


def parse_options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Read options and their values as vLLM's parser does; an option without a value has ""."""
    for i, argument in enumerate(args):
        if not argument.startswith("--"):
            continue
        option, separator, value = argument.partition("=")
        if not separator and i + 1 < len(args) and not args[i + 1].startswith("--"):
            value = args[i + 1]
        yield option.replace("_", "-"), value


def _normalise(option: str, value: str) -> str:
    return value.lower() if option == "--load-format" else value
