"""How jobs ended: the counted ones from their spans, the others read one by one.

Counted jobs are read span by span, see `jobstore.store.periods`. Jobs submitted after these are
read one by one, the newest first, for no longer than a budget; then those that had not ended when
their neighbours were counted, and have since. If the budget runs out, it is not `complete`.
Nothing is counted by account: for a reader who may see one account only, all jobs are read one by
one, as far as the budget goes.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from json import dumps
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import ENDED
from jobstore.model.periods import Dimension, EndedJob, Stretch, Work, start_of, stretches
from jobstore.store import period_rows, periods, schema
from jobstore.store import search as search_sql
from jobstore.store.budget import Budget, TimeIsUp
from jobstore.store.expressions import Statement, constant, joined, listed_words
from jobstore.store.guards import ZERO, in_state, limit
from jobstore.store.history import History
from jobstore.store.period_rows import Counts
from jobstore.store.search import Search
from jobstore.store.slices import slices

_period: Final = schema.PERIOD.c
_job: Final = schema.JOB.c
_late: Final = schema.UNCOUNTED.c

_spans: Final = (
    _period.seconds == bindparam("seconds"),
    _period.kind == bindparam("kind"),
    _period.start >= bindparam("since"),
    _period.start < bindparam("until"),
)
SUMS: Final = Statement(
    select(
        _period.name,
        func.sum(_period.done),
        func.sum(_period.failed),
        func.sum(_period.cancelled),
        func.sum(_period.errors),
        joined(func.nullif(_period.waits, constant(""))),
        joined(func.nullif(_period.runs, constant(""))),
        func.max(_period.longest_us),
    )
    .where(*_spans)
    .group_by(_period.name)
)
_ends: Final = (
    _period.name,
    _period.start,
    _period.done,
    _period.failed,
    _period.cancelled,
    _period.errors,
)
_named: Final = (*_spans, _period.name.in_(listed_words("names")))
SERIES: Final = Statement(select(*_ends).where(*_named))
# With how long the jobs of each span took, which takes ten times as long to read.
LONG_SERIES: Final = Statement(select(*_ends, _period.runs, _period.longest_us).where(*_named))
# The jobs that had not ended when those around them were counted, a part at a time.
LATE: Final = Statement(
    select(_late.job_id, *periods.JOB_FIELDS)
    .join_from(schema.UNCOUNTED, schema.JOB, _job.id == _late.job_id)
    .where(_late.job_id > bindparam("after"))
    .order_by(_late.job_id)
    .limit(limit)
    .offset(ZERO)
)
_PART: Final = 250
# How many rows are read in 2 ms: sums have the durations of up to a hundred spans each.
_NAMES_AT_ONCE: Final = 16
_SPANS_AT_ONCE: Final = 200
# How often to read if the janitor counts meanwhile: a job could then appear twice.
_TRIES: Final = 3


@frozen
class OverviewQuery:
    """Which jobs are asked about, and by whom; times in microseconds since 1970.

    Args:
        kind: what they are grouped by.
        since: submitted in the quarter of an hour that has this time, or later.
        until: submitted before the end of the one that has this.
        scope: the account whose they have to be, or None for all jobs.
        seconds: how long the spans are in which they are told, one after the other.
        durations: whether to tell of each span how long its jobs took.
    """

    kind: Dimension
    since: int
    until: int
    seconds: int
    scope: int | None = None
    durations: bool = False


@dataclass(slots=True)
class Overview:
    """What came of jobs.

    Args:
        works: by their names.
        spans: likewise, by the starts of the spans in which they were submitted.
        complete: whether nothing is missing.
    """

    works: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))
    spans: dict[str, dict[int, Work]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Work))
    )
    complete: bool = True

    def most(self, count: int) -> list[str]:
        """Return the names of most jobs, those of the most first; the rest is none of them."""
        named = (name for name in self.works if name != period_rows.REST)
        return sorted(named, key=lambda name: (-self.works[name].count, name))[:count]


async def overview(history: History, asked: OverviewQuery, most: int, budget: Budget) -> Overview:
    """Return what came of jobs.

    Args:
        most: of how many names to tell the spans.
        budget: how long to look at jobs that were not counted yet.
    """
    return (await by_kinds(history, asked, {asked.kind: most}, budget))[asked.kind]


async def by_kinds(
    history: History, asked: OverviewQuery, most: Mapping[Dimension, int], budget: Budget
) -> Mapping[Dimension, Overview]:
    """Return what came of the same jobs by several kinds; those not counted yet are read once.

    Args:
        asked: whose kind does not matter.
        most: the kinds, and of how many names of each to tell the spans.
        budget: how long to look at jobs that were not counted yet, each time these are read.
    """
    seen: Mapping[Dimension, Overview] = {}
    for _ in range(_TRIES):
        ((last,),) = await history.rows(periods.COUNTED_TO)
        seen = await _seen(history, asked, last, most, budget.again())
        if await history.rows(periods.COUNTED_TO) == [(last,)]:
            break
    return seen


async def _seen(
    history: History, asked: OverviewQuery, last: int, most: Mapping[Dimension, int], budget: Budget
) -> Mapping[Dimension, Overview]:
    """Return what came of jobs, those up to an id as they were counted."""
    by_kind = {kind: replace(asked, kind=kind) for kind in most}
    built = await periods.built(history.searcher) if asked.scope is None else {}
    seen = {kind: await _counted(history, each, built) for kind, each in by_kind.items()}
    recent, complete = await _recent(history, asked, [*most], last, budget)
    for key, work in recent.items():
        seen[Dimension(key.kind)].works[key.name].merge(work)
    for kind, each in by_kind.items():
        seen[kind].complete = complete
        await _add_spans(history, each, seen[kind], seen[kind].most(most[kind]), built)
    for key, work in recent.items():
        spans = seen[Dimension(key.kind)].spans[key.name]
        spans[start_of(asked.seconds, key.start)].merge(work)
    return seen


async def _counted(history: History, asked: OverviewQuery, built: Mapping[int, int]) -> Overview:
    seen = Overview()
    if asked.scope is not None:  # nothing is counted by accounts
        return seen
    for stretch in stretches(asked.since, asked.until, built):
        async for some in slices(await _of(history, SUMS, asked, stretch), _NAMES_AT_ONCE):
            for name, *row in some:
                seen.works[name].merge(period_rows.decoded(row))
    return seen


async def _add_spans(
    history: History,
    asked: OverviewQuery,
    seen: Overview,
    names: Collection[str],
    built: Mapping[int, int],
) -> None:
    if asked.scope is not None:
        return
    statement = LONG_SERIES if asked.durations else SERIES
    for stretch in stretches(asked.since, asked.until, built, asked.seconds):
        rows = await _of(history, statement, asked, stretch, names=dumps([*names]))
        async for some in slices(rows, _SPANS_AT_ONCE):
            for name, start, *row in some:
                ended = _ended_in(row)
                known = seen.spans[name].setdefault(start_of(asked.seconds, start), ended)
                if known is not ended:
                    known.merge(ended)


def _ended_in(row: Sequence[Any]) -> Work:
    """Read the numbers of a span, and its durations if these were asked for."""
    done, failed, cancelled, errors, *durations = row
    ended = Work(done, failed, cancelled, errors)
    if durations:
        ended.runs.read(durations[0] or "")
        ended.longest = durations[1]
    return ended


async def _of(
    history: History, statement: Statement, asked: OverviewQuery, stretch: Stretch, **values: object
) -> list[Any]:
    return await history.searcher.rows(
        statement,
        seconds=stretch.seconds,
        kind=asked.kind.value,
        since=stretch.since,
        until=stretch.until,
        **values,
    )


# --- what was not counted yet -------------------------------------------------------------------


@cache
def _ended(conditions: frozenset[str]) -> Statement:
    selected = select(*periods.JOB_FIELDS).where(in_state(*ENDED))
    return Statement(search_sql.in_window(selected, conditions))


async def _recent(
    history: History, asked: OverviewQuery, kinds: Sequence[Dimension], last: int, budget: Budget
) -> tuple[Counts, bool]:
    """Count the jobs behind an id, and those before it that have ended since these were counted.

    Returns:
        what was found, and whether the budget has lasted for all of it.
    """
    search = Search(since=asked.since, until=asked.until, account=asked.scope)
    statement = _ended(frozenset(search.values))
    found: Counts = {}
    after = last if asked.scope is None else 0
    try:
        async for rows in history.recent(statement, search, after, budget):
            period_rows.add(found, periods.counted(rows, kinds))
            budget.begin()  # the first few jobs are looked at in any case
        if asked.scope is None:
            async for rows in _ended_late(history, asked, budget):
                period_rows.add(found, periods.counted(rows, kinds))
    except TimeIsUp:
        return found, False
    return found, True


async def _ended_late(
    history: History, asked: OverviewQuery, budget: Budget
) -> AsyncIterator[list[Sequence[Any]]]:
    """Yield the jobs that have ended since those around them were counted.

    Raises:
        TimeIsUp: the budget does not last.
    """
    after = 0
    while rows := await history.searcher.rows(LATE, after=after, limit=_PART):
        after = rows[-1][0]
        yield [fields for _, *fields in rows if _is_asked_for(periods.ended_of(fields), asked)]
        budget.left()


def _is_asked_for(job: EndedJob, asked: OverviewQuery) -> bool:
    return job.state in ENDED and asked.since <= job.submitted_at < asked.until
