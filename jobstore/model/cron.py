"""Cron expressions: what each of their five fields takes, and the days and times that match.

The meaning is that of Debian's cron, written down in cron(8) and crontab(5) of Debian 12, and where
these are silent, in its source:

* An expression is *fixed* unless its minute or its hour begins with a star. (The manual says "with
  '*' in the hour or minute specifier"; the program looks at the first character only, in
  ``entry.c``, and so does this.)
* Day of month and day of week: either is enough if both are restricted, and both have to match if
  one of the two fields begins with a star.

Beyond Debian, the day of month may be ``L`` (the last day of the month) or ``LW`` (the last one
from Monday to Friday), the day of week ``5L`` (the last Friday) or ``5#2`` (the second Friday), a
single value may have a step (``5/15`` is ``5-59/15``), and ranges and lists may consist of names.
"""

from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Final

from jobstore.model.frozen import frozen

_LONGEST: Final = 255
EXPECTED: Final = (
    "the five fields minute, hour, day of month, month and day of week, such as 0 3 * * *"
)

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
# One year of each kind: beginning on each day of the week, with and without a 29 February.
_ALL_KINDS_OF_YEARS: Final = range(2000, 2028)
_DAYS_OF_WEEK: Final = 7
_WEEKS: Final = 5  # a day of the week comes no sixth time in a month


@frozen
class _Field:
    """One of the five fields: what it is called, and which numbers and names it takes."""

    name: str
    lowest: int
    highest: int
    names: Mapping[str, int]

    def bad(self) -> ValueError:
        return ValueError(f"bad {self.name}; expected {EXPECTED}")

    def number(self, text: str) -> int:
        if text in self.names:
            return self.names[text]
        number = self.count(text)
        if not self.lowest <= number <= self.highest:
            raise self.bad()
        return number

    def count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit()):
            raise self.bad()
        return int(text)

    def numbers(self, item: str) -> range:
        """Read one item of a list: ``*``, a number or a range, each with a step or without."""
        span, has_step, step = item.partition("/")
        first, has_last, last = span.partition("-")
        if span == "*":
            low, high = self.lowest, self.highest
        else:
            low = self.number(first)
            high = self.number(last) if has_last else self.highest if has_step else low
        each = self.count(step) if has_step else 1
        if high < low or each < 1:
            raise self.bad()
        return range(low, high + 1, each)

    def all_numbers(self, text: str) -> list[int]:
        return sorted({number for item in text.split(",") for number in self.numbers(item)})


def _named(first: int, names: str) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(names.split(), first)}


