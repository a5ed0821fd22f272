"""Round numbers and times to mark on axes."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw.svg import BROAD, LETTER, SLIM, Svg, either, element, percent
from jobstore.model.clock import SECOND
from jobstore.model.words import moment

_MINUTE: Final = 60 * SECOND
_HOUR: Final = 60 * _MINUTE
DAY: Final = 24 * _HOUR
# How far apart times are marked.
_STEPS: Final = (
    _MINUTE,
    5 * _MINUTE,
    15 * _MINUTE,
    _HOUR,
    3 * _HOUR,
    6 * _HOUR,
    12 * _HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
)
_MOST_TIMES: Final = 9
_FEW_TIMES: Final = 7  # on a telephone
_BEYOND: Final = 12  # there is as much room beside a drawing
# What takes long is marked at these durations, in microseconds.
_DURATIONS: Final = (
    1000,
    10_000,
    100_000,
    SECOND,
    5 * SECOND,
    20 * SECOND,
    _MINUTE,
    5 * _MINUTE,
    20 * _MINUTE,
    _HOUR,
    6 * _HOUR,
    DAY,
)
_MOST_DURATIONS: Final = 5


def round_up(number: int) -> int:
    """Return the next number that is round, and even: 2, 4, 6, 8, 10, 20, 40.

    >>> [round_up(each) for each in (0, 1, 3, 5, 11, 30, 41, 735)]
    [2, 2, 4, 6, 20, 40, 60, 800]
    """
    size = 1
    while True:
        for digit in (2, 4, 6, 8, 10):
            if number <= digit * size:
                return digit * size
        size *= 10


def times(since: int, until: int, most: int = _MOST_TIMES) -> Iterator[tuple[int, str]]:
    """Yield times to mark between two others, in microseconds since 1970, with their labels.

    A midnight is labelled with its day, and days have no time.
    """
    steps = [step for step in _STEPS if (until - since) // step < most]
    step = steps[0] if steps else _STEPS[-1]
    for at in range(since + -since % step, until + 1, step):
        yield at, _written(at, step)


def time_labels(since: int, until: int, y: int) -> Sequence[Svg]:
    """Write the times below a fluid drawing, fewer of them on a telephone.

    Args:
        since: where its width begins, in microseconds since 1970.
        until: where it ends.
        y: how far below its top the letters stand.
    """
    broad, slim = times(since, until), times(since, until, _FEW_TIMES)
    length = max(1, until - since)
    return either(
        *(
            [
                element("text", text, x=percent((at - since) / length), y=y, text_anchor="middle")
                for at, text in marked
                if _fits(text, width * (at - since) / length, width)
            ]
            for marked, width in ((broad, BROAD), (slim, SLIM))
        )
    )


def _fits(text: str, x: float, width: int) -> bool:
    """Return whether a label centred on x is not cut off at an edge."""
    half = len(text) * LETTER / 2
    return half <= x + _BEYOND and x + half <= width + _BEYOND


def _written(at: int, step: int) -> str:
    then = moment(at)
    if step >= DAY:
        return f"{then.day} {then:%b}"
    return f"{then:%a %H:%M}" if at % DAY == 0 else f"{then:%H:%M}"


def durations(shortest: int, longest: int) -> Sequence[int]:
    """Return durations to mark, so that all between these two lie between first and last."""
    first = max(0, bisect_left(_DURATIONS, shortest + 1) - 1)
    last = min(max(bisect_left(_DURATIONS, longest), first + 1), len(_DURATIONS) - 1)
    each = (last - first) // _MOST_DURATIONS + 1
    return _DURATIONS[first:last:each] + _DURATIONS[last : last + 1]
