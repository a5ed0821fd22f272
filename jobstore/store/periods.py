"""Count what jobs came to in quarters of an hour, hours and days, beside all other work.

**What is counted.** Each job once, when it has ended, in the quarter of an hour in which it was
submitted: with all jobs, and with those of its route, definition, owner and target. A span tells so
many names apart, and has all others together under `REST`. Hours are made of their quarters when
these are over, and days of their hours; what is counted later is added to all of them.

**How far it is.** Ids are in order of submission. Up to the id in the table `revision`, all jobs
were counted that had ended by then; the others are in the table `uncounted`, and are counted once
they have. Both change in the transaction that counts, so that no crash lets a job be counted twice,
or not at all. Where several nodes put jobs in, a job may come to be seen after one with a higher
id; so they leave the jobs of the last minute alone. Spans of a length are there up to the last one
that has a row of all jobs, which is written with all of its others.

**Who works.** Jobs are read and added up beside the writer, which only gets rows to write; it then
looks whether anybody else has counted meanwhile.

**What outlives what.** Spans outlive the jobs, so these are counted before any is forgotten. The
short spans go one day; what they had is in the longer ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from jobstore.model.clock import SECOND, Clock
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import ENDED
from jobstore.model.periods import (
    KEPT,
    LENGTHS,
    QUARTER,
    Dimension,
    EndedJob,
    Stretch,
    Work,
    start_of,
)
from jobstore.model.route import route_of
from jobstore.store import schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement, constant, listed, number
from jobstore.store.guards import ZERO, limit
from jobstore.store.period_rows import (
    LAST_START,
    NAMES,
    REST,
    Counts,
    PeriodKey,
    add,
    decoded_row,
    encoded,
    joined_rows,
    of_all,
    put,
    write,
)
from jobstore.store.reading import Reader
from jobstore.store.slices import slices
from jobstore.store.transaction import Transaction

# How many characters of a name are kept.
_LONGEST: Final = 200
# Of how many jobs one step writes the rows at most, and how many of these are read at once, at most
# and at least.
_JOBS: Final = 50_000
_PART: Final = 250
_FEW: Final = 16
# How many rows of spans are merged or encoded in 2 ms.
_AT_ONCE: Final = 100
# For how long nodes leave a job alone, in microseconds.
UNSETTLED: Final = 60 * SECOND

_job: Final = schema.JOB.c
_period: Final = schema.PERIOD.c
_left: Final = schema.UNCOUNTED.c
_of_counted: Final = schema.REVISION.c.of == constant("counted")

JOB_FIELDS: Final = (
    _job.state,
    _job.status,
    _job.submitted_at,
    _job.started_at,
    _job.finished_at,
    _job.not_before,
    _job.method,
    _job.path,
    _job.definition,
    _job.owner,
    _job.target,
)

COUNTED_TO: Final = Statement(select(schema.REVISION.c.number).where(_of_counted))
LAST_COUNTED: Final = Statement(
    select(schema.REVISION.c.number).where(_of_counted).with_for_update()
)
COUNTED: Final = Statement(update(schema.REVISION).where(_of_counted).values(number=number("last")))
NEXT: Final = Statement(
    select(_job.id, *JOB_FIELDS)
    .where(_job.id > bindparam("after"))
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
LEAVE: Final = Statement(insert(schema.UNCOUNTED).from_select(["job_id"], listed("ids")))
# Those that were left, with where they stand now; null is of one that is gone.
LEFT: Final = Statement(
    select(_left.job_id, _job.state)
    .select_from(schema.UNCOUNTED.outerjoin(schema.JOB, _job.id == _left.job_id))
    .where(_left.job_id > bindparam("after"))
    .order_by(_left.job_id)
    .limit(limit)
    .offset(ZERO)
)
THESE: Final = Statement(select(_job.id, *JOB_FIELDS).where(_job.id.in_(listed("ids"))))
NOT_LEFT: Final = Statement(
    delete(schema.UNCOUNTED).where(_left.job_id.in_(listed("ids"))).returning(_left.job_id)
)
FIRST_START: Final = Statement(
    select(func.min(_period.start)).where(
        _period.seconds == bindparam("seconds"), _period.kind == bindparam("kind")
    )
)
NEXT_START: Final = Statement(
    select(func.min(_period.start)).where(
        _period.seconds == bindparam("seconds"), of_all, _period.start >= bindparam("since")
    )
)
_between: Final = (
    _period.seconds == bindparam("seconds"),
    _period.start >= bindparam("since"),
    _period.start < bindparam("until"),
)
BETWEEN: Final = Statement(
    select(*schema.PERIOD.columns).where(_period.kind == bindparam("kind"), *_between)
)
COUNT_BETWEEN: Final = Statement(
    select(func.sum(_period.done + _period.failed + _period.cancelled)).where(of_all, *_between)
)
DROP: Final = Statement(
    delete(schema.PERIOD).where(
        _period.seconds == bindparam("seconds"),
        _period.kind == bindparam("kind"),
        _period.start == bindparam("start"),
    )
)


@dataclass(slots=True)
class Gathered:
    """Jobs that are counted together.

    Args:
        after: up to which id all were counted before.
        last: and up to which they are then.
        ended: what came of those that have ended.
        left: the ids of the others.
    """

    after: int
    last: int
    ended: Counts = field(default_factory=lambda: defaultdict(Work))
    left: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows will be written, about: those of longer spans come to it."""
        return len(self.ended) + len(self.left)


