"""The moments at which a cron expression fires in a time zone.

The meaning is that of Debian's cron, written down in cron(8) of Debian 12:

* Times are those that a clock on the wall shows, to the minute. Such a clock is put forward or back
  when the offset of its zone from UTC changes.
* The clock is put **forward by less than 3 hours**: a fixed time that is left out is made up for
  right after the change. However many times of an expression are left out, and even if one falls on
  the moment after the change, that is one run. (The program begins a command once for each minute
  left out; the manual, "those jobs which would have run in the time that was skipped will be run
  soon after the change", is followed here.) Expressions with a star get nothing: there was no such
  time.
* The clock is put **back by less than 3 hours**: fixed times fire the first time that the clock
  shows them, and not the second. Expressions with a star follow the clock, in the hour that comes
  twice as in any other.
* A change of **3 hours or more** is a correction: the new time counts at once. What was left out,
  such as a day that a zone skips when it moves over the date line, is not made up for; what comes
  twice fires twice. No zone plans such a change now.

How it is done: real time is cut into stretches in which the zone's offset stays the same. Within
one, local times are real times plus a number, so only numbers are compared, and the zone's offset
is looked up a few times a day. Between two stretches it is known how far the local clock had come
(*reached*), which says which local times are skipped and which occur twice.

Bounds: days that cannot match are passed over by the month, each stretch takes time on, and whoever
looks for fire times gets those of the next 50 years. A date that exists at all comes again within
40 years (a 29 February on a given day of the week, across the year 2100), so an expression without
a fire time in 50 years has none: either there is no such date, or its only times are always left
out, as those of ``*/15 2 * 3 SUN#2`` are in New York. Two changes of one zone within a day would be
taken for one; since 1970, and in all that is planned, any two are at least six days apart.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo

from jobstore.model.cron import DAY, HOUR, MINUTE, Cron

_HORIZON: Final = 50 * 366 * DAY
# From here on, Python's dates may end before a search does.
_END_OF_TIME: Final = int(datetime.fromisoformat("9998-12-01T00:00:00Z").timestamp())
# Changes of the clock of this size and more are corrections; see cron(8).
_CORRECTION: Final = 3 * HOUR


def fire_times(cron: Cron, zone: ZoneInfo, after: int) -> Iterator[int]:
    """Yield the times at which an expression fires, in order, for 50 years; in seconds since 1970.

    Args:
        cron: the expression.
        zone: the time zone.
        after: the time after which to begin.
    """
    last = after = min(max(after, 0), _END_OF_TIME)
    end_of_search = after if cron.never else min(after + _HORIZON, _END_OF_TIME)
    # A change less than 3 hours ago may have put the clock back to what it had shown already.
    at = after - _CORRECTION
    reached = at + _offset(zone, at)
    while at < end_of_search:
        offset = _offset(zone, at)
        end, new_offset = _stretch(zone, at, offset)
        begin_shown = max(at + offset, reached) if cron.fixed else at + offset
        for shown in cron.shown(max(begin_shown, last + 1 + offset), end + offset):
            last = shown - offset
            yield last
        reached = max(reached, end + offset)
        if abs(new_offset - offset) >= _CORRECTION:
            reached = end + new_offset
        elif cron.fixed and last < end and _any(cron.shown(reached, end + new_offset)):
            last = -(-end // MINUTE) * MINUTE
            yield last
        at = _passed_over(cron, end, end + new_offset, end_of_search)
        if at != end:
            reached = at + _offset(zone, at)


def latest(cron: Cron, zone: ZoneInfo, first: int, until: int, count: int) -> list[int]:
    """Return the last so many times at which an expression fires between two times.

    The search goes back in pieces of a day, or longer if a day has none.
    """
    found: list[int] = []
    first, until = max(first, 0), min(until, _END_OF_TIME)
    piece, longest = 2 * count * MINUTE, max(DAY, 2 * count * MINUTE)
    while until >= first and not cron.never:
        start = max(first - 1, until - piece)
        found[:0] = _fire_times_until(until, cron, zone, start)
        if len(found) >= count:
            break
        day = cron.last_day((first // DAY) - 1, start // DAY + 2)
        if day is None:
            break
        until = min(start, (day + 2) * DAY)
        piece = min(4 * piece, longest)
    return found[-count:]


def _fire_times_until(end: int, cron: Cron, zone: ZoneInfo, after: int) -> Iterator[int]:
    return takewhile(lambda at: at <= end, fire_times(cron, zone, after))


def _any(times: Iterator[int]) -> bool:
    return next(times, None) is not None


def _passed_over(cron: Cron, at: int, shown: int, end: int) -> int:
    """Skip days on which nothing fires, up to shortly before the next matching day.

    No time zone is a whole day off UTC, so two days before are always early enough.
    """
    day = cron.first_day(shown // DAY, end // DAY + 1)
    return end if day is None else max(at, (day - 2) * DAY)


def _stretch(zone: ZoneInfo, at: int, offset: int) -> tuple[int, int]:
    """Return until when an offset stays the same, a day at most, and that offset."""
    same, end = at, at + DAY
    new_offset = _offset(zone, end)
    if new_offset == offset:
        return end, offset
    while end - same > 1:
        middle = (same + end) // 2
        found = _offset(zone, middle)
        if found == offset:
            same = middle
        else:
            end, new_offset = middle, found
    return end, new_offset


def _offset(zone: ZoneInfo, at: int) -> int:
    """Return how many seconds a zone is ahead of UTC at a given time."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds
