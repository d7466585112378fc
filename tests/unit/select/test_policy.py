"""Code, pickles and the globs of the command line."""

from __future__ import annotations

import json

import pytest
from support.repository_listings import (
    BINS_ONLY,
    GPT2,
    MISTRAL_7B,
    QWEN_GGUF,
    REMOTE_CODE,
    Repository,
    paths,
    reasons,
    repository,
    select_from,
)

from modelshelf.select import needed_texts
from modelshelf.select.auto_map import CodeFile, find_auto_map_code
from modelshelf.select.file_kinds import Kind, kind_of
from modelshelf.shelf.errors import IntegrityError, NotFoundError, RefusedError, UsageError

_PLAIN = {"config.json": 1, "model.safetensors": 9}


def test_an_auto_map_is_refused_by_name() -> None:
    """A configuration that asks to run code is refused; the error names the file and what to do."""
    with pytest.raises(
        RefusedError, match=r"configuration_deep\.py is code, and config\.json"
    ) as e:
        select_from(REMOTE_CODE)
    assert e.value.exit_code == 14
    assert "--allow-unsafe" in e.value.hint


def test_allowed_code_brings_all_modules() -> None:
    """Modules import each other, so all Python files are taken, and nothing else besides."""
    selection = select_from(REMOTE_CODE, allow_unsafe=True)
    assert {p for p in paths(selection) if p.endswith(".py")} == {
        "configuration_deep.py",
        "modeling_deep.py",
        "tokenization_deep.py",
    }
    assert "assets/figure.png" not in paths(selection)


def test_code_that_nothing_needs_is_left_out_even_when_allowed() -> None:
    """Without an auto_map the Python files are left out."""
    repo = repository(_PLAIN | {"convert.py": 1, "setup.sh": 1})
    selection = select_from(repo, allow_unsafe=True)
    assert paths(selection) == set(_PLAIN)
    assert reasons(selection) == {"code that nothing chosen needs": 2}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"auto_map": {"AutoModel": "m.Net"}}, [("m.py", "")]),
        ({"auto_map": {"AutoTokenizer": ["t.Slow", "t.Fast"]}}, [("t.py", "")]),
        ({"auto_map": {"AutoModel": "me/code--m.Net"}}, [("m.py", "me/code")]),
        ({"auto_map": "m.Net"}, [("m.py", "")]),
        ({"vision_config": {"auto_map": {"AutoModel": "v.Net"}}}, [("v.py", "")]),
        ({"layers": [{"auto_map": {"AutoModel": "l.Net"}}]}, [("l.py", "")]),
        ({"auto_map": {"AutoModel": "sub.m.Net"}}, [("sub/m.py", "")]),
        ({"auto_map": {"AutoModel": None}}, []),
        ({"auto_map": None}, []),
        ([1, "auto_map"], []),
    ],
)
def test_code_is_found_in_every_form(config: object, expected: list[tuple[str, str]]) -> None:
    """auto_map is read in every form that transformers reads, nested configurations included."""
    found = find_auto_map_code({"config.json": json.dumps(config)})
    assert [(code.file, code.repo) for code in found.files] == expected
    assert found.required == found.files


def test_code_of_another_repository_is_refused_and_never_taken() -> None:
    """Code of another repository is refused by its name; if allowed, only the model is taken."""
    text = json.dumps({"auto_map": {"AutoModel": "deep/base--modeling.Net"}})
    repo = repository(_PLAIN, {"config.json": text})
    with pytest.raises(RefusedError, match=r"modeling.py, code of another repository, deep/base"):
        select_from(repo)
    assert paths(select_from(repo, allow_unsafe=True)) == set(_PLAIN)


def test_odd_class_names_still_count() -> None:
    """A value that is not module.Class is refused, not ignored."""
    found = find_auto_map_code({"c": '{"auto_map": {"A": "net"}}'})
    assert found.required == (CodeFile("net.py", "c"),)


_DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "auto_map": {
        "AutoConfig": "configuration_deepseek.DeepseekV3Config",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM",
    },
}
_DEEPSEEK_CODE = {"configuration_deepseek.py": 1, "modeling_deepseek.py": 1}


