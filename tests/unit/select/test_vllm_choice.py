"""What vLLM needs of a repository."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.repository_listings import (
    BINS_ONLY,
    GB,
    GPT2,
    LLAMA_8B,
    MISTRAL_7B,
    MISTRAL_FORMAT,
    index,
    parts,
    paths,
    reasons,
    repository,
    select_from,
)

from modelshelf.select import needed_texts, servable
from modelshelf.shelf.errors import IntegrityError, NotFoundError, RefusedError, UsageError


def test_mistral_7b_is_pulled_once() -> None:
    """Of the two copies in Mistral-7B-Instruct-v0.3, the one in transformers' layout is taken."""
    selection = select_from(MISTRAL_7B)
    left = {".gitattributes", "consolidated.safetensors", "params.json"}
    assert paths(selection) == {f.path for f in MISTRAL_7B.files} - left
    assert reasons(selection) == {
        "a second copy of the weights": 1,
        "the configuration of a second copy of the weights": 1,
        "not needed to serve": 1,
    }
    assert selection.left_out[0].bytes == 14_500_000_000
    assert selection.engine == "vllm"


def test_the_original_folder_of_llama_is_left_out() -> None:
    """The folder `original` repeats the whole model and is left out."""
    selection = select_from(LLAMA_8B)
    assert not any(path.startswith("original/") for path in paths(selection))
    assert {"LICENSE", "USE_POLICY.md", "README.md", "model.safetensors.index.json"} <= paths(
        selection
    )
    assert reasons(selection)["a second copy of the weights"] == 1


def test_a_repository_in_mistrals_layout_alone_keeps_it() -> None:
    """Without files in transformers' layout, the consolidated ones are taken."""
    assert paths(select_from(MISTRAL_FORMAT)) == {
        "README.md",
        "SYSTEM_PROMPT.txt",
        "consolidated.safetensors",
        "params.json",
        "tekken.json",
    }


def test_gpt2_is_pulled_in_one_format_of_six() -> None:
    """A single model.safetensors needs no index, and every other format is left out."""
    selection = select_from(GPT2)
    assert paths(selection) == {
        "README.md",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    }
    assert reasons(selection) == {"a second copy of the weights": 7, "not needed to serve": 2}


def test_a_missing_part_makes_the_second_copy_the_first() -> None:
    """If the index of a copy names a missing part, a complete copy is taken instead."""
    selection = select_from(MISTRAL_7B.without("model-00002-of-00003.safetensors"))
    assert "consolidated.safetensors" in paths(selection)
    assert not any(path.startswith("model-") for path in paths(selection))
    assert "model.safetensors.index.json" not in paths(selection)
    assert reasons(selection)["weights that are not complete"] == 3


def test_a_missing_part_without_a_second_copy_is_named() -> None:
    """If no copy is complete, the error names the missing part."""
    with pytest.raises(NotFoundError, match=r"model-00004-of-00004\.safetensors is missing"):
        select_from(LLAMA_8B.without("model-00004-of-00004.safetensors"))


def test_parts_without_an_index_do_not_replace_pickles() -> None:
    """Numbered parts without an index prove nothing, so the pickles count as needed."""
    repo = BINS_ONLY.with_files(dict.fromkeys(parts("model", 2), GB))
    with pytest.raises(RefusedError, match=r"pytorch_model-00001-of-00002\.bin"):
        select_from(repo)


def test_parts_without_an_index_are_taken_when_there_is_nothing_else() -> None:
    """All numbered parts without an index are enough if there is no other copy."""
    repo = repository({"config.json": 1} | dict.fromkeys(parts("model", 3), GB))
    assert paths(select_from(repo)) == {"config.json", *parts("model", 3)}
    with pytest.raises(NotFoundError, match=r"model-00003-of-00003\.safetensors is missing"):
        select_from(repo.without("model-00003-of-00003.safetensors"))


def test_pickled_weights_are_refused_by_name() -> None:
    """A repository that has only pickles is refused, and the hint says what to do."""
    with pytest.raises(RefusedError, match=r"pytorch_model-00001-of-00002\.bin") as raised:
        select_from(BINS_ONLY)
    assert raised.value.exit_code == 14
    assert "--allow-unsafe" in raised.value.hint


