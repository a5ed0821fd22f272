"""Schedules: cron expressions in time zones; decisions only.

The meaning of an expression is described in `cron`, and in `walltime` for days on which clocks are
put forward or back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobstore.model import cron, walltime
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen

# However many fire times were missed, so many of them, the latest, are made up for.
MOST_MISSED: Final = 1000
_MINUTE: Final = 60 * SECOND  # two fire times are not closer to each other
# A clock that is set by less is set like one that is put forward or back for the summer: cron(8).
_SMALL_CHANGE: Final = 3 * 60 * _MINUTE
# Whether an expression ever fires is asked at a fixed time, so that the answer stays the same.
_SOME_DAY: Final = 1_767_225_600 * SECOND  # 2026-01-01


class CatchUp(StrEnum):
    """What happens to missed fire times.

    Times are missed while the server is down, the machine sleeps, the queue is full, or a
    run has to wait for an earlier one.
    """

    ONE = "one"  # one run for all of them
    NONE = "none"  # none for those at which the server was down; one for any others together
    ALL = "all"  # a run for each, one after the other unless they may overlap


class Overlap(StrEnum):
    """What happens at a fire time while an earlier run has not ended."""

    SKIP = "skip"  # it passes without a run
    QUEUE = "queue"  # its run starts when the earlier one has ended
    ALLOW = "allow"  # its run starts all the same


@frozen(kw_only=True)
class Schedule:
    """The schedule of a definition.

    Args:
        cron: minute, hour, day of month, month and day of week, such as ``0 3 * * *``.
        time_zone: the IANA name of the zone in which it is read; UTC unless said otherwise.
        catch_up: what happens to missed fire times; by default they get one run together.
        overlap: what happens at a fire time while an earlier run goes on; by default it is skipped.
        paused: whether it is paused; times that pass meanwhile are not made up for.
    """

    cron: str
    time_zone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    paused: bool = False


@frozen(kw_only=True)
class Decision:
    """What to do about a schedule that is due; times are in microseconds since 1970.

    Args:
        runs: the fire times to run now.
        skipped: the fire times to skip because an earlier run has not ended.
        missed: the first fire time that is given up as missed, or None.
        waits: whether an earlier run has to end first.
        next_at: when to decide again; None means never.
        problem: why never, or None.
    """

    runs: Sequence[int] = ()
    skipped: Sequence[int] = ()
    missed: int | None = None
    waits: bool = False
    next_at: int | None = None
    problem: str | None = None


def checked_cron(text: str) -> str:
    """Return a cron expression in its normal form.

    Raises:
        ValueError: it is invalid, or never fires; the message says which.
    """
    if cron.read(text).never:
        raise ValueError(f"{text} never fires: no month has such a day")
    return " ".join(text.split())


def problem(schedule: Schedule) -> str | None:
    """Return why a schedule never fires, whether paused or not; None if it does."""
    try:
        _read(schedule)
    except ValueError as unknown:
        return str(unknown)
    if next(fires(schedule, _SOME_DAY), None) is not None:
        return None
    zone = schedule.time_zone
    return f"{schedule.cron} never fires in {zone}: no clock there shows such a time"


def fires(schedule: Schedule, after: int) -> Iterator[int]:
    """Yield the fire times of a schedule within 50 years, in order, whether it is paused or not.

    There are none if its zone or expression is not valid here; see `problem`.

    Args:
        after: the time after which to begin, in microseconds since 1970.
    """
    try:
        expression, zone = _read(schedule)
    except ValueError:
        return iter(())
    return (at * SECOND for at in walltime.fire_times(expression, zone, after // SECOND))


def _read(schedule: Schedule) -> tuple[cron.Cron, ZoneInfo]:
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (OSError, ValueError, ZoneInfoNotFoundError):  # a KeyError
        raise ValueError(f"unknown time zone {schedule.time_zone}") from None
    return cron.read(schedule.cron), zone


def next_fires(schedule: Schedule | None, after: int, count: int) -> list[int]:
    """Return the next fire times, at most so many; none if the schedule is paused."""
    if schedule is None or schedule.paused:
        return []
    return list(islice(fires(schedule, after), count))


def next_fire(schedule: Schedule | None, after: int) -> int | None:
    """Return the first fire time after a given time; None means never."""
    return next(iter(next_fires(schedule, after, 1)), None)


def reconsidered(schedule: Schedule, fires_at: int, now: int) -> int:
    """Return when a schedule fires next, if the clock may have been set since that was stored.

    If the clock is set forward, times become due, and are handled like any that have passed. If it
    is set back, it will show some times again. These follow the rule of cron(8), except for
    single times:

    * If all of them lie within 3 hours, fixed times are not run again, but others are, so that a
      schedule that runs every minute continues at once. A single time is never run again: clocks
      are often set back by a second or a minute, just after such a run.
    * Otherwise the clock was wrong before, and its new time counts.

    Until the returned time, later calls return the same time.

    Args:
        schedule: the schedule; it is not paused.
        fires_at: the stored next fire time.
        now: microseconds since 1970.
    """
    soon = list(takewhile(lambda at: at <= now + _SMALL_CHANGE, fires(schedule, now)))
    following = next_fire(schedule, soon[-1] if soon else now)
    if following is not None:
        soon.append(following)
    if not soon or fires_at <= soon[0]:
        return fires_at
    single = fires_at in soon[1:2]
    return fires_at if single or (_read(schedule)[0].fixed and fires_at in soon) else soon[0]


def decide(
    schedule: Schedule,
    due: int,
    now: int,
    *,
    since: int,
    busy_since: int | None,
    limit: int,
) -> Decision:
    """Decide what to do about a schedule whose time has come.

    Args:
        due: the first fire time that has not been handled.
        now: the current time.
        since: since when the server has watched for fire times; before that, it was down.
        busy_since: when the oldest of its runs that have not ended was submitted, or None.
        limit: the most fire times to handle now.
    """
    decision = _decide(schedule, due, now, since=since, busy_since=busy_since, limit=limit)
    if decision.next_at is not None:
        return decision
    return replace(decision, problem=problem(schedule) or "it does not fire for 50 years")


def _decide(
    schedule: Schedule, due: int, now: int, *, since: int, busy_since: int | None, limit: int
) -> Decision:
    unmet = _unmet(schedule, due, now, since, limit)
    if not unmet:
        return Decision(missed=due, next_at=next_fire(schedule, now))
    missed = due if unmet[0] > due else None
    if schedule.overlap is Overlap.ALLOW or busy_since is None:
        runs = unmet if schedule.overlap is Overlap.ALLOW else unmet[:1]
        return Decision(runs=runs, missed=missed, next_at=next_fire(schedule, runs[-1]))
    # A run that began only after the fire time, such as one that makes up for a time before it,
    # was not in its way then; one from the future began before the clock was put back.
    in_the_way = busy_since <= unmet[0] or busy_since > now
    if schedule.overlap is Overlap.SKIP and in_the_way:
        return Decision(skipped=unmet, missed=missed, next_at=next_fire(schedule, unmet[-1]))
    return Decision(waits=True, next_at=due)


def _unmet(schedule: Schedule, due: int, now: int, since: int, limit: int) -> Sequence[int]:
    """Return the past fire times that should get a run."""
    if schedule.catch_up is CatchUp.NONE and due < since:
        return _latest(schedule, since, now, 1)
    if schedule.catch_up is not CatchUp.ALL:
        return _latest(schedule, due, now, 1) or [due]
    if now - due > MOST_MISSED * _MINUTE:
        due = next(iter(_latest(schedule, due, now, MOST_MISSED)), due)
    # What was a fire time when that was written down is one, even if its zone has new rules now.
    return list(islice(_passed(schedule, due, now), limit)) or [due]


def _latest(schedule: Schedule, first: int, now: int, count: int) -> Sequence[int]:
    """Return the latest fire times since a given one, at most so many."""
    try:
        expression, zone = _read(schedule)
    except ValueError:
        return ()
    # Rounded up: fire times are whole minutes.
    latest = walltime.latest(expression, zone, -(-first // SECOND), now // SECOND, count)
    return [at * SECOND for at in latest]


def _passed(schedule: Schedule, first: int, now: int) -> Iterator[int]:
    return takewhile(lambda at: at <= now, fires(schedule, first - 1))
