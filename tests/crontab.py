"""What cron's manual says, done the slow way: look at the clock on the wall every minute.

`jobstore.model.cron` and `jobstore.model.walltime` are held against this, which shares nothing with
them: of each number it is asked whether a field means it, and real time is walked minute by minute.
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = [datetime(2026, n, 1, tzinfo=UTC).strftime("%b").upper() for n in range(1, 13)]
_DAYS: Final = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
_THREE_HOURS: Final = timedelta(hours=3)
_MINUTE: Final = timedelta(minutes=1)


def matches(expression: str, shown: datetime) -> bool:
    """Tell whether an expression means a time that a clock shows."""
    minute, hour, day, month, weekday = expression.upper().split()
    if not (_means(minute, shown.minute, 0, 59) and _means(hour, shown.hour, 0, 23)):
        return False
    if not _means(month, shown.month, 1, 12, lambda name: _MONTHS.index(name) + 1):
        return False
    days = any(_means_day(item, shown) for item in day.split(","))
    weekdays = any(_means_weekday(item, shown) for item in weekday.split(","))
    if "*" in {day[0], weekday[0]}:
        return days and weekdays
    return days or weekdays


def _means(
    field: str, number: int, low: int, high: int, named: Callable[[str], int] | None = None
) -> bool:
    return any(_item_means(item, number, low, high, named) for item in field.split(","))


def _item_means(
    item: str, number: int, low: int, high: int, named: Callable[[str], int] | None
) -> bool:
    def value(text: str) -> int:
        return named(text) if named and text.isalpha() else int(text)

    span, step = item.split("/") if "/" in item else (item, None)
    if span == "*":
        first, last = low, high
    elif "-" in span:
        first, last = (value(end) for end in span.split("-"))
    else:
        first, last = value(span), high if step else value(span)
    return first <= number <= last and (number - first) % int(step or 1) == 0


def _means_day(item: str, shown: datetime) -> bool:
    if item == "L":
        return _is_last(shown, 1)
    if item == "LW":
        rest = [shown + timedelta(days=n) for n in range(1, 32 - shown.day)]
        later = [day for day in rest if day.month == shown.month and day.weekday() < 5]
        return shown.weekday() < 5 and not later
    return _item_means(item, shown.day, 1, 31, None)


def _means_weekday(item: str, shown: datetime) -> bool:
    number = shown.isoweekday()  # Sunday is 7, and 0 as well
    if "#" in item:
        day, which = item.split("#")
        in_turn = (shown.day - 1) // 7 + 1 == int(which)
        return in_turn and _means_weekday(day, shown)
    if item.endswith("L"):
        return _is_last(shown, 7) and _means_weekday(item[:-1], shown)
    numbers = {number, number % 7}
    return any(_item_means(item, each, 0, 7, _DAYS.index) for each in numbers)


def _is_last(shown: datetime, days: int) -> bool:
    return shown.day + days > monthrange(shown.year, shown.month)[1]


def runs(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """List the moments at which cron(8) runs a command, from one in UTC on and before another.

    Nothing must have happened to the clock in the 3 hours before the beginning.
    """
    minute, hour, *_ = expression.split()
    meant = _meant(expression)
    if minute.startswith("*") or hour.startswith("*"):
        return [at for at, shown, _ in _walk(zone, begin, end) if meant(shown)]
    return [at for at, _, passed in _walk(zone, begin, end) if any(map(meant, passed))]


@lru_cache(maxsize=4)  # all is asked about one change before the next, and a walk is long
def _walk(
    zone: str, begin: datetime, end: datetime
) -> list[tuple[datetime, datetime, list[datetime]]]:
    """List what a clock shows at each minute, and the minutes that have passed on it by then.

    Those are the one that it shows, those that were left out as well, or none if it has shown this
    one before.
    """
    where = ZoneInfo(zone)
    furthest = (begin - _MINUTE).astimezone(where).replace(tzinfo=None)
    walked = []
    for n in range((end - begin) // _MINUTE):
        at = begin + n * _MINUTE
        shown = at.astimezone(where).replace(tzinfo=None, fold=0)
        step = shown - furthest
        correction = abs(step - _MINUTE) >= _THREE_HOURS
        passed = [shown]
        if not correction:
            passed = [furthest + (n + 1) * _MINUTE for n in range(step // _MINUTE)]
        if correction or passed:
            furthest = shown
        walked.append((at, shown, passed))
    return walked


@cache
def _meant(expression: str) -> Callable[[datetime], bool]:
    """Give what asks `matches`, and remembers its answers."""
    minute, hour, *days = expression.upper().split()
    minutes = {number for number in range(60) if _means(minute, number, 0, 59)}
    hours = {number for number in range(24) if _means(hour, number, 0, 23)}
    on = cache(lambda day: matches(" ".join(["*", "*", *days]), day))

    def meant(shown: datetime) -> bool:
        if shown.minute not in minutes or shown.hour not in hours:
            return False
        return on(shown.replace(hour=0, minute=0))

    return meant


def changes(zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Find the moments at which a zone's clocks are changed; none within 8 days of another."""
    where, found = ZoneInfo(zone), []
    week = timedelta(days=8)

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(where).utcoffset()

    for n in range((end - begin) // week + 1):
        same, other = begin + n * week, begin + (n + 1) * week
        if offset(same) == offset(other):
            continue
        old = offset(same)
        while other - same > timedelta(seconds=1):
            middle = (same + (other - same) / 2).replace(microsecond=0)
            same, other = (middle, other) if offset(middle) == old else (same, middle)
        found.append(other)
    return found


def utc(year: int, month: int = 1, day: int = 1) -> datetime:
    """Give the beginning of a day in UTC."""
    return datetime(year, month, day, tzinfo=UTC)
