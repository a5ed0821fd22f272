"""When schedules fire, and what is decided about what is due: no store, no server, no waiting."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.model.clock import SECOND
from jobstore.model.schedule import (
    MOST_MISSED,
    CatchUp,
    Decision,
    Overlap,
    Schedule,
    checked_cron,
    decide,
    fires,
    next_fire,
)

BERLIN: Final = "Europe/Berlin"
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

unhurried: Final = settings(deadline=None)  # how long it takes is not the question


def at(written: str, zone: str = "UTC", fold: int = 0) -> int:
    """Give a moment as a clock on the wall shows it; the second time if it does twice."""
    moment = datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp()) * SECOND


def shown(moment: int, zone: str) -> str:
    """Write a moment as a clock on the wall shows it, with the offset from UTC."""
    return datetime.fromtimestamp(moment // SECOND, ZoneInfo(zone)).isoformat(" ", "minutes")


def fired(cron: str, zone: str, day: str) -> list[str]:
    """List when a schedule fires on a day."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    first, end = (int(each.timestamp()) * SECOND for each in (start, start + timedelta(days=1)))
    times = takewhile(lambda moment: moment < end, fires(schedule(cron, zone), first - 1))
    return [shown(moment, zone).removeprefix(day).strip() for moment in times]


def schedule(cron: str = "0 * * * *", zone: str = "UTC", **rest: Any) -> Schedule:
    """Make a schedule, every full hour unless said otherwise."""
    return Schedule(cron=cron, time_zone=zone, **rest)


def decided(which: Schedule, due: int, now: int, **differing: Any) -> Decision:
    """Decide where the server has run all the time and no run goes on."""
    given: dict[str, Any] = {"since": 0, "busy_since": None, "limit": 10**6}
    return decide(which, due, now, **(given | differing))


# --- expressions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cron", ["* * * * *", "*/5 8-17 * * 1-5", "0 3 1 JAN,jul *", "0 0 L * *", "0 0 29 2 *"]
)
def test_an_expression_that_fires_is_taken_as_it_is(cron: str) -> None:
    assert checked_cron(cron) == cron


def test_how_the_fields_are_set_apart_makes_no_difference() -> None:
    assert checked_cron(" 0\t3 *  * * ") == "0 3 * * *"


