"""What llama.cpp needs of a repository."""

from __future__ import annotations

import re

import pytest
from support.repository_listings import (
    GB,
    GPT2,
    LLAVA_GGUF,
    MISTRAL_7B,
    QWEN_GGUF,
    parts,
    paths,
    reasons,
    repository,
    select_from,
)

from modelshelf.select import servable
from modelshelf.select.quantisations import find_quantisations, matches, shown_size
from modelshelf.shelf.errors import NotFoundError, UsageError


def test_several_quantisations_are_listed_with_sizes() -> None:
    """Several quantisations are an error that lists them and shows how to choose one."""
    with pytest.raises(UsageError, match="one of 5 quantisations must be chosen") as raised:
        select_from(QWEN_GGUF)
    assert raised.value.exit_code == 2
    assert "qwen2.5-7b-instruct-q8_0 (8.1 GB)" in str(raised.value)
    assert "qwen2.5-7b-instruct-q4_k_m (4.7 GB)" in str(raised.value)
    assert raised.value.hint == "for example --include '*q4_k_m*'"


def test_the_suggested_choice_works() -> None:
    """The glob that the error suggests chooses one quantisation with all its parts."""
    with pytest.raises(UsageError) as raised:
        select_from(QWEN_GGUF)
    match = re.search(r"'(.+)'", raised.value.hint)
    assert match
    selection = select_from(QWEN_GGUF, include=[match[1]])
    assert paths(selection) == {
        "LICENSE",
        "README.md",
        *parts("qwen2.5-7b-instruct-q4_k_m", 2, ".gguf"),
    }
    assert reasons(selection) == {"other quantisations": 9, "not needed to serve": 1}
    assert selection.engine == "llamacpp"


def test_a_glob_that_fits_one_part_takes_all() -> None:
    """All parts of a quantisation are taken together."""
    selection = select_from(QWEN_GGUF, include=["*q8_0-00001-of-*"])
    assert set(parts("qwen2.5-7b-instruct-q8_0", 3, ".gguf")) <= paths(selection)


def test_a_glob_that_fits_several_is_ambiguous() -> None:
    """The error lists only the quantisations that the glob matches."""
    with pytest.raises(UsageError, match="one of 2 quantisations") as raised:
        select_from(QWEN_GGUF, include=["*q[23]_k*"])
    assert "q8_0" not in str(raised.value)


def test_a_missing_part_is_named() -> None:
    """A split quantisation that lacks a part is not pulled."""
    repo = QWEN_GGUF.without("qwen2.5-7b-instruct-q8_0-00002-of-00003.gguf")
    with pytest.raises(NotFoundError, match=r"q8_0-00002-of-00003\.gguf is missing"):
        select_from(repo, include=["*q8_0*"])


def test_a_projector_comes_along_in_f16() -> None:
    """The projector of an image model is taken, too; f16 is preferred to other precisions."""
    selection = select_from(LLAVA_GGUF, include=["*Q4_K_M*"])
    assert paths(selection) == {
        "README.md",
        "llava-v1.6-mistral-7b.Q4_K_M.gguf",
        "mmproj-model-f16.gguf",
    }


def test_globs_choose_the_projector_too() -> None:
    """A glob that names a projector chooses it, and does not affect the choice of the model."""
    selection = select_from(LLAVA_GGUF, include=["*Q3_K_M*", "mmproj*bf16*"])
    assert paths(selection) == {
        "README.md",
        "llava-v1.6-mistral-7b.Q3_K_M.gguf",
        "mmproj-model-bf16.gguf",
    }


def test_a_projector_is_no_quantisation() -> None:
    """One model with a projector and an importance matrix needs no choice."""
    repo = repository(
        {
            "m-Q4_K_M-imatrix.gguf": GB,
            "imatrix.gguf": 5,
            "m-imatrix.gguf": 5,
            "mmproj-m-Q8_0.gguf": 6,
            "config.json": 1,
        }
    )
    assert paths(select_from(repo)) == {"m-Q4_K_M-imatrix.gguf", "mmproj-m-Q8_0.gguf"}


