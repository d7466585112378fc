"""llama.cpp's command line on this machine, and the options that all engines share."""

from __future__ import annotations

import sys

import pytest

from modelshelf.engines import ServeOptions, ServerSpec, engine_named, llamacpp
from modelshelf.shelf.errors import NotOnShelfError, UsageError
from modelshelf.shelf.values import File, Snapshot


def snapshot(*paths: str) -> Snapshot:
    """A snapshot of files with these names."""
    files = tuple(File(path, 1, lfs_sha256="a" * 64) for path in sorted(paths))
    return Snapshot("hf://org/name@main", "org/name", "main", "c" * 40, files)


START = (sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server")


def test_a_model_is_served_by_its_path_and_name() -> None:
    """The command line has the file, the model's name, address, context, slots and threads."""
    options = ServeOptions(port=8001, context_length=512, parallel=2, threads=3)
    assert llamacpp.make_server_spec(
        snapshot("x.Q4_1.gguf", "README.md"), "/models/m", options
    ) == ServerSpec(
        argv=(
            *(*START, "--model", "/models/m/x.Q4_1.gguf", "--name", "org/name"),
            *("--host", "127.0.0.1", "--port", "8001", "--context-length", "512"),
            *("--parallel", "2", "--threads", "3"),
        ),
        port=8001,
        health_path="/health",
        model="org/name",
    )


def test_a_split_model_is_served_by_its_first_part() -> None:
    """The command line has the first of the parts, and the projector for images."""
    model = snapshot("q/x-00002-of-00002.gguf", "q/x-00001-of-00002.gguf", "q/mmproj-x-f16.gguf")
    spec = llamacpp.make_server_spec(
        model, "/m", ServeOptions(name="my-name", extra=("--param", "n_batch=64"))
    )
    assert spec.model == "my-name"
    assert spec.argv == (
        *(*START, "--model", "/m/q/x-00001-of-00002.gguf"),
        *("--projector", "/m/q/mmproj-x-f16.gguf", "--name", "my-name"),
        *("--host", "127.0.0.1", "--port", "8000", "--parallel", "4"),
        *("--param", "n_batch=64"),
    )


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(("model.safetensors", "config.json"), id="no GGUF"),
        pytest.param(("a.Q4_0.gguf", "a.Q8_0.gguf"), id="two quantisations"),
        pytest.param(("a-00001-of-00002.gguf",), id="a part is missing"),
        pytest.param(("mmproj-a.gguf",), id="a projector alone"),
    ],
)
def test_a_snapshot_without_one_whole_model_is_refused(paths: tuple[str, ...]) -> None:
    """A snapshot without exactly one whole GGUF model is refused; the hint says what to pull."""
    assert not llamacpp.accepts(snapshot(*paths))
    with pytest.raises(NotOnShelfError, match="exactly one whole GGUF model") as caught:
        llamacpp.make_server_spec(snapshot(*paths), "/m", ServeOptions())
    assert caught.value.hint == "modelshelf pull hf://org/name@main --for llamacpp"


def test_an_unknown_engine_is_refused() -> None:
    """The hint lists the known engines."""
    with pytest.raises(UsageError, match="no engine 'tgi'") as caught:
        engine_named("tgi")
    assert caught.value.hint == "engines: llamacpp, vllm"


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"threads": -1}, {"context_length": 0}])
def test_numbers_below_one_are_refused(wrong: dict[str, int]) -> None:
    """Options with a number below 1 are an error."""
    with pytest.raises(UsageError, match="cannot serve"):
        ServeOptions(**wrong)  # type: ignore[arg-type]