@frozen
class Built:
    """A span that was made of shorter ones.

    Args:
        seconds: how long these are.
        stretch: the span.
        jobs: how many there are in it.
        rows: its figures, encoded.
    """

    seconds: int
    stretch: Stretch
    jobs: int
    rows: str


# --- how it is counted ----------------------------------------------------------------------------


async def gather(reader: Reader, before: int, clock: Clock, most: int) -> Gathered | None:
    """Add up the next jobs that were submitted before a time; None if all were counted.

    Args:
        most: how many rows there may be to write before no more jobs are read.
    """
    (after,) = await reader.row(COUNTED_TO)
    found = Gathered(after, after)
    while found.rows < most and found.last - after < _JOBS:
        part = min(_PART, max(_FEW, most - found.rows))
        rows = await reader.rows(NEXT, after=found.last, limit=part)
        # A time in the future comes from a clock that was wrong: it does not end the walk. A job
        # submitted just now does, or a round would last for as long as jobs come.
        passed = _before(range(before, clock() + 1), rows)
        if not passed:
            break
        add(found.ended, counted(row[1:] for row in passed if row[1] in ENDED))
        found.left += [row[0] for row in passed if row[1] not in ENDED]
        found.last = passed[-1][0]
    return found if found.last > after else None


def _before(times: range, rows: Sequence[Any]) -> Sequence[Any]:
    """Return the jobs before the first that was submitted at one of some times."""
    return [*takewhile(lambda row: row[3] not in times, rows)]


def count(tx: Transaction, found: Gathered) -> bool:
    """Count what was added up; tell whether nobody else has done so meanwhile."""
    ((after,),) = tx.execute(LAST_COUNTED).fetchall()
    if after != found.after:
        return False
    put(tx, found.ended)
    if found.left:
        tx.execute(LEAVE, ids=encode_ids(found.left))
    tx.execute(COUNTED, last=found.last)
    return True


def count_left(tx: Transaction, ids: Sequence[int]) -> int:
    """Count jobs that were left because they had not ended, and have; return how many."""
    tx.execute(LAST_COUNTED)  # so that nobody builds spans meanwhile
    listed = encode_ids(ids)
    left = {*tx.ids(NOT_LEFT, ids=listed)}
    rows = [row[1:] for row in tx.execute(THESE, ids=listed) if row[0] in left]
    put(tx, counted(row for row in rows if row[0] in ENDED))
    return len(left)


def drop(tx: Transaction, _: int) -> int:
    """Drop one of the spans that are not kept any longer; return how many rows it had."""
    for seconds, kept in KEPT.items():
        for kind in Dimension:
            values = {"seconds": seconds, "kind": kind.value}
            ((start,),) = tx.execute(FIRST_START, **values).fetchall()
            if start is not None and start < start_of(seconds, tx.now - kept):
                return tx.execute(DROP, **values, start=start).rowcount
    return 0