@pytest.mark.parametrize(
    "cron",
    ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb *", "0 0 */6 2 MON#5", "0 0 */30 2 MON#5"],
)
def test_an_expression_that_never_fires_is_refused_as_such(cron: str) -> None:
    with pytest.raises(ValueError, match=r"never fires: no month has such a day"):
        checked_cron(cron)


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("60 * * * *", "bad minute; expected the five fields minute, hour, day of month"),
        ("0 24 * * *", "bad hour"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 32 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 * *", "expected the five fields"),
        ("0 0 0 * * *", "expected the five fields"),
        ("@daily", "expected the five fields"),
        ("", "expected the five fields"),
        ("1" * 5000 + " * * * *", "expected the five fields"),
    ],
)
def test_what_is_no_expression_is_refused_with_what_is_wrong_about_it(
    cron: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        checked_cron(cron)


@unhurried
@given(st.text("0123456789*/,-#LW MONFEBé²\t", max_size=40))
def test_whatever_is_taken_fires_and_nothing_but_a_refusal_happens_otherwise(cron: str) -> None:
    with suppress(ValueError):
        assert next_fire(schedule(checked_cron(cron)), at("2026-11-22")) is not None


# --- daylight saving ----------------------------------------------------------------------------

# Central Europe's clocks go from 2 to 3 on 2027-03-28, and from 3 back to 2 on 2027-10-31.
FORWARD: Final = "2027-03-28"
BACK: Final = "2027-10-31"


def test_a_fixed_time_that_is_left_out_comes_right_after_the_gap() -> None:
    assert fired("30 2 * * *", BERLIN, FORWARD) == ["03:00+02:00"]


def test_fixed_times_that_are_left_out_together_come_once() -> None:
    assert fired("0,15,30,45 2 * * *", BERLIN, FORWARD) == ["03:00+02:00"]
    assert fired("30 2,3 * * *", BERLIN, FORWARD) == ["03:00+02:00", "03:30+02:00"]
    assert fired("0 2,3 * * *", BERLIN, FORWARD) == ["03:00+02:00"]


def test_the_days_around_a_gap_have_their_fixed_time() -> None:
    assert fired("30 2 * * *", BERLIN, "2027-03-27") == ["02:30+01:00"]
    assert fired("30 2 * * *", BERLIN, "2027-03-29") == ["02:30+02:00"]


def test_a_fixed_time_that_comes_twice_counts_the_first_time() -> None:
    assert fired("30 2 * * *", BERLIN, BACK) == ["02:30+02:00"]


def test_a_fixed_time_is_not_due_again_for_who_asks_within_the_hour_that_comes_twice() -> None:
    again = at(f"{BACK} 02:10", BERLIN, fold=1)
    following = next_fire(schedule("30 2 * * *", BERLIN), again)
    assert following == at("2027-11-01 02:30", BERLIN)


def test_what_fires_all_the_time_follows_the_time_that_really_passes() -> None:
    assert fired("*/30 2 * * *", BERLIN, FORWARD) == []
    assert fired("*/30 1-3 * * *", BERLIN, FORWARD)[1:3] == ["01:30+01:00", "03:00+02:00"]
    assert fired("*/30 2 * * *", BERLIN, BACK) == [
        "02:00+02:00",
        "02:30+02:00",
        "02:00+01:00",
        "02:30+01:00",
    ]
    assert len(fired("0 * * * *", BERLIN, FORWARD)) == 23
    assert len(fired("0 * * * *", BERLIN, BACK)) == 25


def test_a_change_of_half_an_hour_is_followed_as_well() -> None:
    zone = "Australia/Lord_Howe"
    assert fired("15 2 * * *", zone, "2026-10-04") == ["02:30+11:00"]
    assert fired("45 1 * * *", zone, "2027-04-04") == ["01:45+11:00"]


def test_midnight_that_is_left_out_comes_at_one() -> None:
    assert fired("0 0 * * *", "America/Santiago", "2027-09-05") == ["01:00-03:00"]


def test_a_zone_says_which_day_it_is() -> None:
    tokyo = next_fire(schedule("0 0 1 * *", "Asia/Tokyo"), at("2026-11-15"))
    assert tokyo == at("2026-11-30 15:00")


def test_a_zone_that_this_machine_does_not_know_any_more_never_fires() -> None:
    assert next_fire(schedule(zone="Europe/Atlantis"), 0) is None


CRONS: Final = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "0 * * * *",
        "30 2 * * *",
        "0,15,30,45 1,2,3 * * *",
        "0 0 * * *",
        "*/20 */2 * * *",
        "59 23 * * 0",
        "15 1-4 * * *",
    ]
)
ZONES: Final = st.sampled_from(sorted(available_timezones()))
MOMENTS: Final = st.integers(at("2026-01-01"), at("2036-01-01"))


