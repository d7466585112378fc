"""The key of a compile cache: what counts for it, and what does not."""

from __future__ import annotations

import os

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.start import cache_key
from modelshelf.start.cache_key import CacheKey, compute_key

_SNAPSHOT = f"org/name@{'c' * 40}-0a1b2c3d"
_ARGV = ["vllm", "serve", "/models/x", "--max-model-len", "4096"]


def _key(
    argv: list[str] | None = None,
    env: dict[str, str] | None = None,
    versions: dict[str, str] | None = None,
) -> CacheKey:
    return compute_key(_SNAPSHOT, argv or _ARGV, env or {}, versions or {"vllm": "0.32.0"})


def test_equal_starts_have_one_key_below_their_model() -> None:
    """Two equal starts have the same key, whose folder lies in that of the snapshot."""
    key = _key()
    assert key == _key()
    assert key.folder == _key().folder
    assert os.path.dirname(key.folder) == _SNAPSHOT.replace("@", "/")
    assert key.differences(key.to_json()) == []


@pytest.mark.parametrize(
    ("argv", "env", "versions", "name"),
    [
        ([*_ARGV, "--enforce-eager"], {}, {"vllm": "0.32.0"}, "args"),
        ([*_ARGV[:-1], "8192"], {}, {"vllm": "0.32.0"}, "args"),
        (_ARGV, {"VLLM_USE_AOT_COMPILE": "0"}, {"vllm": "0.32.0"}, "env"),
        (_ARGV, {"TORCHINDUCTOR_FREEZING": "1"}, {"vllm": "0.32.0"}, "env"),
        (_ARGV, {}, {"vllm": "0.32.1"}, "versions"),
    ],
)
def test_what_may_change_compiled_code_changes_the_key(
    argv: list[str], env: dict[str, str], versions: dict[str, str], name: str
) -> None:
    """Other arguments, variables or versions give another key, and the difference is named."""
    other = _key(argv, env, versions)
    assert other.folder != _key().folder
    assert other.differences(_key().to_json()) == [name]


@pytest.mark.parametrize(
    "more",
    [
        ["--port", "8000"],
        ["--port=8000", "--host=0.0.0.0"],
        ["--served-model-name", "a", "b", "--api_key", "secret"],
        ["--served_model_name=a"],
        ["--disable-log-stats", "--chat-template", "x.jinja"],
    ],
)
def test_what_is_for_the_api_alone_does_not_count(more: list[str]) -> None:
    """Ports, names, API keys and templates may differ between a prime and a start."""
    assert cache_key.select_arguments([*_ARGV, *more]) == tuple(_ARGV)
    assert cache_key.select_arguments([*_ARGV, *more, "--dtype", "auto"]) == (
        *_ARGV,
        "--dtype",
        "auto",
    )


def test_a_word_behind_a_switch_is_kept() -> None:
    """A switch takes no value, so the model's path that follows it counts."""
    assert cache_key.select_arguments(["vllm", "serve", "--disable-log-stats", "/m"])[-1] == "/m"


def test_variables_of_places_services_and_secrets_do_not_count() -> None:
    """The variables of Kubernetes' Services, of folders and of secrets change nothing."""
    env = {
        "VLLM_CACHE_ROOT": "/x",
        "TRITON_CACHE_DIR": "/x",
        "FLASHINFER_WORKSPACE_BASE": "/x",
        "VLLM_ROUTER_SERVICE_HOST": "10.0.0.1",
        "VLLM_ROUTER_PORT_80_TCP_ADDR": "10.0.0.1",
        "VLLM_API_KEY": "secret",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "HOME": "/home/other",
    }
    assert cache_key.hash_variables(env) == cache_key.hash_variables({})


@pytest.mark.parametrize("snapshot", ["org/name", "../x", "org/name@../x"])
def test_names_that_could_lead_elsewhere_are_refused(snapshot: str) -> None:
    """Only the name of a snapshot with its id makes a key."""
    with pytest.raises(UsageError):
        compute_key(snapshot, _ARGV, {}, {})
