"""The GPUs of each replica."""

from __future__ import annotations

import pathlib

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.targets.local.gpus import VISIBLE_GPUS_VARIABLE, gpu_variables, visible_gpus


@pytest.mark.parametrize(
    ("gpus", "replicas", "expected"),
    [
        ([], 2, [{}, {}]),
        (["0", "1", "2"], 1, [{}]),
        (["0", "1", "2"], 2, [{VISIBLE_GPUS_VARIABLE: "0"}, {VISIBLE_GPUS_VARIABLE: "1"}]),
        (
            ["4", "5", "6", "7"],
            2,
            [{VISIBLE_GPUS_VARIABLE: "4,5"}, {VISIBLE_GPUS_VARIABLE: "6,7"}],
        ),
    ],
)
def test_several_replicas_divide_the_gpus(
    gpus: list[str], replicas: int, expected: list[dict[str, str]]
) -> None:
    """No two replicas share a GPU; a single replica has all of them."""
    assert [gpu_variables(gpus, number, replicas) for number in range(replicas)] == expected


def test_more_replicas_than_gpus_are_refused() -> None:
    """Two replicas do not fit into the memory of one GPU."""
    with pytest.raises(UsageError, match="2 replicas need a GPU each, and there are 1") as caught:
        gpu_variables(["0"], 0, 2)
    assert caught.value.hint == "serve 1 here, or more on Kubernetes"


def test_gpus_are_those_of_the_environment_or_of_the_driver(tmp_path: pathlib.Path) -> None:
    """If the environment names no GPUs, the driver's folders are counted."""
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:02:00.0").mkdir()
    assert visible_gpus({}, str(tmp_path)) == ["0", "1"]
    environment = {VISIBLE_GPUS_VARIABLE: "GPU-a,GPU-b"}
    assert visible_gpus(environment, str(tmp_path)) == ["GPU-a", "GPU-b"]
    assert visible_gpus({}, str(tmp_path / "none")) == []