def _with_code(config: object, tokenizer: object = {}) -> Repository:
    return repository(
        _PLAIN | _DEEPSEEK_CODE | {"tokenization_x.py": 1, "tokenizer_config.json": 1},
        {"config.json": json.dumps(config), "tokenizer_config.json": json.dumps(tokenizer)},
    )


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"tokenizer_class": "LlamaTokenizerFast"},
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "auto_map": {"AutoTokenizer": ["tokenization_x.Slow", None]},
        },
    ],
)
def test_code_that_vllm_has_itself_is_not_needed(tokenizer: object) -> None:
    """A model of an architecture that vLLM implements is pulled without its Python files."""
    selection = select_from(_with_code(_DEEPSEEK, tokenizer))
    assert paths(selection) == {*_PLAIN, "tokenizer_config.json"}
    assert reasons(selection) == {"code that nothing chosen needs": 3}
    allowed = select_from(_with_code(_DEEPSEEK, tokenizer), allow_unsafe=True)
    assert paths(allowed) == {
        *_PLAIN,
        *_DEEPSEEK_CODE,
        "tokenization_x.py",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize(
    ("config", "tokenizer", "file"),
    [
        (_DEEPSEEK | {"model_type": "deepseek_x"}, {}, "configuration_deepseek.py"),
        (_DEEPSEEK | {"architectures": ["DeepForCausalLM"]}, {}, "modeling_deepseek.py"),
        (_DEEPSEEK | {"architectures": []}, {}, "modeling_deepseek.py"),
        (_DEEPSEEK | {"auto_map": "modeling_deepseek.X", "model_type": "x"}, {}, "modeling_deep"),
        (
            _DEEPSEEK,
            {"tokenizer_class": "OurTokenizer", "auto_map": {"AutoTokenizer": "tokenization_x.T"}},
            "tokenization_x.py",
        ),
        (_DEEPSEEK, {"auto_map": {"AutoTokenizer": "tokenization_x.T"}}, "tokenization_x.py"),
    ],
)
def test_code_that_vllm_lacks_is_refused_by_name(
    config: object, tokenizer: object, file: str
) -> None:
    """If vLLM lacks one of the classes, the file with that class is refused."""
    with pytest.raises(RefusedError, match=file):
        select_from(_with_code(config, tokenizer))


def test_code_that_is_excluded_by_hand_is_not_refused() -> None:
    """A user who excludes the code gets the model without it, whatever serves it."""
    selection = select_from(REMOTE_CODE, exclude=["*.py"])
    assert "model.safetensors" in paths(selection)
    assert not any(path.endswith(".py") for path in paths(selection))
    with pytest.raises(RefusedError, match="modeling_deep"):
        select_from(REMOTE_CODE, exclude=["configuration*.py"])


def test_only_configurations_that_can_name_code_are_read() -> None:
    """Another configuration need not be JSON, and an excluded one is not read at all."""
    damaged = {
        "generation_config.json": "{,}",
        "eval/run_config.json": "\xe4",
        "old/config.json": "",
    }
    repo = repository(_PLAIN | dict.fromkeys(damaged, 1), damaged)
    assert needed_texts(repo.files, exclude=["old/*"]) == ("config.json",)
    selection = select_from(repo, exclude=["old/*"])
    assert paths(selection) == {*_PLAIN, "eval/run_config.json", "generation_config.json"}
    with pytest.raises(IntegrityError, match=r"old/config\.json is not JSON") as raised:
        select_from(repo)
    assert "--exclude 'old/config.json'" in raised.value.hint


def test_a_configuration_that_is_no_json_is_refused() -> None:
    """A configuration that cannot be read is an error, and so is one whose text is missing."""
    for text in ("not json", "", "[" * 100_000):
        with pytest.raises(IntegrityError, match=r"config\.json is not JSON"):
            select_from(repository(_PLAIN, {"config.json": text}))


def test_all_files_is_all_that_policy_allows() -> None:
    """--all-files takes everything except pickles and code, including second copies."""
    selection = select_from(GPT2, all_files=True)
    assert paths(selection) == {f.path for f in GPT2.files} - {"pytorch_model.bin"}
    everything = select_from(GPT2, all_files=True, allow_unsafe=True)
    assert paths(everything) == {f.path for f in GPT2.files}


def test_all_files_does_not_bring_needed_pickles() -> None:
    """A model of pickles is refused with --all-files, too, and so is needed code."""
    with pytest.raises(RefusedError):
        select_from(BINS_ONLY, all_files=True)
    with pytest.raises(RefusedError):
        select_from(REMOTE_CODE, all_files=True)


def test_include_narrows_the_usual_choice() -> None:
    """A broad glob picks from the default choice, so it takes no second copy."""
    selection = select_from(MISTRAL_7B, include=["*.safetensors", "config.json"])
    assert paths(selection) == {
        "config.json",
        *(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
    }
    assert reasons(selection)["not named by --include"] == 8


def test_include_reaches_what_is_usually_left_out() -> None:
    """A glob that matches nothing in the default choice picks from all allowed files."""
    selection = select_from(MISTRAL_7B, include=["consolidated*", "params.json"])
    assert paths(selection) == {"consolidated.safetensors", "params.json"}


def test_include_may_leave_the_weights_behind() -> None:
    """A tokenizer alone can be taken from a repository whose weights are refused."""
    selection = select_from(BINS_ONLY, include=["tokenizer*", "special_tokens_map.json"])
    assert paths(selection) == {"tokenizer.model", "special_tokens_map.json"}


def test_include_of_a_part_of_the_weights_is_refused() -> None:
    """Models on a shelf are complete, so a glob for one part of three is refused."""
    with pytest.raises(NotFoundError, match=r"model-00002-of-00003\.safetensors is not among"):
        select_from(MISTRAL_7B, include=["model-00001*"])


def test_include_of_a_pickle_is_refused() -> None:
    """Naming a pickle does not allow it."""
    with pytest.raises(RefusedError, match=r"pytorch_model\.bin may run code"):
        select_from(GPT2, include=["*.bin"])
    assert paths(select_from(GPT2, include=["*.bin"], allow_unsafe=True)) == {"pytorch_model.bin"}


def test_include_that_fits_nothing_names_what_is_near() -> None:
    """A glob that matches no file is an error that lists similar files."""
    with pytest.raises(NotFoundError, match="no file matches --include 'Model") as raised:
        select_from(MISTRAL_7B, include=["Model*.safetensors"])
    assert "model-00001-of-00003.safetensors" in raised.value.hint
    with pytest.raises(NotFoundError) as raised:
        select_from(QWEN_GGUF, include=["*q2_k*", "*licence*"])
    assert "LICENSE" in raised.value.hint


def test_exclude_is_as_if_it_were_not_there() -> None:
    """Excluded files do not count: without the first copy, the second copy is taken."""
    selection = select_from(MISTRAL_7B, exclude=["model*.safetensors*"])
    assert "consolidated.safetensors" in paths(selection)
    assert reasons(selection)["left out by --exclude"] == 4


def test_exclude_settles_a_refusal() -> None:
    """A refused pickle beside unproven safetensors can be excluded by hand."""
    repo = repository({"config.json": 1, "pytorch_model.bin": 9, "strange.safetensors": 9})
    with pytest.raises(RefusedError):
        select_from(repo)
    assert paths(select_from(repo, exclude=["*.bin"])) == {"config.json", "strange.safetensors"}


def test_exclude_of_a_part_is_explained() -> None:
    """An excluded part counts as missing, and the hint mentions --exclude."""
    with pytest.raises(NotFoundError, match="00001-of-00003") as raised:
        select_from(MISTRAL_7B, exclude=["model-00001*", "consolidated*"])
    assert "--exclude" in raised.value.hint


def test_an_unknown_engine_is_a_usage_error() -> None:
    """An unknown engine is an error that lists the known engines."""
    with pytest.raises(UsageError, match="'vlm'") as raised:
        select_from(GPT2, engine="vlm")
    assert "vllm, llamacpp" in raised.value.hint


@pytest.mark.parametrize("all_files", [False, True])
def test_nothing_at_all_is_an_error(all_files: bool) -> None:  # noqa: FBT001
    """An empty repository, or one whose files are all excluded, is an error."""
    with pytest.raises(NotFoundError):
        select_from(repository({}), all_files=all_files)
    with pytest.raises(NotFoundError):
        select_from(MISTRAL_7B, exclude=["*"], all_files=all_files)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("model.safetensors", Kind.SAFETENSORS),
        ("a/b/MODEL.GGUF", Kind.GGUF),
        ("tokenizer.bin", Kind.PICKLE),
        ("openvino/openvino_model.bin", Kind.PICKLE),
        ("model.safetensors.index.json", Kind.INDEX),
        ("model.safetensors.index.fp16.json", Kind.INDEX),
        ("pytorch_model.bin.index.json", Kind.INDEX),
        ("index.json", Kind.TEXT),
        ("tokenizer.model.v3", Kind.TEXT),
        ("LICENSE", Kind.TEXT),
        ("USAGE_POLICY", Kind.TEXT),
        ("._model.safetensors", Kind.OTHER),
        ("model.safetensors.fp16.index.json", Kind.INDEX),
        ("qwen.tiktoken", Kind.TEXT),
        ("chat_template.jinja", Kind.TEXT),
        (".hidden.json", Kind.OTHER),
        (".setup.py", Kind.CODE),
        ("lib/kernel.so", Kind.CODE),
        ("model.onnx_data", Kind.OTHER_WEIGHTS),
        ("figure.png", Kind.OTHER),
    ],
)
def test_a_name_tells_what_a_file_is(path: str, kind: Kind) -> None:
    """Kinds follow from names alone, whatever their case."""
    assert kind_of(path) is kind