def test_allowed_pickles_are_the_weights_and_no_more() -> None:
    """With --allow-unsafe the pickled weights are taken, but no files left over from training."""
    selection = select_from(BINS_ONLY, allow_unsafe=True)
    assert {"pytorch_model.bin.index.json", *parts("pytorch_model", 2, ".bin")} <= paths(selection)
    assert "training_args.bin" not in paths(selection)
    assert reasons(selection)["pickles that nothing chosen needs"] == 1


def test_pickles_are_needed_where_safetensors_lack_a_part() -> None:
    """If only the pickles are complete, they are needed and refused."""
    repo = BINS_ONLY.with_files(
        {"model.safetensors.index.json": 1, parts("model", 2)[0]: GB},
        {"model.safetensors.index.json": index(*parts("model", 2))},
    )
    with pytest.raises(RefusedError):
        select_from(repo)
    taken = paths(select_from(repo, allow_unsafe=True))
    assert parts("model", 2)[0] not in taken
    assert set(parts("pytorch_model", 2, ".bin")) <= taken


def test_a_stale_index_does_not_hide_a_whole_file() -> None:
    """An outdated index is ignored if there is a complete model.safetensors."""
    repo = repository(
        {"config.json": 1, "model.safetensors": GB, "model.safetensors.index.json": 1},
        {"model.safetensors.index.json": index(*parts("model", 2))},
    )
    assert "model.safetensors" in paths(select_from(repo))


def test_an_indexed_set_wins_over_a_single_file_of_its_name() -> None:
    """Of two complete safetensors copies, the one with an index is taken."""
    repo = MISTRAL_7B.with_files({"model.safetensors": 14 * GB})
    selection = select_from(repo)
    assert "model.safetensors" not in paths(selection)
    assert reasons(selection)["a second copy of the weights"] == 2


def test_a_head_in_safetensors_does_not_replace_the_model() -> None:
    """A small safetensors file of another name does not replace pytorch_model.bin."""
    repo = repository({"config.json": 1, "pytorch_model.bin": GB, "value_head.safetensors": 5})
    with pytest.raises(RefusedError, match=r"pytorch_model\.bin"):
        select_from(repo)


def test_an_adapter_is_enough_in_safetensors() -> None:
    """adapter_model.bin is a second copy of adapter_model.safetensors."""
    repo = repository(
        {"adapter_config.json": 1, "adapter_model.bin": 9, "adapter_model.safetensors": 9}
    )
    assert paths(select_from(repo)) == {"adapter_config.json", "adapter_model.safetensors"}


def test_modules_of_a_sentence_transformer_are_taken() -> None:
    """The numbered folders of sentence-transformers belong to the model; exports of it do not."""
    repo = repository(
        {
            "1_Pooling/config.json": 190,
            "2_Dense/config.json": 110,
            "2_Dense/model.safetensors": 2_000,
            "2_Dense/pytorch_model.bin": 2_000,
            "config.json": 600,
            "config_sentence_transformers.json": 120,
            "model.safetensors": GB,
            "modules.json": 350,
            "openvino/openvino_model.bin": GB,
            "openvino/openvino_model.xml": 200_000,
            "pytorch_model.bin": GB,
        }
    )
    assert paths(select_from(repo)) == {
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
    }


def test_a_module_in_a_pickle_alone_is_refused() -> None:
    """The weights of a required module are judged as those of the model itself."""
    repo = repository(
        {
            "2_Dense/pytorch_model.bin": 2_000,
            "config.json": 1,
            "model.safetensors": GB,
            "modules.json": 1,
        }
    )
    with pytest.raises(RefusedError, match=r"2_Dense/pytorch_model\.bin"):
        select_from(repo)


def test_components_of_a_pipeline_must_be_whole() -> None:
    """Each component folder of a diffusers pipeline is judged as a model of its own."""
    sizes = {
        "model_index.json": 500,
        "text_encoder/config.json": 700,
        "text_encoder/model.safetensors": GB,
        "text_encoder/pytorch_model.bin": GB,
        "unet/config.json": 900,
        "unet/diffusion_pytorch_model.bin": 3 * GB,
        "unet/diffusion_pytorch_model.safetensors": 3 * GB,
        "vae/config.json": 500,
        "vae/diffusion_pytorch_model.bin": GB,
    }
    with pytest.raises(RefusedError, match=r"vae/diffusion_pytorch_model\.bin"):
        select_from(repository(sizes))
    sizes["vae/diffusion_pytorch_model.safetensors"] = GB
    taken = paths(select_from(repository(sizes)))
    assert taken == {path for path in sizes if not path.endswith(".bin")}


