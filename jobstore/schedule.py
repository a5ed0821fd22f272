"""When definitions run by themselves: cron expressions in time zones; decisions, no doing.

Cron expressions mean what they mean to Debian's cron, with five fields. Where clocks are put
forward, a run at a fixed time that does not exist comes right after the gap; where they are put
back, one at a fixed time that exists twice comes the first time only. Expressions whose minute or
hour begins with a star follow the time that really passes: in the hour that exists twice they run
twice, in the one that does not exist they do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from jobstore.clock import SECOND

# However many fire times were missed, so many of them, the latest, are made up for.
MOST_MISSED: Final = 1000
_LONGEST_CRON: Final = 255
_FIELDS: Final = 5
_MINUTE: Final = 60 * SECOND  # two fire times are not closer to each other
# Whether an expression ever fires does not depend on the year in which one begins to look.
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


class CatchUp(StrEnum):
    """What becomes of fire times that have passed without a run.

    They pass while the server is down, while the machine sleeps, while the queue is full, or while
    a run has to wait for an earlier one.
    """

    ONE = "one"  # one run for all of them
    NONE = "none"  # none for those at which the server was down; one for any others together
    ALL = "all"  # a run for each, one after the other unless they may overlap


class Overlap(StrEnum):
    """What becomes of a fire time at which an earlier run of the definition has not ended."""

    SKIP = "skip"  # it passes without a run
    QUEUE = "queue"  # its run starts when the earlier one has ended
    ALLOW = "allow"  # its run starts all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a definition runs by itself.

    Args:
        cron: minute, hour, day of month, month and day of week, such as ``0 3 * * *``.
        time_zone: the IANA name of the zone in which it is read; UTC unless said otherwise.
        catch_up: what becomes of fire times that have passed without a run; by default they get
            one run together.
        overlap: what becomes of a fire time while an earlier run goes on; by default it is skipped.
        paused: whether it does not fire for the time being; what passes meanwhile is not made up
            for.
    """

    cron: str
    time_zone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a schedule that is due; times are in microseconds since 1970.

    Args:
        runs: the fire times that get a run now.
        skipped: the fire times that get none since an earlier run has not ended.
        missed: the first of those that get none since they were missed, or None.
        waits: whether an earlier run has to end before there is anything to do.
        next_at: when to decide again; None is never.
    """

    runs: Sequence[int] = ()
    skipped: Sequence[int] = ()
    missed: int | None = None
    waits: bool = False
    next_at: int | None = None


def checked_cron(cron: str) -> str:
    """Write a cron expression in one way.

    Raises:
        ValueError: it is none, or one that never fires; the message says which.
    """
    fields = cron.split()
    if len(fields) != _FIELDS or len(cron) > _LONGEST_CRON:
        raise ValueError(f"expected {_EXPECTED}")
    try:
        fires_ever = next(CronSim(cron, _SOME_DAY), None) is not None
    except CronSimError as error:
        # A day that none of its months has is an error like any other to the parser.
        if "day-of-month" not in str(error) or not _is_cron([*fields[:3], "*", fields[4]]):
            raise ValueError(f"{str(error).lower()}; expected {_EXPECTED}") from None
        fires_ever = False
    if not fires_ever:
        raise ValueError(f"{cron} never fires: there is no such day")
    return " ".join(fields)


_EXPECTED: Final = (
    "the five fields minute, hour, day of month, month and day of week, such as 0 3 * * *"
)


def _is_cron(fields: Sequence[str]) -> bool:
    try:
        CronSim(" ".join(fields), _SOME_DAY)
    except CronSimError:
        return False
    return True


def fires(schedule: Schedule, after: int) -> Iterator[int]:
    """Give the times at which a schedule fires, in order, whether it is paused or not.

    Args:
        schedule: the schedule.
        after: all of them are later, in microseconds since 1970.
    """
    try:
        start = datetime.fromtimestamp(after // SECOND, ZoneInfo(schedule.time_zone))
        simulated = CronSim(schedule.cron, start)
    except (CronSimError, ZoneInfoNotFoundError):  # it was written where more is known than here
        return
    for moment in simulated:
        at = int(moment.timestamp()) * SECOND
        # Fixed times in a gap come to the same one; in an hour that comes twice, they may be over.
        if at > after:
            yield at
            after = at


def next_fires(schedule: Schedule | None, after: int, count: int) -> list[int]:
    """Tell when a schedule fires next, so many times; one that is paused does not."""
    if schedule is None or schedule.paused:
        return []
    return list(islice(fires(schedule, after), count))


def next_fire(schedule: Schedule | None, after: int) -> int | None:
    """Tell when a schedule fires for the first time after a moment; None is never."""
    return next(iter(next_fires(schedule, after, 1)), None)


def decide(  # noqa: PLR0913 - all that it depends on
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
        schedule: the schedule.
        due: the first fire time about which nothing was done yet.
        now: what time it is.
        since: from when on somebody has watched for fire times; before, the server was down.
        busy_since: when the oldest of its runs that have not ended was submitted, or None.
        limit: how many fire times may be worked off now.
    """
    unmet = _unmet(schedule, due, now, since, limit)
    if not unmet:
        return Decision(missed=due, next_at=next_fire(schedule, now))
    missed = due if unmet[0] > due else None
    if schedule.overlap is Overlap.ALLOW or busy_since is None:
        runs = unmet if schedule.overlap is Overlap.ALLOW else unmet[:1]
        return Decision(runs=runs, missed=missed, next_at=next_fire(schedule, runs[-1]))
    # A run that began only after the fire time, such as one that makes up for a time before it,
    # was not in its way then.
    if schedule.overlap is Overlap.SKIP and busy_since <= unmet[0]:
        return Decision(skipped=unmet, missed=missed, next_at=next_fire(schedule, unmet[-1]))
    return Decision(waits=True, next_at=due)


def _unmet(schedule: Schedule, due: int, now: int, since: int, limit: int) -> Sequence[int]:
    """Give the fire times that have passed and shall have a run."""
    if schedule.catch_up is CatchUp.NONE and due < since:
        return _latest(schedule, since, now, 1)
    if schedule.catch_up is not CatchUp.ALL:
        return _latest(schedule, due, now, 1) or [due]
    if now - due > MOST_MISSED * _MINUTE:
        due = next(iter(_latest(schedule, due, now, MOST_MISSED)), due)
    # What was a fire time when that was written down is one, even if its zone has new rules now.
    return list(islice(_passed(schedule, due, now), limit)) or [due]


def _latest(schedule: Schedule, first: int, now: int, count: int) -> Sequence[int]:
    """Give the latest fire times from one on: looked for in ever larger pieces of the past."""
    piece = 2 * count * _MINUTE
    while True:
        start = max(first, now - piece)
        found = list(_passed(schedule, start, now))
        if len(found) >= count or start == first:
            return found[-count:]
        piece *= 4


def _passed(schedule: Schedule, first: int, now: int) -> Iterator[int]:
    return takewhile(lambda at: at <= now, fires(schedule, first - 1))