_MINUTES: Final = _Field("minute", 0, 59, {})
_HOURS: Final = _Field("hour", 0, 23, {})
_DAYS: Final = _Field("day-of-month", 1, 31, {})
_MONTHS: Final = _Field(
    "month", 1, 12, _named(1, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
)
_WEEKDAYS: Final = _Field("day-of-week", 0, 7, _named(0, "SUN MON TUE WED THU FRI SAT"))
_FIELDS: Final = 5


@frozen(kw_only=True)
class _DaysOfMonth:
    """The matching days of a month: numbers, its last day, its last weekday."""

    numbers: frozenset[int]
    last: bool
    last_working: bool

    def match(self, day: date) -> bool:
        if day.day in self.numbers:
            return True
        if not (self.last or self.last_working):
            return False
        first, length = monthrange(day.year, day.month)
        weekday = (first + length - 1) % _DAYS_OF_WEEK  # of the last day; 5 is Saturday
        working = length - max(0, weekday - 4)
        return (self.last and day.day == length) or (self.last_working and day.day == working)


@frozen(kw_only=True)
class _DaysOfWeek:
    """Which days of the week match; 0 is Sunday.

    Args:
        every: those that match in every week.
        last: those that match only as the last of their kind in a month.
        nth: those that match only as the n-th of their kind in a month, each with its n.
    """

    every: frozenset[int]
    last: frozenset[int]
    nth: frozenset[tuple[int, int]]

    def match(self, day: date) -> bool:
        weekday = day.isoweekday() % _DAYS_OF_WEEK
        if weekday in self.every:
            return True
        if self.nth and (weekday, (day.day + 6) // _DAYS_OF_WEEK) in self.nth:
            return True
        left = monthrange(day.year, day.month)[1] - day.day if weekday in self.last else 31
        return left < _DAYS_OF_WEEK


@frozen(kw_only=True)
class Cron:
    """A cron expression, read.

    Args:
        both: whether the day of month and the day of week have to match.
        fixed: whether neither minute nor hour begins with a star.
        never: whether there is no day on which it fires.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: _DaysOfMonth
    months: frozenset[int]
    weekdays: _DaysOfWeek
    both: bool
    fixed: bool
    never: bool = False

    def matches(self, day: date) -> bool:
        """Return whether it fires on a day, provided that the clock shows its times on that day."""
        if day.month not in self.months:
            return False
        if self.both:
            return self.days.match(day) and self.weekdays.match(day)
        return self.days.match(day) or self.weekdays.match(day)

    def has_a_day(self) -> bool:
        """Return whether there is any day on which it fires."""
        return any(
            self.matches(date(year, month, day))
            for month in self.months
            for year in _ALL_KINDS_OF_YEARS
            for day in range(1, monthrange(year, month)[1] + 1)
        )

    def first_day(self, begin: int, end: int) -> int | None:
        """Find the first matching day from one on and before another, in days since 1970."""
        day, stop = date.fromordinal(_FIRST_DAY + begin), date.fromordinal(_FIRST_DAY + end)
        while day < stop:
            if day.month not in self.months:
                ahead = 32 - day.day  # which is in the next month, on one of its first days
                day = date.fromordinal(day.toordinal() + ahead).replace(day=1)
            elif self.matches(day):
                return day.toordinal() - _FIRST_DAY
            else:
                day = date.fromordinal(day.toordinal() + 1)
        return None

    def last_day(self, begin: int, end: int) -> int | None:
        """Find the last matching day from one on and before another, in days since 1970."""
        day, start = date.fromordinal(_FIRST_DAY + end - 1), date.fromordinal(_FIRST_DAY + begin)
        while day >= start:
            if day.month not in self.months:
                day = date.fromordinal(day.toordinal() - day.day)
            elif self.matches(day):
                return day.toordinal() - _FIRST_DAY
            else:
                day = date.fromordinal(day.toordinal() - 1)
        return None

    def shown(self, begin: int, end: int) -> Iterator[int]:
        """Yield its local times from one time on and before another, as if they were in UTC."""
        for day in range(begin // DAY, -(-end // DAY)):
            if self.matches(date.fromordinal(_FIRST_DAY + day)):
                for hour in self.hours:
                    start = day * DAY + hour * HOUR
                    if start + HOUR <= begin:
                        continue
                    if start >= end:
                        return
                    times = (start + minute * MINUTE for minute in self.minutes)
                    yield from (at for at in times if begin <= at < end)


@lru_cache(maxsize=1024)
def read(text: str) -> Cron:
    """Read a cron expression.

    Raises:
        ValueError: it is invalid; the message says why.
    """
    fields = text.upper().split() if len(text) <= _LONGEST else []
    if len(fields) != _FIELDS:
        raise ValueError(f"expected {EXPECTED}")
    minute, hour, day, month, weekday = fields
    found = Cron(
        minutes=tuple(_MINUTES.all_numbers(minute)),
        hours=tuple(_HOURS.all_numbers(hour)),
        days=_days_of_month(day),
        months=frozenset(_MONTHS.all_numbers(month)),
        weekdays=_days_of_week(weekday),
        both=day.startswith("*") or weekday.startswith("*"),
        fixed=not minute.startswith("*") and not hour.startswith("*"),
    )
    return found if found.has_a_day() else replace(found, never=True)


def _days_of_month(text: str) -> _DaysOfMonth:
    items = text.split(",")
    numbers = [item for item in items if item not in {"L", "LW"}]
    return _DaysOfMonth(
        numbers=frozenset(day for item in numbers for day in _DAYS.numbers(item)),
        last="L" in items,
        last_working="LW" in items,
    )


def _days_of_week(text: str) -> _DaysOfWeek:
    every, last, nth = set[int](), set[int](), set[tuple[int, int]]()
    for item in text.split(","):
        day, has_number, number = item.partition("#")
        if has_number:
            which = _WEEKDAYS.count(number)
            if not 1 <= which <= _WEEKS:
                raise _WEEKDAYS.bad()
            nth.add((_WEEKDAYS.number(day) % _DAYS_OF_WEEK, which))
        elif item.endswith("L"):
            last.add(_WEEKDAYS.number(item[:-1]) % _DAYS_OF_WEEK)
        else:
            every |= {number % _DAYS_OF_WEEK for number in _WEEKDAYS.numbers(item)}
    return _DaysOfWeek(every=frozenset(every), last=frozenset(last), nth=frozenset(nth))
