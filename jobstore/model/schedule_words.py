"""Schedules in words: when they fire, and what happens to missed times.

The words are made from an expression's parsed fields, not from its text, so ``MON-FRI`` and
``1,2,3,4,5`` read alike. An expression that cannot be said briefly is shown as it is.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobstore.model import cron
from jobstore.model.clock import SECOND
from jobstore.model.cron import Cron
from jobstore.model.schedule import CatchUp, Overlap, Schedule

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS: Final = (
    *("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
)
_NTH: Final = ("first", "second", "third", "fourth", "fifth")
_WORKING: Final = frozenset(range(1, 6))
_ALL_DAYS: Final = frozenset(range(1, 32))
_ALL_WEEKDAYS: Final = frozenset(range(7))
_ALL_MONTHS: Final = frozenset(range(1, 13))
_HOUR: Final = 60  # minutes
_DAY: Final = 24  # hours
_MOST_TIMES: Final = 4  # that are told one by one
_TEENS: Final = range(11, 14)

CATCH_UP: Final[Mapping[CatchUp, str]] = MappingProxyType(
    {
        CatchUp.ONE: "Times that were missed get one run together.",
        CatchUp.NONE: "Times that were missed while the server was down get no run.",
        CatchUp.ALL: "Each time that was missed gets a run of its own.",
    }
)
OVERLAP: Final[Mapping[Overlap, str]] = MappingProxyType(
    {
        Overlap.SKIP: "A time is skipped if an earlier run has not ended by then.",
        Overlap.QUEUE: "A run waits until the earlier one has ended.",
        Overlap.ALLOW: "A run starts on time, whether an earlier one has ended or not.",
    }
)


class FireTime(NamedTuple):
    """A time at which a schedule fires.

    Args:
        at: in microseconds since 1970.
        shown: the local time in its zone, with the day.
        remark: what is unusual about it, or "".
    """

    at: int
    shown: str
    remark: str


def in_words(schedule: Schedule) -> str:
    """Say when a schedule fires: every day at 03:00 Europe/Berlin.

    What cannot be said in a few words is the expression itself, with its zone.
    """
    try:
        expression = cron.read(schedule.cron)
    except ValueError:
        return f"{schedule.cron} {schedule.time_zone}"
    times, days = _times(expression), _days(expression)
    if times is None or days is None:
        return f"{schedule.cron} {schedule.time_zone}"
    months = _months(expression)
    if times.startswith("at "):
        return f"{days or 'every day'}{months} {times} {schedule.time_zone}"
    if not days and not months and " from " not in times:
        return times
    return f"{times}, {days or 'every day'}{months}, {schedule.time_zone}"


# --- times ----------------------------------------------------------------------------------------


def _times(of: Cron) -> str | None:
    """Say at what times of the day; None if that takes more than a few words."""
    if len(of.minutes) * len(of.hours) <= _MOST_TIMES:
        return "at " + _listed(
            f"{hour:02}:{minute:02}" for hour in of.hours for minute in of.minutes
        )
    minutes = _minutes(of.minutes)
    if minutes is None:
        return None
    if len(of.hours) == _DAY:
        return minutes
    every = _step(of.hours, _DAY)
    if every is not None and len(of.minutes) == 1:
        past = f" at minute {of.minutes[0]}" if of.minutes[0] else ""
        return f"every {every} hours{past}"
    first, last = of.hours[0], of.hours[-1]
    if of.hours != (*range(first, last + 1),):
        return None
    return f"{minutes} from {first:02}:{of.minutes[0]:02} to {last:02}:{of.minutes[-1]:02}"


def _minutes(minutes: Sequence[int]) -> str | None:
    if len(minutes) == _HOUR:
        return "every minute"
    if len(minutes) == 1:
        return f"every hour at minute {minutes[0]}" if minutes[0] else "every hour"
    every = _step(minutes, _HOUR)
    if every is not None:
        return f"every {every} minutes"
    if len(minutes) <= _MOST_TIMES:
        return f"every hour at minutes {_listed(map(str, minutes))}"
    return None


def _step(numbers: Sequence[int], of: int) -> int | None:
    """Return the step of numbers that begin at 0 and divide the range evenly; else None."""
    step = of // len(numbers)
    return step if (*numbers,) == (*range(0, of, step),) and of % step == 0 else None


# --- days -----------------------------------------------------------------------------------------


def _days(of: Cron) -> str | None:
    """Say on what days, or nothing for all; None if that takes more than a few words."""
    of_month, of_week = _days_of_month(of), _days_of_week(of)
    if of_month is None or of_week is None:
        return None
    if not (of_month and of_week):
        return of_month or of_week if of.both else ""
    return None if of.both else f"{of_month} and {of_week}"


def _days_of_month(of: Cron) -> str | None:
    days = of.days
    if days.numbers == _ALL_DAYS:
        return ""
    if len(days.numbers) > _MOST_TIMES:
        return None
    named = [f"the {_ordinal(day)}" for day in sorted(days.numbers)]
    named += ["the last day"] * days.last + ["the last working day"] * days.last_working
    return f"on {_listed(named)} of {'each month' if of.months == _ALL_MONTHS else 'the month'}"


def _days_of_week(of: Cron) -> str | None:
    days = of.weekdays
    if days.every == _ALL_WEEKDAYS:
        return ""
    if days.last or days.nth:
        if days.every:
            return None
        named = [f"the {_NTH[n - 1]} {_WEEKDAYS[day]}" for day, n in sorted(days.nth)]
        named += [f"the last {_WEEKDAYS[day]}" for day in sorted(days.last)]
        return f"on {_listed(named)} of {'each month' if of.months == _ALL_MONTHS else 'the month'}"
    if days.every == _WORKING:
        return "Monday to Friday"
    monday_first = sorted(days.every, key=lambda day: day or len(_WEEKDAYS))
    return f"every {_listed(_WEEKDAYS[day] for day in monday_first)}"


def _months(of: Cron) -> str:
    if of.months == _ALL_MONTHS:
        return ""
    return f" in {_listed(_MONTHS[month - 1] for month in sorted(of.months))}"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number in _TEENS else ending}"


def _listed(words: Iterator[str] | Collection[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


# --- the next times -------------------------------------------------------------------------------


def told(schedule: Schedule, times: Sequence[int], now: int) -> list[FireTime]:
    """Return each fire time with its local time, and a remark if the clock changes before it.

    Args:
        times: in order, in microseconds since 1970, as well as now.
    """
    try:
        zone, expression = ZoneInfo(schedule.time_zone), cron.read(schedule.cron)
    except (OSError, ValueError, ZoneInfoNotFoundError):  # a KeyError
        return []
    found, before = [], _shown(now, zone)
    for at in times:
        shown = _shown(at, zone)
        remark = _remark(expression, before, shown)
        found.append(FireTime(at, f"{shown:%a} {shown.day} {shown:%b %Y, %H:%M}", remark))
        before = shown
    return found


def _shown(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at // SECOND, zone)


def _remark(expression: Cron, before: datetime, shown: datetime) -> str:
    """Say whether the clock changes between two times, and how that affects the second."""
    change = _offset(shown) - _offset(before)
    if not change:
        return ""
    direction = "forward" if change > timedelta() else "back"
    told = f"the clock is put {direction} by {_by(abs(change))} before it"
    left_out = shown.hour not in expression.hours or shown.minute not in expression.minutes
    return f"{told}, and leaves its time out: it runs right after" if left_out else told


def _offset(shown: datetime) -> timedelta:
    offset = shown.utcoffset()
    assert offset is not None
    return offset


def _by(change: timedelta) -> str:
    minutes = int(change.total_seconds()) // 60
    return f"{minutes // _HOUR} h" if minutes % _HOUR == 0 else f"{minutes} min"
