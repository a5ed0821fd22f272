"""When expressions fire, held against a walk over all minutes around each change of a clock."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.model.cron import read
from jobstore.model.schedule import Schedule, checked_cron, problem
from jobstore.model.walltime import fire_times, latest
from tests.crontab import changes, matches, runs, utc

BEGIN: Final = utc(2026)
END: Final = utc(2031)
AROUND: Final = timedelta(hours=14)
HOUR: Final = timedelta(hours=1)

unhurried: Final = settings(deadline=None)  # how long it takes is not the question

# What is asked around each change, whatever day it is on ...
ANY_DAY: Final = (
    "* * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "5/20 * * * *",
    "30 */2 * * *",
    "*/15 0 * * *",
    "*/15 1 * * *",
    "*/15 2 * * *",
    "*/15 3 * * *",
    "*/20 23 * * *",
    "* 0-3 * * *",
    "*/7,3 1-4 * * *",
    "7,*/20 2 * * *",
    "0 0 * * *",
    "0 1 * * *",
    "0 2 * * *",
    "0 3 * * *",
    "15 0 * * *",
    "30 0 * * *",
    "45 1 * * *",
    "30 2 * * *",
    "10 3 * * *",
    "59 23 * * *",
    "0,15,30,45 0-4 * * *",
    "0-59 2 * * *",
    "29,30,31 0,1,2,3 * * *",
    "0 0 * * 0",
    "30 23 * * 5-6",
    "*/30 0-2 L * *",
    "15 1 * * SUNL",
)
# ... and on that day, which the clock may show before the change, after it, or both.
THAT_DAY: Final = (
    "*/15 {hour} {day} {month} *",
    "* {hour} {day} {month} *",
    "30 * {day} {month} *",
    "0 {hour} {day} {month} *",
    "30 {hour} {day} {month} *",
    "59 {hour} {day} {month} *",
    "*/15 * {day} {month} {weekday}",
    "*/15 {hour} * * {weekday}",
    "15,45 {hour} */2 * {weekday}",
    "0 {hour} 13 * {weekday}",
    "45 0-3 {day} * *",
    "*/15 {hour} * {month} {weekday}#{nth}",
    "30 {hour} * {month} {weekday}#{nth}",
)


@cache
def _zones_by_rule() -> dict[str, Sequence[str]]:
    """Group the zones whose clocks are changed by when they are; many have several names."""
    groups: defaultdict[tuple[tuple[datetime, str], ...], list[str]] = defaultdict(list)
    for zone in sorted(available_timezones()):
        if found := changes(zone, BEGIN, END):
            shown = [(at, str(at.astimezone(ZoneInfo(zone)))) for at in found]
            groups[tuple(shown)].append(zone)
    return {zones[0]: zones for zones in groups.values()}


# Clocks that were changed in other ways than any is now: by a day, by three hours, at odd times.
PAST: Final = {
    "Pacific/Apia": utc(2011, 12, 30),
    "Pacific/Kwajalein": utc(1993, 8, 21),
    "Pacific/Enderbury": utc(1995),
    "Antarctica/Casey": utc(2010, 3, 4),
    "Asia/Pyongyang": utc(2018, 5, 4),
    "America/Caracas": utc(2007, 12, 9),
    "America/St_Johns": utc(2010, 11, 7),
    "Asia/Kathmandu": utc(1986),
    "Antarctica/Troll": utc(2005, 3, 27),
    "Antarctica/Vostok": utc(2023, 12, 18),
    "America/Danmarkshavn": utc(1996, 1, 1),
    "Asia/Gaza": utc(2011, 8, 1),
}


def expressions(zone: str, change: datetime) -> Iterator[str]:
    """Give what is asked around a change."""
    yield from ANY_DAY
    where = ZoneInfo(zone)
    before = (change - timedelta(seconds=1)).astimezone(where)
    after = change.astimezone(where)
    for shown in {before, after}:
        nth = (shown.day - 1) // 7 + 1
        weekday = shown.isoweekday()
        about = {"hour": shown.hour, "day": shown.day, "month": shown.month}
        for template in THAT_DAY:
            yield template.format(**about, weekday=weekday, nth=nth)


def fired(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """List when an expression fires, from one moment on and before another."""
    first, stop = int(begin.timestamp()), int(end.timestamp())
    times = fire_times(read(expression), ZoneInfo(zone), first - 1)
    return [datetime.fromtimestamp(at, UTC) for at in takewhile(lambda at: at < stop, times)]


def test_clocks_are_changed_in_so_many_zones_that_the_comparison_means_something() -> None:
    assert sum(map(len, _zones_by_rule().values())) > 150
    assert len({*ANY_DAY, *THAT_DAY}) >= 40


@pytest.mark.parametrize("rule", _zones_by_rule())
def test_no_expression_loses_doubles_or_invents_a_run_when_the_clocks_are_changed(
    rule: str,
) -> None:
    for change in changes(rule, BEGIN, END):
        span = change - AROUND, change + AROUND
        asked = list(dict.fromkeys(expressions(rule, change)))
        expected = {expression: runs(expression, rule, *span) for expression in asked}
        for number, zone in enumerate(_zones_by_rule()[rule]):
            # Each further zone of a rule, many of which are names for the same, takes a part.
            for expression in asked if number == 0 else asked[number % 7 :: 7]:
                found = fired(expression, zone, *span)
                assert found == expected[expression], (expression, zone, change)


@pytest.mark.parametrize("zone", PAST)
def test_no_change_of_the_past_is_too_odd(zone: str) -> None:
    (change,) = changes(zone, PAST[zone] - 4 * HOUR * 24, PAST[zone] + 4 * HOUR * 24)
    span = change - 2 * AROUND, change + 2 * AROUND
    for expression in expressions(zone, change):
        assert fired(expression, zone, *span) == runs(expression, zone, *span), expression


# --- whatever hypothesis finds ------------------------------------------------------------------


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    """Make fields of numbers."""
    number, step = st.integers(low, high), st.integers(1, high + 2)
    spans = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    stepped = st.tuples(st.one_of(st.just("*"), spans, number.map(str)), step)
    items = st.one_of(number.map(str), spans, stepped.map(lambda of: f"{of[0]}/{of[1]}"))
    return st.one_of(st.just("*"), st.lists(items, min_size=1, max_size=3).map(",".join))


DAYS: Final = st.one_of(st.just("*"), fields(1, 31), st.sampled_from(["L", "LW", "13,L", "*/9,LW"]))
MONTHS: Final = st.one_of(st.just("*"), fields(1, 12), st.sampled_from(["feb", "Mar-NOV/3,12"]))
WEEKDAYS: Final = st.one_of(
    st.just("*"),
    fields(0, 7),
    st.sampled_from(["sun", "Mon-fri", "5L", "7L", "0#1", "SUN#5,3", "*/2,4#4", "SUN,SAT"]),
)
EXPRESSIONS: Final = st.tuples(fields(0, 59), fields(0, 23), DAYS, MONTHS, WEEKDAYS).map(" ".join)
RULES: Final = st.deferred(lambda: st.sampled_from(list(_zones_by_rule())))


@unhurried
@given(RULES, st.integers(0, 9), EXPRESSIONS, st.integers(-240, 240))
def test_whoever_asks_at_any_time_around_a_change_is_told_the_rest_of_the_runs(
    zone: str, number: int, expression: str, minutes: int
) -> None:
    found = changes(zone, BEGIN, END)
    change = found[number % len(found)]
    begin, end = change - 9 * HOUR, change + 9 * HOUR
    asked_at = change + timedelta(minutes=minutes)
    rest = [at for at in runs(expression, zone, begin, end) if at >= asked_at]
    assert fired(expression, zone, asked_at, end) == rest


@unhurried
@given(EXPRESSIONS, st.dates(utc(1970, 1, 2).date(), utc(2200).date()))
def test_an_expression_means_the_days_and_the_minutes_that_the_manual_says(
    expression: str, day: date
) -> None:
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    assert fired(expression, "UTC", begin, end) == runs(expression, "UTC", begin, end)


@unhurried
@given(EXPRESSIONS)
def test_an_expression_is_refused_exactly_if_there_is_no_day_that_it_means(
    expression: str,
) -> None:
    _, _, *days = expression.split()
    asked = " ".join(["*", "*", *days])
    # The days of the week come round in 28 years, in which there is each kind of year.
    all_days = (utc(2000) + timedelta(days=n) for n in range(28 * 365))
    if any(matches(asked, day) for day in all_days):
        assert checked_cron(expression) == expression
    else:
        with pytest.raises(ValueError, match="never fires: no month has such a day"):
            checked_cron(expression)


@unhurried
@given(
    EXPRESSIONS,
    st.sampled_from(["UTC", "Pacific/Chatham", "Africa/Cairo", "America/Santiago"]),
    st.integers(1, 400),
    st.integers(0, 60 * 24 * 40),
)
def test_the_latest_times_are_the_last_ones_of_all(
    expression: str, zone: str, count: int, minutes: int
) -> None:
    begin = utc(2027, 3, 10)
    end = begin + timedelta(minutes=minutes)
    whole = [int(at.timestamp()) for at in fired(expression, zone, begin, end)]
    first, until = int(begin.timestamp()), int(end.timestamp()) - 1
    assert latest(read(expression), ZoneInfo(zone), first, until, count) == whole[-count:]


# --- bounds -------------------------------------------------------------------------------------


class Counting(ZoneInfo):
    """A zone that counts how often somebody asks how far it is from UTC."""

    asked = 0

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Tell how far it is from UTC."""
        type(self).asked += 1
        return super().utcoffset(moment)


