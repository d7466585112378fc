"""The page and promises that the benchmark with vLLM makes of its measurements."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bench import vllm_page as pages
from bench.prefetch import CAT, FAR, NEAR, OURS, RATE, VLLM, Reading
from bench.vllm_page import Measured, Setting
from bench.vllm_starts import Run
from modelshelf.engines.timeline import Phase, Timeline

_TIMELINE = Timeline(0.0, 10.0, "fast", "", (Phase("import", 0.5, 9.5),))


def _run(seconds: float, how: str = "", speed: float = 100.0) -> Run:
    return Run(seconds, how, "", 0.9, (("gate", 0.3),), _TIMELINE, [[1, 2]], [speed, speed])


def _measured() -> Measured:
    """Measurements that are exactly as promised."""
    compiled = {
        pages.NAIVE: _run(105.0),
        pages.MENDED: _run(30.0, "mended"),
        pages.FAST: _run(15.0, "fast"),
    }
    eager = {pages.BARE: [_run(25.0)], pages.QUICK: [_run(10.0, "fast", 90.0)]}
    size = int(RATE)
    readings = [
        Reading(delay, 1, name, size, seconds)
        for delay in (FAR, NEAR)
        for name, seconds in ((OURS, 1.1), (CAT, 1.2), (VLLM, 1.2))
    ]
    return Measured(compiled, 5.0, 110.0, eager, readings)


def test_promises_are_kept_at_their_thresholds() -> None:
    """A value exactly at its threshold keeps the promise."""
    assert len(pages.promises(_measured())) == 9
    assert all(promise.met for promise in pages.promises(_measured()))


@pytest.mark.parametrize(
    ("title", "changed"),
    [
        (pages.MENDED, {"seconds": 30.1}),
        (pages.FAST, {"seconds": 15.1}),
        (pages.FAST, {"ours": 1.0}),
        (pages.QUICK, {"seconds": 10.1}),
        (pages.QUICK, {"tokens": [[1, 3]]}),
        (pages.QUICK, {"speeds": [89.0]}),
    ],
)
def test_a_start_beyond_a_threshold_breaks_one_promise(title: str, changed: dict[str, Any]) -> None:
    """One value beyond its threshold breaks one promise and no other."""
    measured = _measured()
    runs = measured.compiled if title in measured.compiled else None
    if runs is not None:
        runs[title] = dataclasses.replace(runs[title], **changed)
    else:
        measured.eager[title] = [dataclasses.replace(measured.eager[title][0], **changed)]
    assert len([each for each in pages.promises(measured) if not each.met]) == 1


@pytest.mark.parametrize(("name", "seconds", "broken"), [(OURS, 1.12, 1), (CAT, 1.0, 1)])
def test_prefetch_is_judged_on_the_far_share_alone(name: str, seconds: float, broken: int) -> None:
    """A slow prefetch breaks its promise on the far share, and not on the near one."""
    for delay, expected in ((FAR, broken), (NEAR, 0)):
        measured = _measured()
        measured.readings = [
            dataclasses.replace(each, seconds=seconds)
            if (each.contender, each.delay) == (name, delay)
            else each
            for each in measured.readings
        ]
        assert len([each for each in pages.promises(measured) if not each.met]) == expected


def test_the_page_has_results_and_failures() -> None:
    """The page has all rows and images, and for a failed part the reason and no promise."""
    setting = Setting("make it", "2026-01-02", {"memory": "1 GiB"})
    page = pages.page(_measured(), setting)
    assert "`make it` on 2026-01-02" in page
    assert "| second replica, fastStart | 15.00 (15.00, 15.00) | fast | 0.90 | gate 0.30 |" in page
    assert "| 20 ms | 1 | `start`'s prefetch | 1.10 | 113.6 | 91% |" in page
    images = pages.charts(_measured())
    assert set(images) == set(pages.CHARTS)
    for name, image in images.items():
        assert f"(charts/{name})" in page
        assert ET.fromstring(image).tag.endswith("svg")

    nothing = Measured(failures=["primed: it broke"])
    assert "**Not measured:** primed: it broke" in pages.page(nothing, setting)
    assert pages.promises(nothing) == []
    assert pages.charts(nothing) == {}
