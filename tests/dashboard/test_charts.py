"""Drawings as text: the same values give the same SVG, and each says in words what it shows."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jobstore.dashboard.draw.axes import durations, round_up, times
from jobstore.dashboard.draw.bars import Bar, Mark, bars
from jobstore.dashboard.draw.dots import Dot, dots
from jobstore.dashboard.draw.heat import LEGEND, SHADES, heat, shade
from jobstore.dashboard.draw.lanes import Lane, lanes
from jobstore.dashboard.draw.spark import Run, outlined, sparkline
from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.dashboard.draw.trend import Point, trend
from jobstore.model.clock import SECOND
from tests.stores import START

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = START // DAY * DAY
GOLDEN = Path(__file__).parent / "golden"


def hours(count: int) -> list[Bar]:
    return [
        Bar(
            since=MIDNIGHT + hour * HOUR,
            until=MIDNIGHT + (hour + 1) * HOUR,
            fine=40 * hour,
            wrong=hour % 3,
            cancelled=hour % 2,
            label=f"hour {hour} & more",
            href=f"./?since={hour}",
        )
        for hour in range(count)
    ]


DRAWINGS = {
    "bars": bars(
        hours(6),
        "what 6 hours had",
        [
            Mark(at=MIDNIGHT + HOUR, label="restart 01:00"),
            Mark(at=MIDNIGHT + 4 * HOUR, label="crash, restart 04:00", bad=True),
            Mark(at=MIDNIGHT + 4 * HOUR + MINUTE, label="crash, restart 04:01", bad=True),
            Mark(at=MIDNIGHT + 4 * HOUR + 30 * MINUTE, label="restart 04:30"),
            Mark(at=MIDNIGHT + 5 * HOUR + 59 * MINUTE, label="restart 05:59"),
        ],
    ),
    "spark": sparkline(
        [
            Run(took=SECOND, tone="done", label="1 s"),
            Run(took=4 * SECOND, tone="fail", label="4 s"),
            Run(took=2 * SECOND, tone="cancel", label="2 s"),
            Run(took=None, tone="wait", label="waits"),
            Run(took=SECOND, tone="run", label="runs"),
        ],
        "5 runs",
        places=8,
    ),
    "outlined": outlined(
        [
            Run(took=SECOND, tone="done", label="1 s"),
            Run(took=4 * SECOND, tone="fail", label="4 s"),
            Run(took=SECOND, tone="done", label="1 s"),
            Run(took=None, tone="wait", label="waits"),
        ],
        "4 runs",
        places=8,
    ),
    "trend": trend(
        [
            Point(half=SECOND, most=4 * SECOND, wrong=0),
            Point(half=2 * SECOND, most=8 * SECOND, wrong=0.5),
            Point(half=None, most=None, wrong=1),
            Point(half=SECOND, most=SECOND, wrong=0.001),
        ],
        "4 hours",
    ),
    "heat": heat([None, SECOND // 20, SECOND, SECOND, 700 * SECOND], "5 hours"),
    "dots": dots(
        [
            Dot(at=MIDNIGHT + HOUR, took=2 * SECOND, tone="done", label="well", href="./1"),
            Dot(at=MIDNIGHT + 2 * HOUR, took=9 * SECOND, tone="fail", label="badly", this=True),
            Dot(at=MIDNIGHT + 4 * HOUR, took=2 * SECOND, tone="cancel", label="not", href="./3"),
        ],
        "3 jobs",
        [("p95", 9 * SECOND), ("p50", 9 * SECOND)],
    ),
    "lanes": lanes(
        [
            Lane(name="/a", counts=[1, 0, 4], wrong=[0, 0, 2], href="./?target=/a"),
            Lane(name="/a-name-of-more-than-22", counts=[0, 0, 0], wrong=[0, 0, 0]),
        ],
        MIDNIGHT,
        MIDNIGHT + 3 * HOUR,
        "2 targets",
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_what_it_was(name: str) -> None:
    assert DRAWINGS[name].replace("><", ">\n<") + "\n" == (GOLDEN / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_well_formed_and_has_no_style_of_its_own(name: str) -> None:
    drawn = ET.fromstring(DRAWINGS[name])
    assert drawn.get("aria-label")
    assert drawn.get("role") == ("group" if drawn.findall(".//a") else "img")
    for each in drawn.iter():
        assert not {"style", "fill", "stroke", "onclick"} & set(each.attrib)


def test_text_in_a_drawing_is_text() -> None:
    evil = '"><script>alert(1)</script>'
    drawn = drawing(10, 10, evil, element("text", evil, x=1, class_="lab"), class_="spark")
    assert isinstance(drawn, Svg)
    root = ET.fromstring(drawn)
    assert (root.get("aria-label"), [*root.itertext()]) == (evil, [evil])


def labels(*marks: Mark, window: str = "broad") -> list[str]:
    """Read the labels of marks that are drawn over six hours."""
    drawn = bars(hours(6), "", marks)
    for shown in re.findall(rf'<g class="{window}">(.*?)</g>', drawn):
        drawn = shown
    return re.findall(r'<text class="over[^>]*>([^<]*)', drawn)


def test_marks_that_are_close_together_share_a_label_that_counts_them() -> None:
    restarts = [Mark(at=MIDNIGHT + n * MINUTE, label=f"restart 00:{n:02}") for n in (10, 12, 14)]
    crash = Mark(at=MIDNIGHT + 13 * MINUTE, label="crash, restart 00:13", bad=True)
    late = Mark(at=MIDNIGHT + 3 * HOUR, label="restart 03:00")
    assert labels(*restarts, late) == ["restart 00:10 and 2 more", "restart 03:00"]
    assert labels(*restarts, late, window="slim") == ["restart 00:10 and 3 more"]
    assert labels(*restarts[:2], crash) == ["crash, restart 00:13 and 2 more"]
    ends = [Mark(at=MIDNIGHT + 6 * HOUR - n * MINUTE, label=f"-{n} min") for n in (20, 10, 0)]
    assert labels(*ends) == ["-20 min and 2 more"]


def test_what_is_but_a_little_can_be_seen() -> None:
    drawn = bars([Bar(since=0, until=HOUR, fine=100_000, wrong=1, cancelled=0, label="")], "")
    # Its box, and the dot beneath.
    assert re.search(r'<path class="b-fail" d="M[^z]*v2h[^z]*z"/><path class="wrong" d="M', drawn)


def test_a_week_of_lanes_by_the_hour_takes_few_bytes_for_each_stroke() -> None:
    counts = [1 + hour % 90 for hour in range(168)]
    of = [Lane(name=f"/{each}", counts=counts, wrong=counts) for each in range(20)]
    assert len(lanes(of, MIDNIGHT, MIDNIGHT + 7 * DAY, "20 targets")) < 13 * 20 * 2 * 168


def test_a_duration_has_a_shade_that_the_legend_tells() -> None:
    assert len(LEGEND) == len(SHADES) + 1
    found = [shade(took) for took in (0, SECOND // 10, SECOND, 10 * SECOND, 60 * SECOND, HOUR)]
    assert found == [0, 1, 2, 3, 4, 5]


def test_axes_have_round_numbers_and_times() -> None:
    assert [round_up(each) for each in (0, 1, 3, 5, 11, 735)] == [2, 2, 4, 6, 20, 800]
    day = [text for _, text in times(MIDNIGHT, MIDNIGHT + DAY)]
    assert day[0] == day[0][:3] + " 00:00"
    assert day[1:4] == ["03:00", "06:00", "09:00"]
    assert len(day) == 9
    assert [at % DAY for at, _ in times(MIDNIGHT, MIDNIGHT + 30 * DAY)] == [0] * 7
    assert [text for _, text in times(MIDNIGHT, MIDNIGHT + 10 * SECOND)] == [day[0]]
    assert durations(2 * SECOND, 50 * SECOND) == (SECOND, 5 * SECOND, 20 * SECOND, 60 * SECOND)
    assert durations(0, 0) == (1000, 10_000)