def test_a_projector_goes_with_the_model_whose_name_it_has() -> None:
    """Of two models with a projector each, the chosen one gets its own."""
    repo = repository(
        {
            "alpha-7b-Q4_K_M.gguf": GB,
            "beta-7b-Q4_K_M.gguf": GB,
            "gamma-7b-Q4_K_M.gguf": GB,
            "mmproj-alpha-7b-f16.gguf": 5,
            "mmproj-beta-7b-Q8_0.gguf": 5,
        }
    )
    for model, projector in (
        ("alpha-7b-Q4_K_M.gguf", {"mmproj-alpha-7b-f16.gguf"}),
        ("beta-7b-Q4_K_M.gguf", {"mmproj-beta-7b-Q8_0.gguf"}),
        ("gamma-7b-Q4_K_M.gguf", set()),
    ):
        assert paths(select_from(repo, include=[model])) == {model} | projector


@pytest.mark.parametrize(
    "drafter",
    [
        "MTP/x-Q8_0-MTP.gguf",
        "draft/x-Q8_0.gguf",
        "mtp-x-Q8_0.gguf",
        "x-Q8_0-draft.gguf",
        "eagle3-x-Q8_0.gguf",
    ],
)
def test_a_drafter_is_no_quantisation(drafter: str) -> None:
    """A drafter beside one quantisation needs no choice, and is added when it is named."""
    repo = repository({"x-Q8_0.gguf": GB, drafter: 5})
    selection = select_from(repo)
    assert paths(selection) == {"x-Q8_0.gguf"}
    assert reasons(selection) == {"drafters for speculative decoding": 1}
    assert paths(select_from(repo, include=["*Q8_0*"])) == {"x-Q8_0.gguf"}
    both = select_from(repo, include=[drafter])
    assert paths(both) == {"x-Q8_0.gguf", drafter}
    assert servable(both.files, "llamacpp")
    assert paths(select_from(repository({drafter: 5}))) == {drafter}


def test_a_model_with_a_drafter_inside_is_a_quantisation() -> None:
    """A name that has MTP in its middle is that of a whole model."""
    repo = repository({"Ornith-9B-MTP-IQ2_M.gguf": GB, "mmproj-Ornith-9B-BF16.gguf": 5})
    assert paths(select_from(repo)) == {f.path for f in repo.files}


@pytest.mark.parametrize(
    "piece",
    [
        "m-Q8_0.gguf.part1of2",
        "m-Q8_0.gguf-split-a",
        "m-Q8_0.gguf.part-aa",
        "m-Q8_0.gguf.00",
        "m-Q8_0.gguf.ab",
    ],
)
def test_raw_pieces_are_no_quantisation(piece: str) -> None:
    """A glob for a quantisation that is there in raw pieces is refused, and takes no other one."""
    repo = repository({"m-Q4_K_M.gguf": GB, piece: GB})
    with pytest.raises(NotFoundError, match=re.escape(piece)) as raised:
        select_from(repo, include=["*Q8_0*"])
    assert "join the pieces" in raised.value.hint
    selection = select_from(repo)
    assert paths(selection) == {"m-Q4_K_M.gguf"}
    assert reasons(selection) == {"pieces of GGUF files that must be joined first": 1}


@pytest.mark.parametrize("glob", ["*Q8_0*", "*q4_k_m*", "*BF16*", "m-IQ2_XS.gguf", "Q8_0/"])
def test_a_glob_for_a_quantisation_that_is_not_there_is_an_error(glob: str) -> None:
    """The only quantisation is not taken in place of the one that a glob names."""
    repo = repository({"m-Q4_K_M.gguf": GB, "m-Q8_0.imatrix": 1, "m-bf16.txt": 1})
    with pytest.raises(NotFoundError, match="no quantisation matches --include") as raised:
        select_from(repo, include=[glob])
    assert "m-Q4_K_M" in raised.value.hint
    assert "m-bf16.txt" in paths(select_from(repo, include=["m-bf16.txt"]))


