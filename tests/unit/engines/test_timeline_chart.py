"""Timelines as a chart and as a table."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from modelshelf.engines.timeline import PHASES, Phase, Timeline
from modelshelf.engines.timeline_chart import COLOURS, draw_chart, format_table

ROWS = [
    (
        "first",
        Timeline(
            1e9,
            20.0,
            "stock",
            "a | b",
            (
                Phase("import", 0.0, 12.0),
                Phase("prefetch", 0.5, 2.0, 10**9),
                Phase("ready", 12.0, 8.0),
            ),
        ),
    ),
    ("<second>", Timeline(1e9, 10.0, "fast", "", (Phase("import", 0.0, 10.0),))),
]
TABLE = """\
| start | ready after | prefetch | import | ready | how |
| --- | ---: | ---: | ---: | ---: | --- |
| first | 20.0 s | 2.0 s | 12.0 s | 8.0 s | stock: a \\| b |
| <second> | 10.0 s |  | 10.0 s |  | fast |
| median | 15.0 s | 2.0 s | 11.0 s | 8.0 s |  |
"""


def test_a_table_ends_with_the_medians() -> None:
    """There is a column for each phase of any start; starts without it do not count for it."""
    assert format_table(ROWS) == TABLE


def _boxes(svg: str) -> dict[str, tuple[float, float]]:
    """The tooltip of a bar → the x coordinates of its ends."""
    space = "{http://www.w3.org/2000/svg}"
    return {
        box.findtext(f"{space}title", ""): (x, x + float(box.get("width", "0")))
        for box in ET.fromstring(svg).iter(f"{space}rect")
        for x in (float(box.get("x", "0")),)
    }


def test_bars_are_as_long_as_their_phases() -> None:
    """All starts share one scale, and special characters of XML are escaped."""
    boxes = _boxes(draw_chart("a & b", ROWS))
    first, prefetch = boxes["import: 12.0 s"], boxes["prefetch: 2.0 s, 1,000.0 MB at 500 MB/s"]
    second, last = boxes["import: 10.0 s"], boxes["ready: 8.0 s"]
    assert first[0] == second[0] < prefetch[0]
    assert abs((first[1] - first[0]) / (second[1] - second[0]) - 1.2) < 0.01
    assert abs(first[1] - last[0]) < 0.2


def test_every_phase_has_a_colour_of_its_own() -> None:
    """Each phase has a colour, and no two phases share one."""
    assert set(COLOURS) == set(PHASES)
    assert len(set(COLOURS.values())) == len(PHASES)


def test_empty_charts_can_be_drawn() -> None:
    """A chart of no starts, and one of a start that took no time, are valid."""
    assert "<svg" in draw_chart("none", [])
    assert "<svg" in draw_chart("instant", [("x", Timeline(0.0, 0.0, "", "", ()))])
