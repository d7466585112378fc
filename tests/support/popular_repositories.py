"""Lists of files of popular repositories on the Hub: names, and sizes that are rounded.

They hold what matters to the choice of files, as the repositories' own pages and public reports
show it, and no content but that of indexes and configurations that name code.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from support.repository_listings import Repository, index, repository

_MB = 10**6


@dataclasses.dataclass(frozen=True, slots=True)
class Popular:
    """One repository, and how its files are chosen.

    Attributes:
        name: `org/name`, and the option that matters, if any.
        repo: The files.
        takes: Paths that must be among the chosen files.
        leaves: Globs of files that must not be.
        options: Options of `choose`.
    """

    name: str
    repo: Repository
    takes: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    options: Mapping[str, object] = dataclasses.field(default_factory=dict)


def _parts(
    stem: str, total: int, megabytes: int, *, first: int = 1, ending: str = "safetensors"
) -> dict[str, int]:
    """Numbered parts of a set of weights, all of one size."""
    return {
        f"{stem}-{number:05}-of-{total:05}.{ending}": megabytes * _MB // total
        for number in range(first, first + total)
    }


def _indexed(
    sizes: Mapping[str, int], weights: Mapping[str, int], texts: Mapping[str, str] = {}
) -> Repository:
    """A repository of safetensors in numbered parts, with their index."""
    stem = re.sub(r"-\d+-of-.*", "", next(iter(weights)))
    index_name = f"{stem}.safetensors.index.json"
    return repository(
        {**sizes, **weights, index_name: 50_000}, {**texts, index_name: index(*weights)}
    )


_SMALL = {
    ".gitattributes": 1_500,
    "README.md": 9_000,
    "config.json": 1_000,
    "generation_config.json": 200,
    "special_tokens_map.json": 300,
    "tokenizer_config.json": 50_000,
}
_HF = _SMALL | {"tokenizer.json": 9 * _MB}
_BPE = {"merges.txt": 2 * _MB, "vocab.json": 3 * _MB}
_UNSAFE = {"allow_unsafe": True}


def _auto_map(module: str, **config: object) -> dict[str, str]:
    """A config.json whose classes are in Python files of the repository."""
    auto_map = {
        "AutoConfig": f"configuration_{module}.Config",
        "AutoModelForCausalLM": f"modeling_{module}.Model",
    }
    return {"config.json": json.dumps({"auto_map": auto_map, **config})}


def _code(module: str) -> dict[str, int]:
    return {f"configuration_{module}.py": 10_000, f"modeling_{module}.py": 70_000}


_DEEPSEEK_V3 = _indexed(
    _HF
    | _code("deepseek")
    | {
        "figures/benchmark.png": 900_000,
        "inference/configs/config_671B.json": 500,
        "inference/model.py": 30_000,
    },
    {f"model-{number:05}-of-000163.safetensors": 4_220 * _MB for number in range(1, 164)},
    _auto_map("deepseek", architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3"),
)
_PHI_3 = _indexed(
    _HF | _code("phi3") | {"sample_finetune.py": 6_000, "tokenizer.model": 500_000},
    _parts("model", 2, 7_640),
    _auto_map("phi3", architectures=["Phi3ForCausalLM"], model_type="phi3"),
)
_KIMI_K2 = _indexed(
    _SMALL
    | _code("deepseek")
    | {
        "chat_template.jinja": 2_000,
        "docs/deploy_guidance.md": 9_000,
        "tiktoken.model": 2_800_000,
        "tokenization_kimi.py": 10_000,
    },
    {f"model-{number}-of-61.safetensors": 16_800 * _MB for number in range(1, 62)},
    _auto_map("deepseek", architectures=["DeepseekV3ForCausalLM"], model_type="kimi_k2")
    | {
        "tokenizer_config.json": json.dumps(
            {
                "auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]},
                "tokenizer_class": "TikTokenTokenizer",
            }
        )
    },
)
_QWEN_GGUF = repository(
    {"LICENSE": 11_000, "README.md": 9_000}
    | {
        f"qwen2.5-7b-instruct-{name}.gguf": megabytes * _MB
        for name, megabytes in (("q2_k", 3_016), ("q3_k_m", 3_808), ("q5_0", 5_320))
    }
    | _parts("qwen2.5-7b-instruct-q4_k_m", 2, 4_683, ending="gguf")
    | _parts("qwen2.5-7b-instruct-q8_0", 3, 8_099, ending="gguf")
    | _parts("qwen2.5-7b-instruct-fp16", 4, 15_238, ending="gguf")
)
_LLAMA_70B_GGUF = repository(
    {"Llama-3.3-70B-Instruct.imatrix": 25 * _MB, "README.md": 9_000}
    | {
        f"Llama-3.3-70B-Instruct-{name}.gguf": megabytes * _MB
        for name, megabytes in (
            ("IQ2_XXS", 19_100),
            ("Q4_0", 40_100),
            ("Q4_K_L", 43_300),
            ("Q4_K_M", 42_500),
            ("Q4_K_S", 40_300),
        )
    }
    | _parts("Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0", 2, 75_000, ending="gguf")
    | _parts("Llama-3.3-70B-Instruct-f16/Llama-3.3-70B-Instruct-f16", 4, 141_000, ending="gguf")
)


def _gpt_oss(total: int, megabytes: int) -> Repository:
    """OpenAI numbers the parts from 0 to the total, so there is one more than the total says."""
    weights = {
        f"model-{number:05}-of-{total - 1:05}.safetensors": megabytes * _MB // total
        for number in range(total)
    }
    return _indexed(
        _HF
        | {
            "LICENSE": 11_000,
            "USAGE_POLICY": 200,
            "chat_template.jinja": 16_000,
            "metal/model.bin": megabytes * _MB,
            "original/config.json": 300,
            "original/model.safetensors": megabytes * _MB,
        },
        weights,
    )


POPULAR = (
    Popular(
        "meta-llama/Llama-3.1-8B-Instruct",
        _indexed(
            _HF
            | {
                "LICENSE": 7_600,
                "USE_POLICY.md": 4_700,
                "original/consolidated.00.pth": 16_061 * _MB,
                "original/params.json": 199,
                "original/tokenizer.model": 2_184_000,
            },
            _parts("model", 4, 16_061),
        ),
        takes=("LICENSE", "USE_POLICY.md"),
        leaves=("original/*",),
    ),
    Popular(
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        _indexed(
            _HF
            | {
                "chat_template.json": 5_000,
                "original/consolidated.pth": 21_300 * _MB,
                "preprocessor_config.json": 400,
            },
            _parts("model", 5, 21_340),
        ),
        takes=("chat_template.json", "preprocessor_config.json"),
        leaves=("original/*",),
    ),
    Popular(
        "mistralai/Mistral-7B-Instruct-v0.3",
        _indexed(
            _HF
            | {
                "consolidated.safetensors": 14_500 * _MB,
                "params.json": 200,
                "tokenizer.model": 587_000,
                "tokenizer.model.v3": 587_000,
            },
            _parts("model", 3, 14_500),
        ),
        takes=("tokenizer.model", "tokenizer.model.v3"),
        leaves=("consolidated*", "params.json"),
    ),
    Popular(
        "mistralai/Mixtral-8x7B-v0.1",
        _indexed(
            _HF
            | {"tokenizer.model": 493_000}
            | {f"consolidated.{number:02}.pt": 11_700 * _MB for number in range(8)},
            _parts("model", 19, 93_400),
        ),
        takes=("tokenizer.model",),
        leaves=("*.pt",),
    ),
    Popular(
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
        _indexed(
            _SMALL
            | {
                "SYSTEM_PROMPT.txt": 2_000,
                "chat_template.jinja": 6_000,
                "consolidated.safetensors": 48_000 * _MB,
                "params.json": 1_000,
                "tekken.json": 19 * _MB,
            },
            _parts("model", 10, 48_000),
        ),
        takes=("SYSTEM_PROMPT.txt", "tekken.json"),
        leaves=("consolidated*", "params.json"),
    ),
    Popular(
        "mistralai/Pixtral-12B-2409",
        repository(
            {
                "README.md": 9_000,
                "consolidated.safetensors": 25_400 * _MB,
                "params.json": 500,
                "tekken.json": 15 * _MB,
            }
        ),
        takes=("consolidated.safetensors", "params.json", "tekken.json"),
    ),
    Popular(
        "mistralai/Mistral-Large-3 (Mistral's layout alone)",
        _indexed(
            {"params.json": 2_000, "tekken.json": 17 * _MB}, _parts("consolidated", 6, 400_000)
        ),
        takes=("params.json", "consolidated.safetensors.index.json"),
    ),
    Popular(
        "Qwen/Qwen2.5-7B-Instruct",
        _indexed(_HF | _BPE, _parts("model", 4, 15_231)),
        takes=("merges.txt", "vocab.json"),
    ),
    Popular("Qwen/Qwen2.5-7B-Instruct-AWQ", _indexed(_HF | _BPE, _parts("model", 2, 5_570))),
    Popular(
        "Qwen/Qwen2.5-Omni-7B",
        _indexed(
            _HF | _BPE | {"preprocessor_config.json": 600, "spk_dict.pt": 259_544},
            _parts("model", 5, 22_400),
        ),
        leaves=("*.pt",),
    ),
    Popular(
        "Qwen/Qwen2.5-Omni-7B, --allow-unsafe",
        _indexed(
            _HF | _BPE | {"preprocessor_config.json": 600, "spk_dict.pt": 259_544},
            _parts("model", 5, 22_400),
        ),
        takes=("spk_dict.pt",),
        options=_UNSAFE,
    ),
    Popular(
        "a GPTQ model in one file",
        repository(
            _HF | {"gptq_model-4bit-128g.safetensors": 4_160 * _MB, "quantize_config.json": 200}
        ),
        takes=("gptq_model-4bit-128g.safetensors", "quantize_config.json"),
    ),
    Popular(
        "Qwen/Qwen2.5-7B-Instruct-GGUF, *q4_k_m*",
        _QWEN_GGUF,
        takes=("LICENSE", "qwen2.5-7b-instruct-q4_k_m-00002-of-00002.gguf"),
        leaves=("*q8*", "*fp16*"),
        options={"include": ["*q4_k_m*"]},
    ),
    Popular("deepseek-ai/DeepSeek-V3", _DEEPSEEK_V3, leaves=("*.py", "figures/*")),
    Popular(
        "deepseek-ai/DeepSeek-V3, --allow-unsafe",
        _DEEPSEEK_V3,
        takes=("configuration_deepseek.py", "modeling_deepseek.py"),
        leaves=("figures/*",),
        options=_UNSAFE,
    ),
    Popular(
        "openai/gpt-oss-20b",
        _gpt_oss(3, 13_760),
        takes=("LICENSE", "USAGE_POLICY", "chat_template.jinja"),
        leaves=("metal/*", "original/*"),
    ),
    Popular(
        "openai/gpt-oss-120b",
        _gpt_oss(15, 65_250),
        takes=("USAGE_POLICY",),
        leaves=("metal/*", "original/*"),
    ),
    Popular(
        "microsoft/Phi-3-mini-4k-instruct", _PHI_3, takes=("tokenizer.model",), leaves=("*.py",)
    ),
    Popular(
        "microsoft/Phi-3-mini-4k-instruct, --allow-unsafe",
        _PHI_3,
        takes=("modeling_phi3.py",),
        options=_UNSAFE,
    ),
    Popular(
        "microsoft/Phi-4-multimodal-instruct, --allow-unsafe",
        _indexed(
            _HF
            | _code("phi4mm")
            | {
                "examples/what_is_shown.wav": 800_000,
                "phi_4_mm.tech_report.02252025.pdf": 2 * _MB,
                "processing_phi4mm.py": 30_000,
                "processor_config.json": 200,
                "speech-lora/adapter_config.json": 700,
                "speech-lora/adapter_model.safetensors": 922 * _MB,
                "vision-lora/adapter_config.json": 700,
                "vision-lora/adapter_model.safetensors": 739 * _MB,
            },
            _parts("model", 3, 11_150),
            _auto_map("phi4mm", architectures=["Phi4MMForCausalLM"], model_type="phi4mm")
            | {
                "processor_config.json": json.dumps(
                    {"auto_map": {"AutoProcessor": "processing_phi4mm.Phi4MMProcessor"}}
                )
            },
        ),
        takes=(
            "processing_phi4mm.py",
            "speech-lora/adapter_model.safetensors",
            "vision-lora/adapter_config.json",
        ),
        leaves=("*.pdf", "*.wav"),
        options=_UNSAFE,
    ),
    Popular(
        "google/gemma-3-4b-it",
        _indexed(
            _HF
            | {
                "added_tokens.json": 30,
                "chat_template.json": 1_000,
                "preprocessor_config.json": 500,
                "processor_config.json": 70,
                "tokenizer.model": 4_700_000,
            },
            _parts("model", 2, 8_600),
        ),
        takes=("added_tokens.json", "processor_config.json", "tokenizer.model"),
    ),
    Popular(
        "google/gemma-2b-it",
        _indexed(
            _HF | {"gemma-2b-it.gguf": 10_030 * _MB, "tokenizer.model": 4_200_000},
            _parts("model", 2, 5_010),
        ),
        leaves=("*.gguf",),
    ),
    Popular(
        "nvidia/Llama-3_3-Nemotron-Super-49B-v1, --allow-unsafe",
        _indexed(
            _HF
            | _code("decilm")
            | {"block_config.py": 3_000, "llama_nemotron_toolcall_parser_no_streaming.py": 4_000},
            _parts("model", 21, 99_700),
            _auto_map("decilm", architectures=["DeciLMForCausalLM"], model_type="nemotron-nas"),
        ),
        takes=("block_config.py", "llama_nemotron_toolcall_parser_no_streaming.py"),
        options=_UNSAFE,
    ),
    Popular(
        "moonshotai/Kimi-K2-Instruct, --allow-unsafe",
        _KIMI_K2,
        takes=("tiktoken.model", "tokenization_kimi.py"),
        options=_UNSAFE,
    ),
    Popular(
        "zai-org/GLM-4.5",
        _indexed(_HF | {"chat_template.jinja": 3_000}, _parts("model", 93, 716_700)),
        takes=("chat_template.jinja",),
    ),
    Popular(
        "MiniMaxAI/MiniMax-M2 (parts from 0)",
        _indexed(_HF, _parts("model", 130, 230_000, first=0)),
    ),
    Popular(
        "OpenGVLab/InternVL3-8B, --allow-unsafe",
        _indexed(
            _HF
            | _BPE
            | _code("internvl_chat")
            | {"conversation.py": 10_000, "examples/red-panda.mp4": 2 * _MB},
            _parts("model", 4, 15_900),
            _auto_map("internvl_chat", architectures=["InternVLChatModel"]),
        ),
        takes=("conversation.py",),
        leaves=("*.mp4",),
        options=_UNSAFE,
    ),
    Popular(
        "openai/whisper-large-v3",
        repository(
            _HF
            | {
                "flax_model.msgpack": 6_174 * _MB,
                "model.fp32-00001-of-00002.safetensors": 4_993 * _MB,
                "model.fp32-00002-of-00002.safetensors": 1_181 * _MB,
                "model.safetensors": 3_087 * _MB,
                "model.safetensors.index.fp32.json": 118_000,
                "normalizer.json": 53_000,
                "preprocessor_config.json": 340,
                "pytorch_model.bin": 3_087 * _MB,
                "pytorch_model.fp32-00001-of-00002.bin": 4_993 * _MB,
                "pytorch_model.fp32-00002-of-00002.bin": 1_181 * _MB,
                "pytorch_model.bin.index.fp32.json": 118_000,
            },
            {
                f"{name}.index.fp32.json": index(
                    *(f"{stem}.fp32-0000{n}-of-00002.{ending}" for n in (1, 2))
                )
                for name, stem, ending in (
                    ("model.safetensors", "model", "safetensors"),
                    ("pytorch_model.bin", "pytorch_model", "bin"),
                )
            },
        ),
        takes=("model.safetensors", "normalizer.json"),
        leaves=("*fp32*",),
    ),
    Popular(
        "BAAI/bge-small-en-v1.5",
        repository(
            _HF
            | {
                "1_Pooling/config.json": 190,
                "config_sentence_transformers.json": 100,
                "model.safetensors": 133 * _MB,
                "modules.json": 300,
                "onnx/model.onnx": 133 * _MB,
                "pytorch_model.bin": 133 * _MB,
                "sentence_bert_config.json": 50,
                "vocab.txt": 230_000,
            }
        ),
        takes=("1_Pooling/config.json", "modules.json", "vocab.txt"),
        leaves=("onnx/*", "*.bin"),
    ),
    Popular(
        "intfloat/multilingual-e5-large",
        repository(
            _HF
            | {
                "1_Pooling/config.json": 200,
                "model.safetensors": 2_240 * _MB,
                "modules.json": 300,
                "onnx/model.onnx": 546_000,
                "onnx/model.onnx_data": 2_235 * _MB,
                "onnx/sentencepiece.bpe.model": 5 * _MB,
                "pytorch_model.bin": 2_240 * _MB,
                "sentencepiece.bpe.model": 5 * _MB,
            }
        ),
        takes=("sentencepiece.bpe.model",),
        leaves=("onnx/*",),
    ),
    Popular(
        "google/embeddinggemma-300m",
        repository(
            _HF
            | {
                "1_Pooling/config.json": 100,
                "2_Dense/config.json": 100,
                "2_Dense/model.safetensors": 9_400_000,
                "3_Dense/config.json": 100,
                "3_Dense/model.safetensors": 9_400_000,
                "model.safetensors": 1_211 * _MB,
                "modules.json": 500,
                "tokenizer.model": 4_700_000,
            }
        ),
        takes=("2_Dense/model.safetensors", "3_Dense/model.safetensors"),
    ),
    Popular(
        "google-bert/bert-base-uncased",
        repository(
            _HF
            | {
                "coreml/fill-mask/float32_model.mlpackage/Data/weights/weight.bin": 532 * _MB,
                "flax_model.msgpack": 438 * _MB,
                "model.onnx": 532 * _MB,
                "model.safetensors": 440 * _MB,
                "pytorch_model.bin": 440 * _MB,
                "rust_model.ot": 534 * _MB,
                "tf_model.h5": 536 * _MB,
                "vocab.txt": 232_000,
            }
        ),
        takes=("vocab.txt",),
        leaves=("*.h5", "coreml/*"),
    ),
    Popular(
        "google/flan-t5-xl",
        _indexed(
            _HF
            | _parts("pytorch_model", 2, 11_400, ending="bin")
            | _parts("tf_model", 2, 11_400, ending="h5")
            | {
                "flax_model-00001-of-00002.msgpack": 9_500 * _MB,
                "flax_model-00002-of-00002.msgpack": 1_900 * _MB,
                "flax_model.msgpack.index.json": 50_000,
                "pytorch_model.bin.index.json": 50_000,
                "spiece.model": 792_000,
                "tf_model.h5.index.json": 60_000,
            },
            _parts("model", 2, 11_400),
            {
                "pytorch_model.bin.index.json": index(
                    *_parts("pytorch_model", 2, 11_400, ending="bin")
                )
            },
        ),
        takes=("spiece.model",),
        leaves=("*.bin", "*.h5", "*.msgpack"),
    ),
    Popular(
        "a LoRA adapter with its checkpoints",
        repository(
            {
                "README.md": 5_000,
                "adapter_config.json": 700,
                "adapter_model.bin": 100 * _MB,
                "adapter_model.safetensors": 100 * _MB,
                "checkpoint-500/adapter_config.json": 700,
                "checkpoint-500/adapter_model.safetensors": 100 * _MB,
                "checkpoint-500/optimizer.pt": 200 * _MB,
                "tokenizer.json": 2 * _MB,
                "training_args.bin": 5_000,
            }
        ),
        takes=("adapter_config.json", "adapter_model.safetensors"),
        leaves=("*.bin", "checkpoint*"),
    ),
    Popular(
        "stabilityai/stable-diffusion-xl-base-1.0",
        repository(
            {
                "model_index.json": 609,
                "scheduler/scheduler_config.json": 500,
                "sd_xl_base_1.0.safetensors": 6_938 * _MB,
                "sd_xl_base_1.0_0.9vae.safetensors": 6_938 * _MB,
                "text_encoder/config.json": 565,
                "text_encoder/flax_model.msgpack": 492 * _MB,
                "text_encoder/model.fp16.safetensors": 246 * _MB,
                "text_encoder/model.onnx": 492 * _MB,
                "text_encoder/model.safetensors": 492 * _MB,
                "text_encoder_2/config.json": 575,
                "text_encoder_2/model.fp16.safetensors": 1_390 * _MB,
                "text_encoder_2/model.safetensors": 2_779 * _MB,
                "tokenizer/merges.txt": 525_000,
                "tokenizer/vocab.json": 1_060_000,
                "unet/config.json": 1_680,
                "unet/diffusion_pytorch_model.fp16.safetensors": 5_135 * _MB,
                "unet/diffusion_pytorch_model.safetensors": 10_270 * _MB,
                "vae/config.json": 642,
                "vae/diffusion_pytorch_model.fp16.safetensors": 167 * _MB,
                "vae/diffusion_pytorch_model.safetensors": 335 * _MB,
                "vae_1_0/config.json": 607,
                "vae_1_0/diffusion_pytorch_model.fp16.safetensors": 167 * _MB,
                "vae_1_0/diffusion_pytorch_model.safetensors": 335 * _MB,
            },
            {
                "model_index.json": json.dumps(
                    {
                        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                        "text_encoder": ["transformers", "CLIPTextModel"],
                        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
                        "tokenizer": ["transformers", "CLIPTokenizer"],
                        "unet": ["diffusers", "UNet2DConditionModel"],
                        "vae": ["diffusers", "AutoencoderKL"],
                    }
                )
            },
        ),
        takes=("tokenizer/vocab.json", "unet/diffusion_pytorch_model.safetensors"),
        leaves=("*.fp16.*", "sd_xl*", "vae_1_0/*.safetensors"),
    ),
    Popular(
        "bartowski/Llama-3.3-70B-Instruct-GGUF, *Q4_K_M*",
        _LLAMA_70B_GGUF,
        takes=("Llama-3.3-70B-Instruct-Q4_K_M.gguf",),
        leaves=("*Q8*", "*f16*"),
        options={"include": ["*Q4_K_M*"]},
    ),
    Popular(
        "bartowski/Llama-3.3-70B-Instruct-GGUF, *Q8_0*",
        _LLAMA_70B_GGUF,
        takes=("Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0-00002-of-00002.gguf",),
        leaves=("*Q4*",),
        options={"include": ["*Q8_0*"]},
    ),
    Popular(
        "TheBloke/Mistral-7B-Instruct-v0.2-GGUF, *Q4_K_M*",
        repository(
            {"README.md": 30_000, "config.json": 30}
            | {
                f"mistral-7b-instruct-v0.2.{name}.gguf": megabytes * _MB
                for name, megabytes in (("Q2_K", 3_083), ("Q4_K_M", 4_368), ("Q8_0", 7_696))
            }
        ),
        takes=("mistral-7b-instruct-v0.2.Q4_K_M.gguf",),
        leaves=("*Q8*",),
        options={"include": ["*Q4_K_M*"]},
    ),
    Popular(
        "ggml-org/gemma-3-4b-it-GGUF, *Q4_K_M*",
        repository(
            {
                "gemma-3-4b-it-Q4_K_M.gguf": 2_490 * _MB,
                "gemma-3-4b-it-Q8_0.gguf": 4_130 * _MB,
                "gemma-3-4b-it-f16.gguf": 7_767 * _MB,
                "mmproj-model-f16.gguf": 851 * _MB,
            }
        ),
        takes=("mmproj-model-f16.gguf",),
        leaves=("*Q8*",),
        options={"include": ["*Q4_K_M*"]},
    ),
    Popular(
        "unsloth/Qwen3-235B-A22B-GGUF, *UD-Q4_K_XL*",
        repository(
            {"Qwen3-235B-A22B-UD-Q2_K_XL.gguf": 88_000 * _MB, "config.json": 1_000}
            | _parts("Q4_K_M/Qwen3-235B-A22B-Q4_K_M", 3, 142_000, ending="gguf")
            | _parts("UD-Q4_K_XL/Qwen3-235B-A22B-UD-Q4_K_XL", 3, 134_000, ending="gguf")
        ),
        takes=("UD-Q4_K_XL/Qwen3-235B-A22B-UD-Q4_K_XL-00003-of-00003.gguf",),
        leaves=("Q4_K_M/*",),
        options={"include": ["*UD-Q4_K_XL*"]},
    ),
)
