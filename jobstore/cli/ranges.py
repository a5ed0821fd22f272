"""Moments and ranges of time as people write them: ``since yesterday 18:00``, ``last 7 days``.

A moment stands for an instant, or for a whole day if only the date was given. A range that
ends with a whole day includes that day. Where the clocks go back and a time comes twice, a range
reaches from the first to the last of the two.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NoReturn

from jobstore.model.clock import SECOND
from jobstore.model.kinds import kind_of
from jobstore.model.written import Duration

MOMENTS: Final = (
    "neither a time such as 2025-01-31, 2025-01-31T12:00, 2025-01-31T12:00:00+01:00, 18:00 or "
    "'yesterday 18:00', nor how long ago it was, such as 90s, 15m, 24h or 7d"
)
RANGES: Final = (
    "no range of times such as today, yesterday, 2025-01-31, 'since yesterday 18:00', "
    "2025-01-01..2025-01-31 or 'last 7 days'"
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_DAY: Final = timedelta(days=1)
_DURATION: Final = kind_of(Duration)
_UNITS: Final = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": _DAY,
    "week": 7 * _DAY,
}
_UNIT: Final = rf"({'|'.join(_UNITS)})s?"
_LAST: Final = re.compile(rf"(?:the )?(?:last|past)(?: ([0-9]{{1,6}}))? {_UNIT}")
_AGO: Final = re.compile(rf"([0-9]{{1,6}}|an?) {_UNIT} ago")
_BETWEEN: Final = re.compile(r"(?P<since>.*?)\s*\.\.\s*(?P<until>.*)")
_WORDS: Final = re.compile(r"(?:since|from) (?P<since>.+?)(?: (?:until|to|till) (?P<until>.+))?")
_UNTIL: Final = re.compile(r"(?P<since>)(?:until|till) (?P<until>.+)")
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")
_CLOCK: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?")
_WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


class Calendar:
    """What words about time mean, now and in a zone.

    Args:
        now: microseconds since 1970.
        zone: whose days and hours are meant.
    """

    def __init__(self, now: int, zone: tzinfo) -> None:
        self._now = now
        self._zone = zone
        self._local = datetime.fromtimestamp(now / SECOND, zone)

    def moment(self, text: str, *, end: bool = False) -> int:
        """Read a moment; give it in microseconds since 1970.

        Args:
            text: a date, a time, both, words for them, or how long ago it was.
            end: whether a range ends with it.

        Raises:
            ValueError: it is none of these.
        """
        words = _simple(text)
        try:
            found = self._moment(words, end=end)
        except OverflowError:
            found = None
        if found is None:
            _refuse(text, MOMENTS)
        return found

    def span(self, text: str) -> tuple[int | None, int | None]:
        """Read a range; give when it begins and before when it ends, or None for no bound.

        Raises:
            ValueError: it is invalid, or ends before it begins.
        """
        try:
            return self._span(text, _simple(text))
        except OverflowError:
            _refuse(text, RANGES)

    def _span(self, text: str, words: str) -> tuple[int | None, int | None]:
        if match := _LAST.fullmatch(words):
            return self._before(int(match[1] or 1) * _UNITS[match[2]]), None
        between = _BETWEEN.fullmatch(words) or _WORDS.fullmatch(words) or _UNTIL.fullmatch(words)
        if between is None:
            return self._whole(text, words)
        since, until = between["since"], between["until"]
        if not since and not until:
            _refuse(text, RANGES)
        begin = self.moment(since) if since else None
        if until:
            check_order(begin, self.moment(until))
        return begin, self.moment(until, end=True) if until else None

    def _whole(self, text: str, words: str) -> tuple[int, int]:
        """Read a range that is given by one word, such as a day."""
        if match := _MONTH.fullmatch(words):
            year, month = int(match[1]), int(match[2])
            try:
                following = date(year + month // 12, month % 12 + 1, 1)
                return self._midnight(date(year, month, 1)), self._midnight(following)
            except ValueError:
                _refuse(text, RANGES)
        day = self._day(words)
        if day is None:
            _refuse(text, RANGES)
        return self._midnight(day), self._midnight(day + _DAY)

    def _moment(self, words: str, *, end: bool) -> int | None:
        if words == "now":
            return self._now
        if (ago := self._ago(words)) is not None:
            return ago
        if (day := self._day(words)) is not None:
            return self._midnight(day + _DAY if end else day)
        named, _, clock = words.rpartition(" ")
        if _CLOCK.fullmatch(clock):
            return self._at(named, clock, end=end)
        return self._iso(words, end=end)

    def _ago(self, words: str) -> int | None:
        if match := _AGO.fullmatch(words):
            amount = int(match[1]) if match[1].isdigit() else 1
            return self._before(amount * _UNITS[match[2]])
        length = length_of(words)
        return None if length is None else _written(self._now - length)

    def _day(self, words: str) -> date | None:
        today = self._local.date()
        if words in {"today", "yesterday"}:
            return today - _DAY * (words == "yesterday")
        if words in _WEEKDAYS:
            return today - _DAY * ((today.weekday() - _WEEKDAYS.index(words)) % 7)
        try:
            return date.fromisoformat(words.upper())
        except ValueError:
            return None

    def _at(self, named: str, clock: str, *, end: bool) -> int | None:
        """Read a time of a day; where the day is not sure, the latest one that has passed."""
        day = self._day(named or "today")
        try:
            moment = time.fromisoformat(clock.zfill(5) if clock.count(":") == 1 else clock.zfill(8))
        except ValueError:
            return None
        if day is None:
            return None
        found = self._instant(datetime.combine(day, moment), end=end)
        if found > self._now and (not named or named in _WEEKDAYS):
            days = _DAY if not named else 7 * _DAY
            found = self._instant(datetime.combine(day - days, moment), end=end)
        return found

    def _iso(self, words: str, *, end: bool) -> int | None:
        try:
            return self._instant(datetime.fromisoformat(words.upper()), end=end)
        except ValueError:
            return None

    def _before(self, ago: timedelta) -> int:
        return _written(self._now - ago // _MICROSECOND)

    def _midnight(self, day: date) -> int:
        return self._instant(datetime.combine(day, time()))

    def _instant(self, moment: datetime, *, end: bool = False) -> int:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone, fold=int(end))
        return _written((moment - _EPOCH) // _MICROSECOND)


def length_of(words: str) -> int | None:
    """Read a duration; give it in microseconds, or None if it is none, or has no unit."""
    if words[-1:].isdigit():  # the configuration takes it for seconds, here it is a slip
        return None
    try:
        return int(_DURATION.read(words) * SECOND)
    except ValueError:
        return None


def _written(moment: int) -> int:
    """Return a moment that can be written in UTC, as those of the years 1 to 9999 can.

    Raises:
        OverflowError: it cannot.
    """
    if not _EARLIEST <= moment <= _LATEST:
        raise OverflowError
    return moment


def check_order(since: int | None, until: int | None) -> None:
    """Ensure that a range does not end before it begins.

    Raises:
        ValueError: it does.
    """
    if since is not None and until is not None and until < since:
        raise ValueError("the range ends before it begins.")


def _simple(text: str) -> str:
    return " ".join(text.lower().split())


def _refuse(text: str, expected: str) -> NoReturn:
    raise ValueError(f"{text!r} is {expected}.")