def test_extra_folders_bring_safetensors_and_no_pickles() -> None:
    """The safe files of an optional folder are taken, and its unsafe files are ignored."""
    repo = repository(
        {
            "config.json": 1,
            "model.safetensors": GB,
            "checkpoint-500/model.safetensors": GB,
            "checkpoint-500/optimizer.pt": 2 * GB,
            "speech-lora/adapter_config.json": 1,
            "speech-lora/adapter_model.safetensors": 5,
            "extra/pytorch_model.bin": 7,
        }
    )
    selection = select_from(repo)
    assert paths(selection) == {
        "config.json",
        "model.safetensors",
        "speech-lora/adapter_config.json",
        "speech-lora/adapter_model.safetensors",
    }


WHISPER = repository(
    {
        "config.json": 1_272,
        "flax_model.msgpack": 6_174_007_324,
        "model.fp32-00001-of-00002.safetensors": 4_993_448_880,
        "model.fp32-00002-of-00002.safetensors": 1_180_663_192,
        "model.safetensors": 3_087_130_976,
        "model.safetensors.index.fp32.json": 117_893,
        "normalizer.json": 52_666,
        "pytorch_model.bin": 3_087_394_553,
    },
    {
        "model.safetensors.index.fp32.json": index(
            "model.fp32-00001-of-00002.safetensors", "model.fp32-00002-of-00002.safetensors"
        )
    },
)


def test_a_variant_is_left_out_beside_the_main_weights() -> None:
    """The index of a variant does not hide the main file, and the variant is not taken."""
    selection = select_from(WHISPER)
    assert paths(selection) == {"config.json", "model.safetensors", "normalizer.json"}
    assert reasons(selection)["variants of the weights that were not asked for"] == 3


def test_a_variant_is_taken_when_it_is_asked_for() -> None:
    """A glob that names a variant takes it with its index, and not the main weights."""
    selection = select_from(WHISPER, include=["config.json", "*fp32*"])
    assert paths(selection) == {
        "config.json",
        "model.fp32-00001-of-00002.safetensors",
        "model.fp32-00002-of-00002.safetensors",
        "model.safetensors.index.fp32.json",
    }


@pytest.mark.parametrize(
    ("names", "variant_index"),
    [
        (["model.fp16.safetensors"], ""),
        (parts("model.fp16", 2), "model.safetensors.index.fp16.json"),
        (parts("model", 2, ".fp16.safetensors"), "model.safetensors.fp16.index.json"),
        (parts("model", 2, ".fp16.safetensors"), "model.fp16.safetensors.index.json"),
    ],
)
def test_a_variant_has_one_meaning_in_every_spelling(names: list[str], variant_index: str) -> None:
    """A variant is taken whole if it is the only copy, and left out whole beside another one."""
    sizes = dict.fromkeys(names, GB) | ({variant_index: 1} if variant_index else {})
    texts = {variant_index: index(*names)} if variant_index else {}
    alone = repository({"config.json": 1} | sizes, texts)
    assert paths(select_from(alone)) == {"config.json", *sizes}
    selection = select_from(alone.with_files({"model.safetensors": GB}))
    assert paths(selection) == {"config.json", "model.safetensors"}
    assert reasons(selection) == {"variants of the weights that were not asked for": len(sizes)}


def test_several_variants_without_main_weights_need_a_choice() -> None:
    """If there are several variants and no main weights, the error lists them."""
    names = {"model.bf16.safetensors", "model.fp16.safetensors"}
    repo = repository({"config.json": 1} | dict.fromkeys(names, GB))
    with pytest.raises(UsageError, match=r"model\.bf16\.safetensors, model\.fp16\.safetensors"):
        select_from(repo)
    assert paths(select_from(repo, exclude=["*.bf16.*"])) == {
        "config.json",
        "model.fp16.safetensors",
    }