# What is rare, what is never, and what the clock leaves out whenever it would be time for it.
WORST: Final = (
    "*/15 3 * * *",
    "* 3 4 4 *",
    "0 0 29 2 1",
    "0 0 29 2 */7",
    "0 0 * 2 MON#5",
    "0 0 30 2 *",
    "0 0 31 2,4,6,9,11 *",
    "*/15 3 * 4 SUN#1",
    "*/15 2 * 9 SUNL",
)


@pytest.mark.parametrize("expression", WORST)
@pytest.mark.parametrize(
    "zone", ["UTC", "Pacific/Chatham", "Australia/Lord_Howe", "Africa/Casablanca"]
)
@pytest.mark.parametrize("at", [utc(2026, 11, 29), utc(2027, 4, 4), utc(2190), utc(9997)])
def test_fifty_years_are_searched_and_the_zone_is_asked_a_bounded_number_of_times(
    expression: str, zone: str, at: datetime
) -> None:
    counting = Counting.no_cache(zone)
    Counting.asked = 0
    start = int(at.timestamp())
    first = next(fire_times(read(expression), counting, start), None)
    assert first is None or start < first < start + 51 * 366 * 24 * 3600
    assert Counting.asked < 50 * 30, "a few times for each of the days that may match in a year"


@pytest.mark.parametrize("expression", ["* * * * *", "30 2 * * *"])
@pytest.mark.parametrize("at", [-(2**40), 0, 253_400_000_000, 2**50])
def test_a_clock_that_stands_at_an_impossible_time_is_no_reason_to_fail(
    expression: str, at: int
) -> None:
    times = list(islice(fire_times(read(expression), ZoneInfo("Asia/Tokyo"), at), 3))
    assert times == sorted(set(times))
    assert latest(read(expression), ZoneInfo("Asia/Tokyo"), at, at + 60, 1) in ([], [0], [60])


