"""Durations, times, sizes and counts as people read them."""

import pytest

from jobstore.model import words
from jobstore.model.clock import SECOND

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


@pytest.mark.parametrize(
    ("microseconds", "written"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (900, "0.9 ms"),
        (4_200, "4 ms"),
        (999_400, "999 ms"),
        (999_600, "1.0 s"),
        (1_340_000, "1.3 s"),
        (9_960_000, "10 s"),
        (41 * SECOND, "41 s"),
        (59_700_000, "1 min 00 s"),
        (124 * SECOND, "2 min 04 s"),
        (3 * HOUR + 10 * MINUTE, "3 h 10 min"),
        (29 * DAY + 5 * HOUR, "29 d 5 h"),
    ],
)
def test_durations_have_two_units_at_most(microseconds: int, written: str) -> None:
    assert words.duration(microseconds) == written


def test_times_are_told_from_now() -> None:
    now = 1_800_000_000 * SECOND
    assert words.relative(now - 26 * SECOND, now) == "26 s ago"
    assert words.relative(now - 20 * HOUR, now) == "20 h ago"
    assert words.relative(now + 29 * DAY, now) == "in 29 days"
    assert words.absolute(now) == "2027-01-15 08:00:00 UTC"
    assert words.machine(now + 7) == "2027-01-15T08:00:00.000007Z"
    assert words.time_of_day(now + 113_000) == "08:00:00.113"
    assert words.day(now) == "15 Jan 2027"


def test_sizes_and_counts() -> None:
    sizes = (0, 1, 233, 1024, 6_550_000, 231 * 2**20, 6.1 * 2**30, 5 * 2**50)
    assert [words.size(int(each)) for each in sizes] == [
        *("0 bytes", "1 byte", "233 bytes", "1 KiB", "6.2 MiB", "231 MiB", "6.1 GiB"),
        "5120 TiB",
    ]
    assert words.count(4_812_377) == "4,812,377"
    assert [words.plural(n, "retry", "retries") for n in (1, 2)] == ["1 retry", "2 retries"]


def test_later_times_on_an_axis_are_short() -> None:
    later = (0, SECOND // 2, SECOND, 2 * MINUTE, 90 * MINUTE, 2 * DAY)
    assert [words.since_then(each) for each in later] == [
        *("0", "+500 ms", "+1 s", "+2 min", "+1 h 30 min", "+2 d")
    ]


def test_nothing_that_is_shown_hides_or_turns_others_round() -> None:
    assert words.shown("plain\ttext\nÄ") == "plain\ttext\nÄ"
    assert words.shown("a\u202eb\u0000\udc80") == "a\\u202eb\\x00\\udc80"