@pytest.mark.parametrize(
    ("numbers", "total", "width"),
    [(range(2), 2, 5), (range(3), 2, 5), (range(1, 3), 2, 6), (range(1, 12), 11, 1)],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_parts_may_be_numbered_from_zero_and_in_any_width(
    numbers: range,
    total: int,
    width: int,
    indexed: bool,  # noqa: FBT001
) -> None:
    """Parts 0 to N-1, 0 to N and 1 to N of N are whole, and a missing one is named."""
    names = [f"model-{n:0{width}}-of-{total:0{width}}.safetensors" for n in numbers]
    sizes = dict.fromkeys(names, GB) | {"config.json": 1}
    if indexed:
        sizes["model.safetensors.index.json"] = 1
    repo = repository(sizes, {"model.safetensors.index.json": index(*names)})
    files = select_from(repo).files
    assert {file.path for file in files} == set(sizes)
    assert servable(files, "vllm")
    with pytest.raises(NotFoundError, match=f"{names[1]} is missing"):
        select_from(repo.without(names[1]))


def test_a_stale_index_does_not_hide_a_whole_numbered_set() -> None:
    """If an index names parts that are gone, the numbered parts that are there are taken.

    The index is left out, because vLLM would look for the parts that it names.
    """
    repo = repository(
        {"config.json": 1, "model.safetensors.index.json": 1}
        | dict.fromkeys(parts("model", 2), GB),
        {"model.safetensors.index.json": index(*parts("model", 3))},
    )
    selection = select_from(repo)
    assert paths(selection) == {"config.json", *parts("model", 2)}
    assert reasons(selection) == {"indexes of files that are not there": 1}


def test_of_two_splits_the_one_in_the_index_is_taken() -> None:
    """If the same weights are split in two ways, the index decides; without one, one is taken."""
    repo = repository(
        {"config.json": 1, "model.safetensors.index.json": 1}
        | dict.fromkeys([*parts("model", 2), *parts("model", 4)], GB),
        {"model.safetensors.index.json": index(*parts("model", 4))},
    )
    taken = paths(select_from(repo))
    assert taken == {"config.json", "model.safetensors.index.json", *parts("model", 4)}
    taken = paths(select_from(repo.without("model.safetensors.index.json")))
    assert taken == {"config.json", *parts("model", 2)}


@pytest.mark.parametrize(
    ("folder", "extra"),
    [
        ("checkpoint-500", ""),
        ("ckpt_20", ""),
        ("global-step-1000", ""),
        ("epoch3", ""),
        ("run/step_7", ""),
        ("best", "trainer_state.json"),
        ("best", "optimizer.pt"),
        ("best", "rng_state_0.pth"),
        ("best", "zero_to_fp32.py"),
    ],
)
def test_checkpoints_of_the_training_are_left_out(folder: str, extra: str) -> None:
    """A folder with a checkpoint is left out, by its name or by the files of a trainer in it."""
    inside = {f"{folder}/model.safetensors": GB, f"{folder}/config.json": 1}
    if extra:
        inside[f"{folder}/{extra}"] = 1
    selection = select_from(repository({"config.json": 1, "model.safetensors": GB} | inside))
    assert paths(selection) == {"config.json", "model.safetensors"}


def test_a_folder_with_the_same_architecture_is_another_state_of_the_model() -> None:
    """A folder whose configuration names the architecture of the top folder's is left out."""
    same, other = (json.dumps({"architectures": [name]}) for name in ("XForCausalLM", "Encoder"))
    repo = repository(
        {
            "config.json": 1,
            "encoder/config.json": 1,
            "encoder/model.safetensors": GB,
            "fp8/config.json": 1,
            "fp8/model.safetensors": GB,
            "model.safetensors": GB,
        },
        {"config.json": same, "encoder/config.json": other, "fp8/config.json": same},
    )
    selection = select_from(repo)
    assert paths(selection) == {
        "config.json",
        "encoder/config.json",
        "encoder/model.safetensors",
        "model.safetensors",
    }
    assert reasons(selection) == {"checkpoints of the training": 2}


SDXL = repository(
    {
        "model_index.json": 609,
        "sd_xl_base_1.0.safetensors": 6_938_078_334,
        "text_encoder/config.json": 565,
        "text_encoder/model.fp16.safetensors": 246_144_152,
        "text_encoder/model.safetensors": 492_265_168,
        "unet/config.json": 1_680,
        "unet/diffusion_pytorch_model.fp16.safetensors": 5_135_149_760,
        "unet/diffusion_pytorch_model.safetensors": 10_270_077_736,
        "vae/config.json": 642,
        "vae/diffusion_pytorch_model.safetensors": 334_643_268,
        "vae_1_0/config.json": 607,
        "vae_1_0/diffusion_pytorch_model.safetensors": 334_643_268,
    },
    {
        "model_index.json": json.dumps(
            {
                "_class_name": "StableDiffusionXLPipeline",
                "force_zeros_for_empty_prompt": True,
                "text_encoder": ["transformers", "CLIPTextModel"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            }
        )
    },
)


def test_a_pipeline_is_one_copy_of_each_component() -> None:
    """Of a pipeline the components are taken once: no variant, single file or other folder."""
    selection = select_from(SDXL)
    assert {path for path in paths(selection) if path.endswith(".safetensors")} == {
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert reasons(selection) == {
        "a second copy of the weights": 2,
        "variants of the weights that were not asked for": 2,
    }


def test_a_small_pickle_beside_the_weights_is_named() -> None:
    """A pickle that is no copy of the weights is named, and taken with --allow-unsafe."""
    repo = repository(
        {
            "config.json": 1,
            "model.safetensors": GB,
            "pytorch_model.bin": GB,
            "spk_dict.pt": 259_544,
            "training_args.bin": 5_000,
        }
    )
    selection = select_from(repo)
    assert paths(selection) == {"config.json", "model.safetensors"}
    named = "spk_dict.pt, a pickle that the model's code may read: --allow-unsafe takes it"
    assert reasons(selection)[named] == 1
    taken = paths(select_from(repo, allow_unsafe=True))
    assert taken == {"config.json", "model.safetensors", "spk_dict.pt"}


def test_an_adapter_beside_a_whole_model_is_left_out() -> None:
    """An adapter and its configuration are left out where the folder has the whole model."""
    repo = repository(
        {
            "adapter_config.json": 1,
            "adapter_model.safetensors": 9,
            "config.json": 1,
            "model.safetensors": GB,
        }
    )
    selection = select_from(repo)
    assert paths(selection) == {"config.json", "model.safetensors"}
    assert reasons(selection) == {"adapters beside the whole model": 2}


def test_what_macos_leaves_beside_files_is_no_weights() -> None:
    """AppleDouble files have the names of weights and texts, and are neither."""
    repo = repository(
        {
            "._config.json": 4_096,
            "._model.safetensors": 4_096,
            "config.json": 1,
            "model.safetensors": GB,
        }
    )
    assert paths(select_from(repo)) == {"config.json", "model.safetensors"}
    gguf = repository({"._m-Q8_0.gguf": 4_096, "m-Q8_0.gguf": GB})
    assert paths(select_from(gguf)) == {"m-Q8_0.gguf"}


def test_texts_with_unusable_names_are_left_out() -> None:
    """A text that some systems could not store is left out; weights with such names stay."""
    repo = repository(
        {
            "README.md": 1,
            "Readme.md": 1,
            "aux/notes.json": 1,
            "config.json": 1,
            "eval/results_2024-04-17T11:45:32.json": 1,
            "model.safetensors": GB,
        }
    )
    selection = select_from(repo)
    assert paths(selection) == {"README.md", "config.json", "model.safetensors"}
    assert reasons(selection) == {"texts with names that some systems do not allow": 3}
    odd = repository({"config.json": 1, "model:v2.safetensors": GB})
    assert "model:v2.safetensors" in paths(select_from(odd))


@pytest.mark.parametrize(
    "name",
    [
        "added_tokens.json",
        "bpe.codes",
        "merges.txt",
        "qwen.tiktoken",
        "sentencepiece.bpe.model",
        "source.spm",
        "tekken.json",
        "tiktoken.model",
        "tokenizer.model.v3",
        "vocab.bpe",
        "vocab.txt",
    ],
)
def test_the_files_of_every_tokenizer_are_taken(name: str) -> None:
    """A tokenizer's file is taken, whatever its kind."""
    repo = repository({"config.json": 1, "model.safetensors": GB, name: 1})
    assert name in paths(select_from(repo))


def test_no_weights_for_vllm_says_what_there_is() -> None:
    """A repository that has only another format is an error that names the format."""
    repo = repository({"config.json": 1, "model.onnx": GB})
    with pytest.raises(NotFoundError, match=r"no weights here that vLLM reads, only \.onnx"):
        select_from(repo)
    assert paths(select_from(repo, all_files=True)) == {"config.json", "model.onnx"}


@pytest.mark.parametrize("name", ["../model.safetensors", "sub/model.safetensors", "..", "a\\b"])
def test_an_index_that_leads_elsewhere_is_refused(name: str) -> None:
    """An index that names a file outside its folder is refused."""
    repo = repository(
        {"config.json": 1, "model.safetensors.index.json": 1, "model.safetensors": 1},
        {"model.safetensors.index.json": index(name)},
    )
    with pytest.raises(RefusedError, match="is not in the folder of the index"):
        select_from(repo)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {"a": 1}}', "[" * 100_000])
def test_an_index_without_a_weight_map_is_damaged(text: str) -> None:
    """A file that cannot be read as an index is an integrity error, never a crash."""
    repo = repository(
        {"config.json": 1, "model.safetensors.index.json": 1},
        {"model.safetensors.index.json": text},
    )
    with pytest.raises(IntegrityError, match="is not an index of weights"):
        select_from(repo)


def test_needed_texts_are_indexes_and_configurations() -> None:
    """Only texts that affect the choice are needed, and none from folders that are left out."""
    assert needed_texts(LLAMA_8B.files) == (
        "config.json",
        "model.safetensors.index.json",
        "tokenizer_config.json",
    )
    assert "onnx/config.json" not in needed_texts(GPT2.files)


def test_what_was_chosen_can_be_served() -> None:
    """`servable` agrees with `choose`, and sees a numbered part that is missing."""
    for repo in (MISTRAL_7B, LLAMA_8B, MISTRAL_FORMAT, GPT2):
        files = select_from(repo).files
        assert servable(files, "vllm")
        assert not servable(files, "llamacpp")
        assert not servable([f for f in files if "safetensors" not in f.path], "vllm")
    lacking = [f for f in select_from(LLAMA_8B).files if "00003" not in f.path]
    assert not servable(lacking, "vllm")
    assert not servable(select_from(LLAMA_8B).files, "tensorrt")


_NAMES = st.sampled_from(sorted({f.path for r in (MISTRAL_7B, GPT2, BINS_ONLY) for f in r.files}))


@given(st.sets(_NAMES))
def test_files_are_chosen_or_counted_and_never_unsafe(names: set[str]) -> None:
    """For any repository, every file is chosen or counted, and no pickle is chosen."""
    repo = repository(
        dict.fromkeys(names, 3), {**MISTRAL_7B.texts, **BINS_ONLY.texts, **GPT2.texts}
    )
    try:
        selection = select_from(repo, engine="vllm")
    except (NotFoundError, RefusedError):
        return
    left = sum(left.files for left in selection.left_out)
    assert len(selection.files) + left == len(names)
    assert sum(left.bytes for left in selection.left_out) == 3 * left
    assert not any(path.endswith((".bin", ".py")) for path in paths(selection))


@given(st.sets(st.integers(1, 5)), st.booleans())
def test_a_set_is_taken_whole_or_not_at_all(present: set[int], indexed: bool) -> None:  # noqa: FBT001
    """All numbered parts are chosen, or an error names the first missing part."""
    names = parts("model", 5)
    sizes = {names[number - 1]: 1 for number in present} | {"config.json": 1}
    if indexed:
        sizes["model.safetensors.index.json"] = 1
    repo = repository(sizes, {"model.safetensors.index.json": index(*names)})
    missing = [name for number, name in enumerate(names, 1) if number not in present]
    if missing:
        wanted = missing[0] if present or indexed else "no weights"
        with pytest.raises(NotFoundError, match=wanted):
            select_from(repo)
    else:
        assert paths(select_from(repo)) == set(sizes)


def test_the_order_of_the_list_does_not_matter() -> None:
    """The same files in another order give the same selection."""
    shuffled = list(MISTRAL_7B.files)
    random.Random(7).shuffle(shuffled)
    assert select_from(MISTRAL_7B) == select_from(
        type(MISTRAL_7B)(tuple(shuffled), MISTRAL_7B.texts)
    )
