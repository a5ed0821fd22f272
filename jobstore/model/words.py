"""Durations, times, sizes, counts and statuses as people read them."""

from datetime import UTC, datetime
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.message import phrase_of

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_KIB: Final = 1024
_LEAST_SHARE: Final = 0.1  # percent; less is not told
_FEW: Final = 10  # so few of a unit are told with a decimal place
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def shown(text: str) -> str:
    """Return text with invisible characters escaped.

    Characters without a shape, or that change the writing direction, become escapes; line ends and
    tabs do not.
    """
    if text.isprintable():
        return text
    kept = "\n\t"
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def duration(microseconds: int) -> str:
    """Say how long something took, by its two largest units: 4 ms, 1.3 s, 2 min 04 s, 3 h 10 min.

    >>> [duration(each) for each in (0, 900, 4_200, 1_340_000, 41_000_000, 124_000_000)]
    ['0 ms', '0.9 ms', '4 ms', '1.3 s', '41 s', '2 min 04 s']
    """
    microseconds = max(microseconds, 0)
    if microseconds < SECOND // 1000:
        return f"{microseconds / 1000:.1f} ms" if microseconds else "0 ms"
    if microseconds < SECOND - 500:
        return f"{microseconds / 1000:.0f} ms"
    if microseconds < 9.95 * SECOND:
        return f"{microseconds / SECOND:.1f} s"
    return _whole(round(microseconds / SECOND))


def _whole(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE:02} s"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE:02} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def since_then(microseconds: int) -> str:
    """Write how much later a tick of an axis is: 0, +500 ms, +15 s, +2 min, +1 h 30 min."""
    if microseconds == 0:
        return "0"
    written = duration(microseconds).replace(".0 ", " ")
    return "+" + written.removesuffix(" 00 s").removesuffix(" 00 min").removesuffix(" 0 h")


def roughly(microseconds: int) -> str:
    """Say how long something is or was, by its largest unit: 26 s, 3 min, 20 h, 29 days."""
    seconds = max(microseconds, 0) // SECOND
    for size, unit in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * size or (size < _DAY and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def relative(at: int, now: int) -> str:
    """Say when something was or will be, from now: 26 s ago, in 29 days.

    Args:
        at: in microseconds since 1970, as well as now.
    """
    return f"in {roughly(at - now)}" if at > now else f"{roughly(now - at)} ago"


def moment(at: int) -> datetime:
    """Return a time as one of Python's."""
    return datetime.fromtimestamp(at // SECOND, UTC).replace(microsecond=at % SECOND)


def absolute(at: int) -> str:
    """Write a time with its day and zone: 2026-11-28 22:09:50 UTC."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S} UTC"


def soon(at: int, now: int) -> str:
    """Write a time without its day, if that is today: 22:09:50 UTC."""
    same = moment(at).date() == moment(now).date()
    return f"{moment(at):%H:%M:%S} UTC" if same else absolute(at)


def machine(at: int) -> str:
    """Write a time for machines: 2026-11-28T22:09:50.113000Z."""
    return f"{moment(at):%Y-%m-%dT%H:%M:%S.%f}Z"


def time_of_day(at: int) -> str:
    """Write a time of some day to the millisecond: 22:09:50.113."""
    return f"{moment(at):%H:%M:%S}.{at % SECOND // 1000:03}"


def day(at: int) -> str:
    """Write the day of a time: 28 Nov 2026."""
    then = moment(at)
    return f"{then.day} {then:%b %Y}"


def hour(at: int) -> str:
    """Write the hour of a time, with its day if it is the first of one: 23:00, 29 Nov 00:00."""
    then = moment(at)
    return f"{then:%H:%M}" if then.hour else f"{then.day} {then:%b %H:%M}"


def size(count: int) -> str:
    """Say how many bytes there are: 1 byte, 233 bytes, 64 KiB, 6.1 GiB."""
    if count == 1:
        return "1 byte"
    scaled, unit = float(count), 0
    while scaled >= _KIB and unit < len(_UNITS) - 1:
        scaled, unit = scaled / _KIB, unit + 1
    digits = 1 if scaled < _FEW and not scaled.is_integer() else 0
    return f"{scaled:.{digits}f} {_UNITS[unit]}"


def count(number: int) -> str:
    """Write a number with commas between thousands: 4,812,377."""
    return f"{number:,}"


def status_line(status: int, reason: str | None = None) -> str:
    """Write a status code with its phrase, or with another that came with it: 404 Not Found."""
    return f"{status} {reason or phrase_of(status)}".strip()


def plural(number: int, one: str, many: str | None = None) -> str:
    """Say how many there are of something: 1 job, 41 jobs."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def typical(half: int | None, most: int | None) -> str:
    """Say how long things usually took, by two percentiles: median 71 ms, 95 % within 1.3 s."""
    if half is None or most is None:
        return ""
    return f"median {duration(half)}, 95 % within {duration(most)}"


def share(part: int, whole: int) -> str:
    """Say how much of something that is: 0 %, 0.2 %, 1.0 %, 31 %."""
    percent = 100 * part / whole if whole else 0.0
    if part and percent < _LEAST_SHARE:
        return "under 0.1 %"
    return f"{percent:.1f} %" if 0 < percent < _FEW else f"{percent:.0f} %"