def counted(rows: Iterable[Sequence[Any]], kinds: Iterable[Dimension] = tuple(Dimension)) -> Counts:
    """Count jobs that have ended, in quarters of an hour.

    Args:
        rows: `JOB_FIELDS` of each.
        kinds: what they are told apart by.
    """
    wanted = [(kind.value, _NAME[kind]) for kind in kinds]
    found: Counts = defaultdict(Work)
    for row in rows:
        job = ended_of(row)
        start = start_of(QUARTER, job.submitted_at)
        for kind, name_of in wanted:
            name = name_of(*row[6:])
            if name is not None:
                found[PeriodKey(QUARTER, kind, start, name[:_LONGEST])].add(job)
    return found


def ended_of(row: Sequence[Any]) -> EndedJob:
    """Read `JOB_FIELDS` of a job, as far as it counts; one that has not ended has no end."""
    return EndedJob(*row[:6])


_NAME: Final[Mapping[Dimension, Any]] = {
    Dimension.ALL: lambda *_: "",
    Dimension.ROUTE: lambda method, path, *_: f"{method} {route_of(path)}",
    Dimension.DEFINITION: lambda _, __, definition, *___: definition and str(definition),
    Dimension.OWNER: lambda _, __, ___, owner, ____: owner,
    Dimension.TARGET: lambda *of_job: of_job[-1],
}

# --- longer spans ---------------------------------------------------------------------------------


async def built(reader: Reader) -> dict[int, int]:
    """Return up to when there are longer spans, in microseconds since 1970, by their length."""
    found = {}
    for seconds in LENGTHS[1:]:
        (last,) = await reader.row(LAST_START, seconds=seconds)
        found[seconds] = 0 if last is None else last + seconds * SECOND
    return found


async def build(reader: Reader, before: int) -> Built | None:
    """Make the next longer span that has ended before a time; None if there is none.

    Args:
        before: all jobs that were submitted before were counted or left.
    """
    ends = await built(reader)
    for seconds, longer in pairwise(LENGTHS):
        (first,) = await reader.row(NEXT_START, seconds=seconds, since=ends[longer])
        if first is None:
            continue
        start = start_of(longer, first)
        stretch = Stretch(longer, start, start + longer * SECOND)
        if stretch.until <= before:
            works = await _merged(reader, seconds, stretch)
            jobs = sum(work.count for key, work in works.items() if key.kind == Dimension.ALL)
            return Built(seconds, stretch, jobs, await _encoded(works))
    return None


async def _merged(reader: Reader, seconds: int, stretch: Stretch) -> Counts:
    works: Counts = defaultdict(Work)
    for kind in Dimension:
        values = {"seconds": seconds, "since": stretch.since, "until": stretch.until}
        async for some in slices(await reader.rows(BETWEEN, kind=kind.value, **values), _AT_ONCE):
            for key, work in map(decoded_row, some):
                works[key._replace(seconds=stretch.seconds, start=stretch.since)].merge(work)
    # Those of the most jobs keep their names.
    for kind in Dimension:
        named = [key for key in works if key.kind == kind and key.name != REST]
        named.sort(key=lambda key: -works[key].count)
        for key in named[NAMES:]:
            works[key._replace(name=REST)].merge(works.pop(key))
    return works


async def _encoded(works: Counts) -> str:
    """Encode figures beside the writer: that takes longer than to write them."""
    return joined_rows([encoded(dict(some)) async for some in slices([*works.items()], _AT_ONCE)])


def put_built(tx: Transaction, span: Built) -> bool:
    """Write a longer span; tell whether nothing was counted in it since it was made."""
    tx.execute(LAST_COUNTED)
    values = {"seconds": span.seconds, "since": span.stretch.since, "until": span.stretch.until}
    ((count,),) = tx.execute(COUNT_BETWEEN, **values).fetchall()
    if int(count or 0) != span.jobs:
        return False
    write(tx, span.rows)
    return True