def test_other_files_are_added_when_named() -> None:
    """llama.cpp needs no configuration, but a glob may add one."""
    repo = repository({"m-Q8_0.gguf": GB, "config.json": 1, "template.jinja": 1})
    assert paths(select_from(repo)) == {"m-Q8_0.gguf"}
    assert paths(select_from(repo, include=["*.json"])) == {"m-Q8_0.gguf", "config.json"}


def test_a_file_wins_over_parts_of_its_name() -> None:
    """If a quantisation exists as a single file and in parts, the single file is taken."""
    repo = repository({"m-q8_0.gguf": 9} | dict.fromkeys(parts("m-q8_0", 2, ".gguf"), 5))
    assert paths(select_from(repo)) == {"m-q8_0.gguf"}


def test_folders_of_quantisations_are_chosen_by_folder() -> None:
    """A glob that ends in a slash matches a whole folder, as in huggingface_hub."""
    repo = repository(
        dict.fromkeys(parts("BF16/m-BF16", 2, ".gguf"), 9)
        | dict.fromkeys(parts("Q8_0/m-Q8_0", 2, ".gguf"), 5)
    )
    assert paths(select_from(repo, include=["Q8_0/"])) == set(parts("Q8_0/m-Q8_0", 2, ".gguf"))
    assert matches("Q8_0/x", ["Q8_0/"])
    assert not matches("q8_0/x", ["Q8_0/"])


def test_the_suggestion_fits_one_even_where_labels_repeat() -> None:
    """If the label of a quantisation is ambiguous, the error suggests the file's name."""
    repo = repository({"a-Q4_K_M.gguf": 1, "b-Q4_K_M.gguf": 1})
    with pytest.raises(UsageError) as raised:
        select_from(repo)
    assert raised.value.hint == "for example --include 'a-Q4_K_M.gguf'"


def test_safetensors_are_left_out_for_llamacpp() -> None:
    """Weights of other engines are counted, not taken."""
    repo = GPT2.with_files({"gpt2-Q8_0.gguf": 100})
    selection = select_from(repo, engine="llamacpp")
    assert paths(selection) == {"README.md", "gpt2-Q8_0.gguf"}
    assert reasons(selection)["weights for other engines"] == 8
    assert "gpt2-Q8_0.gguf" not in paths(select_from(repo))


def test_no_gguf_points_to_the_other_engine() -> None:
    """If there is no GGUF file, the hint says what would work."""
    with pytest.raises(NotFoundError, match="no GGUF file") as raised:
        select_from(MISTRAL_7B, engine="llamacpp")
    assert "--for vllm" in raised.value.hint
    with pytest.raises(NotFoundError) as raised:
        select_from(LLAVA_GGUF, engine="vllm")
    assert "--for llamacpp" in raised.value.hint


def test_all_files_takes_every_quantisation() -> None:
    """--all-files takes all quantisations, and no server could serve that snapshot."""
    selection = select_from(QWEN_GGUF, all_files=True)
    assert len(selection.files) == len(QWEN_GGUF.files)
    assert not servable(selection.files, "llamacpp")


def test_one_whole_model_can_be_served() -> None:
    """llama.cpp serves a snapshot with one model that has all its parts."""
    files = select_from(QWEN_GGUF, include=["*q8_0*"]).files
    assert servable(files, "llamacpp")
    assert not servable(files, "vllm")
    assert not servable([f for f in files if "00003-of" not in f.path], "llamacpp")


def test_sizes_are_for_people() -> None:
    """Sizes have one decimal and a decimal unit."""
    assert [shown_size(n) for n in (12, 4_680_000, 4_680_000_000)] == [
        "12 bytes",
        "4.7 MB",
        "4.7 GB",
    ]


def test_quantisations_know_their_size() -> None:
    """A quantisation's size is that of its parts together."""
    sizes = {q.name.rpartition("-")[2]: q.size for q in find_quantisations(QWEN_GGUF.files)}
    assert sizes["fp16"] == 15_200_000_000
