"""Time as people write it: what each way of writing a moment or a range means."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from jobstore.cli.ranges import Calendar, check_order
from jobstore.model.clock import SECOND

BERLIN = "Europe/Berlin"


def moment_of(text: str, zone: str = "UTC") -> int:
    """Give a local time, as ISO 8601, in microseconds since 1970."""
    local = datetime.fromisoformat(text)
    return int((local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).timestamp()) * (
        SECOND
    )


def calendar(now: str = "2026-11-11T03:00", zone: str = "UTC") -> Calendar:
    """Give what words mean at a local time, which is a Wednesday if nothing else is said."""
    return Calendar(moment_of(now, zone), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("now", "2026-11-11T03:00"),
        ("2026-11-01", "2026-11-01T00:00"),
        ("2026-11-01T12:30", "2026-11-01T12:30"),
        ("2026-11-01 12:30", "2026-11-01T12:30"),
        ("2026-11-01T12:30:15+01:00", "2026-11-01T11:30:15"),
        ("2026-11-01T12:30Z", "2026-11-01T12:30"),
        ("today", "2026-11-11T00:00"),
        ("Yesterday", "2026-11-10T00:00"),
        ("yesterday   18:00", "2026-11-10T18:00"),
        ("today 02:15:30", "2026-11-11T02:15:30"),
        ("wednesday", "2026-11-11T00:00"),
        ("thursday", "2026-11-05T00:00"),
        ("monday 9:00", "2026-11-09T09:00"),
        ("wednesday 18:00", "2026-11-04T18:00"),
        ("02:00", "2026-11-11T02:00"),
        ("22:00", "2026-11-10T22:00"),
        ("24h", "2026-11-10T03:00"),
        ("90s", "2026-11-11T02:58:30"),
        ("3 hours ago", "2026-11-11T00:00"),
        ("a week ago", "2026-11-04T03:00"),
    ],
)
def test_a_moment_is(words: str, meant: str) -> None:
    assert calendar().moment(words) == moment_of(meant)


@pytest.mark.parametrize(
    ("words", "since", "until"),
    [
        ("today", "2026-11-11", "2026-11-12"),
        ("yesterday", "2026-11-10", "2026-11-11"),
        ("monday", "2026-11-09", "2026-11-10"),
        ("2026-11-01", "2026-11-01", "2026-11-02"),
        ("2026-11", "2026-11-01", "2026-12-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("since yesterday 18:00", "2026-11-10T18:00", None),
        ("since 2026-11-01 until 2026-11-03 06:00", "2026-11-01", "2026-11-03T06:00"),
        ("from monday to yesterday", "2026-11-09", "2026-11-11"),
        ("until yesterday", None, "2026-11-11"),
        ("2026-11-01..2026-11-08", "2026-11-01", "2026-11-09"),
        ("2026-11-01T12:00 .. 2026-11-01T13:00", "2026-11-01T12:00", "2026-11-01T13:00"),
        ("2026-11-01..", "2026-11-01", None),
        ("..2026-11-01", None, "2026-11-02"),
        ("24h..1h", "2026-11-10T03:00", "2026-11-11T02:00"),
        ("last 7 days", "2026-11-04T03:00", None),
        ("the last hour", "2026-11-11T02:00", None),
        ("past 90 minutes", "2026-11-11T01:30", None),
    ],
)
def test_a_range_is(words: str, since: str | None, until: str | None) -> None:
    meant = tuple(None if bound is None else moment_of(bound) for bound in (since, until))
    assert calendar().span(words) == meant


@pytest.mark.parametrize(
    "words",
    [
        "",
        "..",
        "whenever",
        "last",
        "last 7",
        "last 9999999 days",
        "last -1 days",
        "since",
        "since whenever",
        "2026-13",
        "9999-12",
        "2026-02-30",
        "9999-12-31",
        "since 9999-12-31T23:59-23:00",
        "since 0001-01-01T00:00+23:00",
        "last 999999 weeks",
        "yesterday 25:00",
        "yesterday 1800",
        "2026-11-01..2026-11-02..2026-11-03",
        "24",
        "\x00",
        "9" * 5000,
    ],
)
def test_what_is_no_range_is_refused_with_examples_of_some(words: str) -> None:
    with pytest.raises(ValueError, match=r"is (no range of times|neither a time) such as"):
        calendar().span(words)


@pytest.mark.parametrize(
    "words", ["2026-11-08..2026-11-01", "since today until 2026-11-01", "1h..2h"]
)
def test_a_range_that_ends_before_it_begins_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="the range ends before it begins"):
        calendar().span(words)


def test_bounds_that_were_given_apart_are_held_against_each_other_too() -> None:
    check_order(1, 1)
    check_order(None, 1)
    with pytest.raises(ValueError, match="the range ends before it begins"):
        check_order(2, 1)


def test_days_and_hours_are_those_of_the_zone() -> None:
    berlin = calendar("2026-07-02T00:30", BERLIN)
    assert berlin.moment("today") == moment_of("2026-07-01T22:00")
    assert berlin.moment("2026-01-01T12:00") == moment_of("2026-01-01T11:00")
    assert berlin.moment("2026-01-01T12:00Z") == moment_of("2026-01-01T12:00")


def test_a_day_on_which_the_clocks_change_is_as_long_as_it_was() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)):
        since, until = calendar(zone=BERLIN).span(day)
        assert since is not None
        assert until is not None
        assert until - since == hours * 3600 * SECOND


def test_a_range_reaches_from_the_first_to_the_last_of_a_time_that_came_twice() -> None:
    found = calendar(zone=BERLIN).span("2026-10-25T02:30..2026-10-25T02:30")
    assert found == (moment_of("2026-10-25T00:30"), moment_of("2026-10-25T01:30"))