def test_a_leap_day_on_a_given_day_of_the_week_is_found_across_a_century_without_one() -> None:
    times = fired("0 0 29 2 */7", "UTC", utc(2089), utc(2130))
    assert times == [utc(2128, 2, 29)]


def test_what_the_clocks_of_a_zone_always_leave_out_never_fires_there() -> None:
    second_sunday = "*/15 2 * 3 SUN#2"
    assert problem(Schedule(cron=second_sunday, time_zone="Europe/Berlin")) is None
    why = problem(Schedule(cron=second_sunday, time_zone="America/New_York"))
    assert why == (
        "*/15 2 * 3 SUN#2 never fires in America/New_York: no clock there shows such a time"
    )
    assert problem(Schedule(cron="15 2 * 3 SUN#2", time_zone="America/New_York")) is None


def test_why_a_schedule_never_fires_is_told() -> None:
    assert problem(Schedule(cron="0 0 30 2 *")) == (
        "0 0 30 2 * never fires in UTC: no clock there shows such a time"
    )
    unknown = "unknown time zone Europe/Atlantis"
    assert problem(Schedule(cron="0 3 * * *", time_zone="Europe/Atlantis")) == unknown
    assert str(problem(Schedule(cron="0 3 L/2 * *"))).startswith("bad day-of-month; expected")
