"""The time range of an overview, and the length of its spans."""

from collections.abc import Mapping
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.errors import QueryInvalid
from jobstore.model.periods import DAY, HOUR, QUARTER, Dimension, end_of, shortest_kept, start_of
from jobstore.store.overview import OverviewQuery
from jobstore.web.filters import FILTERS

LENGTHS: Final[Mapping[str, int]] = {"quarter": QUARTER, "hour": HOUR, "day": DAY}
WORDS: Final[Mapping[int, str]] = {seconds: word for word, seconds in LENGTHS.items()}
KINDS: Final = tuple(kind.value for kind in Dimension if kind is not Dimension.ALL)
# How many spans are told at most.
MOST_SPANS: Final = 3000
# What is told if nobody says since when, in seconds.
_LATELY: Final = DAY
# Up to this, in seconds, statistics have a series by the hour.
_BY_HOUR: Final = 8 * DAY


def activity(query: Mapping[str, str], scope: int | None, now: int) -> OverviewQuery:
    """Read the time range and span length of an activity query.

    Args:
        query: the values of ``since``, ``until`` and ``by``, if given.
        scope: the account whose jobs the caller may see, or None for all.
        now: in microseconds since 1970.

    Raises:
        QueryInvalid: it is invalid; the message says what was expected.
    """
    by = query.get("by", "hour")
    if by not in LENGTHS:
        raise QueryInvalid(f"by: expected one of {', '.join(LENGTHS)}")
    return _asked(query, Dimension.ALL, LENGTHS[by], scope, now)


def fitting(asked: OverviewQuery, most: int) -> list[str]:
    """Return the lengths of spans that divide a time range into at most so many, shortest first."""
    length = asked.until - asked.since
    return [word for word, seconds in LENGTHS.items() if length <= most * seconds * SECOND]


def statistics(query: Mapping[str, str], scope: int | None, now: int) -> OverviewQuery:
    """Read the time range and grouping of a statistics query.

    Args:
        query: the values of ``since``, ``until`` and ``by``; ``by`` is required.
        scope: the account whose jobs the caller may see, or None for all.
        now: in microseconds since 1970.

    Raises:
        QueryInvalid: it is invalid; the message says what was expected.
    """
    if query.get("by") not in KINDS:
        raise QueryInvalid(f"by: expected one of {', '.join(KINDS)}")
    return _asked(query, Dimension(query["by"]), HOUR, scope, now)


def _asked(
    query: Mapping[str, str], kind: Dimension, seconds: int, scope: int | None, now: int
) -> OverviewQuery:
    latest = end_of(QUARTER, now + 1)
    until = min(_time(query, "until", latest), latest)
    since = max(0, _time(query, "since", min(until, now) - _LATELY * SECOND))
    if "until" in query and since > _time(query, "until", latest):
        raise QueryInvalid("until: expected a time that is not before since")
    since = min(since, until)
    if kind is not Dimension.ALL and until - since > _BY_HOUR * SECOND:
        seconds = DAY
    first, last = shortest_kept(since, now), shortest_kept(until, now)
    seconds = max(seconds, first)
    if until - since > MOST_SPANS * seconds * SECOND:
        spans = f"{MOST_SPANS} {WORDS[seconds]}s"
        raise QueryInvalid(f"since: expected a time that is no more than {spans} before until")
    return OverviewQuery(kind, start_of(first, since), end_of(last, until), seconds, scope)


def _time(query: Mapping[str, str], name: str, otherwise: int) -> int:
    if name not in query:
        return otherwise
    return int(FILTERS[name](name, query[name])[name])