def _changes(zone: str, year: int) -> list[int]:
    """Find when a zone's clocks are changed in a year."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    hours = [(first + timedelta(hours=n)).astimezone(ZoneInfo(zone)) for n in range(365 * 24)]
    return [
        int(after.timestamp()) * SECOND
        for before, after in pairwise(hours)
        if before.utcoffset() != after.utcoffset()
    ]


CHANGES: Final = [
    (zone, change)
    for zone in (BERLIN, "America/Santiago", "America/New_York")
    for change in _changes(zone, 2027)
]


@unhurried
@given(CRONS, ZONES, MOMENTS)
def test_fire_times_are_whole_minutes_in_order_after_the_moment(
    cron: str, zone: str, after: int
) -> None:
    times = list(islice(fires(schedule(cron, zone), after), 10))
    assert len(times) == 10
    assert all(earlier < later for earlier, later in pairwise([after, *times]))
    assert all(moment % MINUTE == 0 for moment in times)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@unhurried
@given(cron=CRONS, seconds=st.integers(-7200, 7200))
def test_looking_again_at_any_moment_around_a_change_neither_loses_nor_doubles_a_time(
    zone: str, change: int, cron: str, seconds: int
) -> None:
    which = schedule(cron, zone)
    begin, end = change - 12 * HOUR, change + 12 * HOUR
    whole = list(takewhile(lambda each: each <= end, fires(which, begin)))
    looked_at = change + seconds * SECOND
    rest = list(takewhile(lambda each: each <= end, fires(which, looked_at)))
    assert rest == [each for each in whole if each > looked_at]


# --- what was missed ----------------------------------------------------------------------------

DUE: Final = at("2027-01-01 00:00")
NOW: Final = DUE + 3 * HOUR + 5 * MINUTE
NEXT: Final = DUE + 4 * HOUR


def test_what_is_due_runs_and_the_next_time_is_set() -> None:
    assert decided(schedule(), DUE, DUE) == Decision(runs=[DUE], next_at=DUE + HOUR)


def test_one_run_makes_up_for_all_times_that_were_missed() -> None:
    decision = decided(schedule(catch_up=CatchUp.ONE), DUE, NOW, since=NOW)
    assert decision == Decision(runs=[DUE + 3 * HOUR], missed=DUE, next_at=NEXT)


def test_a_single_time_that_was_missed_is_made_up_for_without_a_word() -> None:
    decision = decided(schedule(catch_up=CatchUp.ONE), DUE, DUE + MINUTE, since=DUE + MINUTE)
    assert decision == Decision(runs=[DUE], next_at=DUE + HOUR)


def test_none_of_the_times_that_were_missed_is_made_up_for() -> None:
    decision = decided(schedule(catch_up=CatchUp.NONE), DUE, NOW, since=NOW)
    assert decision == Decision(missed=DUE, next_at=NEXT)


def test_a_time_that_passed_after_the_start_was_not_missed() -> None:
    since = DUE + 2 * HOUR + MINUTE
    decision = decided(schedule(catch_up=CatchUp.NONE), DUE, NOW, since=since)
    assert decision == Decision(runs=[DUE + 3 * HOUR], missed=DUE, next_at=NEXT)


def test_a_time_at_the_very_start_was_not_missed() -> None:
    decision = decided(schedule(catch_up=CatchUp.NONE), DUE, DUE, since=DUE)
    assert decision == Decision(runs=[DUE], next_at=DUE + HOUR)


def test_every_time_that_was_missed_has_a_run() -> None:
    which = schedule(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    decision = decided(which, DUE, NOW, since=NOW)
    assert decision == Decision(runs=[DUE + n * HOUR for n in range(4)], next_at=NEXT)


def test_runs_that_must_not_overlap_make_up_for_missed_times_one_after_the_other() -> None:
    for overlap in (Overlap.SKIP, Overlap.QUEUE):
        which = schedule(catch_up=CatchUp.ALL, overlap=overlap)
        decision = decided(which, DUE, NOW, since=NOW)
        assert decision == Decision(runs=[DUE], next_at=DUE + HOUR)
        began = decided(which, DUE + HOUR, NOW, since=NOW, busy_since=NOW - MINUTE)
        assert began == Decision(waits=True, next_at=DUE + HOUR)


def test_of_too_many_times_that_were_missed_only_the_latest_are_made_up_for() -> None:
    which = schedule("* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    now = DUE + 365 * DAY
    decision = decided(which, DUE, now, since=now)
    assert decision.runs == [now - n * MINUTE for n in reversed(range(MOST_MISSED))]
    assert (decision.missed, decision.next_at) == (DUE, now + MINUTE)


def test_a_year_of_missed_minutes_is_made_up_for_by_one_run_without_counting_them() -> None:
    decision = decided(schedule("* * * * *"), DUE, DUE + 365 * DAY)
    assert decision.runs == [DUE + 365 * DAY]


def test_as_many_times_as_allowed_are_worked_off_at_once() -> None:
    which = schedule(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    decision = decided(which, DUE, NOW, limit=2)
    assert decision == Decision(runs=[DUE, DUE + HOUR], next_at=DUE + 2 * HOUR)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_time_that_is_one_no_more_by_new_rules_of_its_zone_has_its_run(catch_up: CatchUp) -> None:
    decision = decided(schedule("0 3 * * *", catch_up=catch_up), DUE, NOW - 10 * MINUTE)
    assert decision == Decision(runs=[DUE], next_at=DUE + 3 * HOUR)


def test_a_schedule_in_a_zone_that_is_not_known_any_more_is_due_for_the_last_time() -> None:
    decision = decided(schedule(zone="Europe/Atlantis"), DUE, NOW)
    problem = "unknown time zone Europe/Atlantis"
    assert decision == Decision(runs=[DUE], next_at=None, problem=problem)


# --- runs that would overlap --------------------------------------------------------------------


def test_a_time_at_which_an_earlier_run_goes_on_is_skipped() -> None:
    decision = decided(schedule(overlap=Overlap.SKIP), DUE, DUE, busy_since=DUE - HOUR)
    assert decision == Decision(skipped=[DUE], next_at=DUE + HOUR)


def test_a_time_at_which_an_earlier_run_goes_on_waits_for_its_end() -> None:
    which = schedule(overlap=Overlap.QUEUE)
    assert decided(which, DUE, DUE, busy_since=DUE - HOUR) == Decision(waits=True, next_at=DUE)


def test_however_many_times_pass_while_one_waits_one_run_is_left_to_do() -> None:
    which = schedule(overlap=Overlap.QUEUE)
    assert decided(which, DUE, NOW, busy_since=DUE - HOUR) == Decision(waits=True, next_at=DUE)
    assert decided(which, DUE, NOW).runs == [DUE + 3 * HOUR]


def test_a_time_at_which_an_earlier_run_goes_on_runs_beside_it_if_it_may() -> None:
    decision = decided(schedule(overlap=Overlap.ALLOW), DUE, DUE, busy_since=DUE - HOUR)
    assert decision == Decision(runs=[DUE], next_at=DUE + HOUR)


@unhurried
@given(
    catch_up=st.sampled_from(CatchUp),
    overlap=st.sampled_from(Overlap),
    minutes=st.lists(st.integers(0, 500), min_size=1, max_size=8),
    lasting=st.integers(0, 90),
    start=st.integers(0, 500),
)
def test_a_time_has_at_most_one_run_and_exactly_one_where_all_are_to_be_made_up_for(
    *, catch_up: CatchUp, overlap: Overlap, minutes: Sequence[int], lasting: int, start: int
) -> None:
    which = schedule("*/20 * * * *", catch_up=catch_up, overlap=overlap)
    runs: list[int] = []
    skipped: list[int] = []
    busy: tuple[int, int] | None = None
    due: int | None = DUE
    for minute in sorted(minutes):
        now = DUE + minute * MINUTE
        while due is not None and due <= now:
            if busy and busy[1] <= now:
                busy = None
            decision = decided(
                which, due, now, since=DUE + start * MINUTE, busy_since=busy and busy[0]
            )
            if decision.waits:
                break
            assert decision.next_at is not None
            assert decision.next_at > due
            runs += decision.runs
            skipped += decision.skipped
            if decision.runs:
                busy = now, now + lasting * MINUTE
            due = decision.next_at
    assert sorted({*runs, *skipped}) == [*sorted(runs + skipped)], "no time comes twice"
    if catch_up is CatchUp.ALL:
        assert sorted(runs + skipped) == list(
            takewhile(lambda each: each < (due or 0), fires(which, DUE - 1))
        )
