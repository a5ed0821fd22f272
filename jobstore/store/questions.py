"""Questions about the history whose answer is more than a list of jobs."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from heapq import nlargest
from itertools import chain
from json import loads
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    bindparam,
    case,
    func,
    literal_column,
    select,
)

from jobstore.model.errors import DefinitionNotFound
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.model.route import route_of
from jobstore.store import jobs, schema
from jobstore.store import search as search_sql
from jobstore.store.codec import decode_job, encode_ids
from jobstore.store.expressions import Statement, constant, joined, listed, without_query
from jobstore.store.guards import JOB_COLUMNS, ONE, ZERO, in_state, limit
from jobstore.store.history import History
from jobstore.store.search import Death, Search, asker
from jobstore.store.windows import WINDOW

_job: Final = schema.JOB.c
_boot: Final = schema.BOOT.c
_event: Final = schema.EVENT.c
_definition: Final = schema.DEFINITION.c

# How long the last attempt at a job took, or takes already.
_duration: Final = func.coalesce(_job.finished_at, bindparam("now")) - _job.started_at


@cache
def _longest(conditions: frozenset[str]) -> Statement:
    """Select the jobs of a window that ran longer than others known already, the longest first."""
    return Statement(
        search_sql.in_window(select(_duration, *JOB_COLUMNS), conditions)
        .where(_duration > bindparam("least"))
        .order_by(_duration.desc())
        .limit(limit)
        .offset(ZERO)
    )


# Who asked for the cancellation of jobs; the last one who did.
ASKERS: Final = Statement(
    select(_event.job_id, _event.detail)
    .where(_event.job_id.in_(listed("ids")), _event.event == constant(search_sql.CANCEL_ASKED))
    .order_by(_event.job_id, _event.at)
)

# All definitions, whether they were deleted or not.
DEFINITIONS: Final = Statement(
    select(_definition.id, _definition.name, _definition.path, _definition.uuid)
    .where(_definition.id > bindparam("after"))
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)

# The last start of a server whose end nobody has seen, of those that are over.
DIED: Final = Statement(
    select(_boot.id, _boot.pid, _boot.started_at)
    .where(_boot.ended_at.is_(None), _boot.id <= bindparam("over"))
    .order_by(_boot.id.desc())
    .limit(ONE)
    .offset(ZERO)
)

NEXT_BOOT: Final = Statement(
    select(_boot.id, _boot.started_at)
    .where(_boot.id > bindparam("boot"))
    .order_by(_boot.id)
    .limit(ONE)
    .offset(ZERO)
)

LAST_BOOT: Final = Statement(select(func.max(_boot.id)))

# All time zones differ by whole numbers of these from each other.
QUARTER: Final = 900_000_000


class By(StrEnum):
    """What figures are grouped by."""

    PATH = "path"  # without its query
    ROUTE = "route"
    DEFINITION = "definition"


@dataclass(slots=True)
class JobFigures:
    """Figures about a group of jobs.

    Args:
        name: the path, the route or the name of the definition; None for jobs without a definition.
        count: how many there are.
        errors: how many failed, or were answered with a status of 400 or more.
        took: the durations of the last attempts of those that are done or failed, in microseconds.
    """

    name: str | None
    count: int = 0
    errors: int = 0
    took: "array[int]" = field(default_factory=lambda: array("q"))

    def percentiles(self, *percents: int) -> list[int | None]:
        """Return a percentile of the attempts' durations; None if there are none."""
        if not self.took:
            return [None for _ in percents]
        ordered = sorted(self.took)
        return [ordered[-(-len(ordered) * percent // 100) - 1] for percent in percents]


@dataclass(slots=True)
class QuarterHour:
    """The submissions of a quarter of an hour.

    Args:
        start: its beginning, in microseconds since 1970.
        count: how many jobs.
        errors: how many of them failed, or were answered with a status of 400 or more.
    """

    start: int
    count: int = 0
    errors: int = 0


async def figures(history: History, search: Search, by: By) -> list[JobFigures]:
    """Return how many jobs ran and how long they took, by group, the largest first.

    Args:
        by: what to group by.
    """
    found: defaultdict[str | int | None, JobFigures] = defaultdict(lambda: JobFigures(None))
    statement = _figures(by, frozenset(search.values))
    async for rows in history.parts(statement, search):
        for key, count, errors, took in rows:
            figures = found[route_of(key) if by is By.ROUTE else key]
            figures.count += count
            figures.errors += errors
            if took:
                figures.took.extend(loads(f"[{took}]"))
    named = await names(history) if by is By.DEFINITION else {}
    for key, figures in found.items():
        figures.name = named.get(key) if by is By.DEFINITION else str(key)
    return sorted(found.values(), key=lambda figures: (-figures.count, figures.name or ""))


async def activity(history: History, search: Search) -> list[QuarterHour]:
    """Return the number of submissions in each quarter of an hour with any."""
    found: dict[int, QuarterHour] = {}
    async for rows in history.parts(_activity(frozenset(search.values)), search):
        for number, count, errors in rows:
            span = found.setdefault(number, QuarterHour(number * QUARTER))
            span.count += count
            span.errors += errors
    return [found[number] for number in sorted(found)]


async def longest(history: History, search: Search, now: int, limit: int) -> list[Job]:
    """Return the jobs with the longest last attempts; a running one counts up to now.

    Args:
        now: microseconds since 1970.
        limit: how many.
    """
    found: list[Any] = []
    least = {"least": -jobs.LARGEST_ID}
    statement = _longest(frozenset(search.values))
    async for rows in history.parts(statement, search, least, now=now, limit=min(limit, WINDOW)):
        found = nlargest(limit, chain(found, rows), key=lambda row: row[0])
        if len(found) == limit:
            least["least"] = found[-1][0]
    return [decode_job(row[1:]) for row in found]


async def askers(history: History, jobs: Sequence[Job]) -> dict[int, str]:
    """Return who requested the cancellation of jobs, by id, as far as known."""
    ids = encode_ids(job.id for job in jobs if job.cancel_asked_at is not None)
    rows = await history.rows(ASKERS, ids=ids)
    return {job_id: asker(detail) for job_id, detail in rows if detail}


async def definitions_named(history: History, reference: str) -> tuple[int, ...]:
    """Find definitions by name, path, uuid or id, whether they were deleted or not.

    Raises:
        DefinitionNotFound: it does not exist.
    """
    rows = await _definitions(history)
    found = [row[0] for row in rows if reference in {str(row[0]), *row[1:]}]
    if not found:
        raise DefinitionNotFound(reference)
    return tuple(found)


async def death(history: History, *, runs: bool) -> Death:
    """Return the last start of the server that did not end properly.

    Args:
        runs: whether a server is running.
    """
    ((last,),) = await history.rows(LAST_BOOT)
    over = (last or 0) - runs
    rows = await history.rows(DIED, over=over)
    if not rows:
        return Death(boot=0, over=over)
    ((boot, pid, started_at),) = rows
    following = await history.rows(NEXT_BOOT, boot=boot)
    restarted_at = following[0][1] if following else None
    return Death(boot=boot, over=over, pid=pid, started_at=started_at, restarted_at=restarted_at)


async def names(history: History) -> dict[str | int | None, str]:
    """Return the names of all definitions by id, whether deleted or not."""
    return {row[0]: row[1] for row in await _definitions(history)}


async def _definitions(history: History) -> list[Any]:
    """Return the rows of all definitions, a bounded number per statement."""
    found: list[Any] = []
    while rows := await history.rows(DEFINITIONS, after=found[-1][0] if found else 0, limit=WINDOW):
        found += rows
    return found


_count: Final = func.count()
_errors: Final = func.count(case((search_sql.went_wrong, ONE)))
_took: Final = case((in_state(State.DONE, State.FAILED), _job.finished_at - _job.started_at))


@cache
def _figures(by: By, conditions: frozenset[str]) -> Statement:
    """Sum up a window; durations are returned as a list, which is cheapest."""
    columns: dict[By, ColumnElement[Any]] = {
        By.PATH: without_query(_job.path),
        By.ROUTE: without_query(_job.path),
        By.DEFINITION: _job.definition,
    }
    key = columns[by].label("key")
    selected = select(key, _count, _errors, joined(_took)).group_by(key)
    return Statement(search_sql.in_window(selected, conditions))


@cache
def _activity(conditions: frozenset[str]) -> Statement:
    quarter = literal_column(f"submitted_at / {QUARTER}", Integer).label("quarter")
    columns: tuple[ColumnElement[Any], ...] = (quarter, _count, _errors)
    selected = select(*columns).select_from(schema.JOB).group_by(quarter)
    return Statement(search_sql.in_window(selected, conditions))
