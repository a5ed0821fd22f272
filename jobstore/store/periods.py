"""Count what jobs came to in quarters of an hour, hours and days, beside all other work.

**What is counted.** Each job once, when it has ended, in the spans in which it was submitted: with
all jobs, and with those of its route, definition, owner and target. A span tells so many names
apart, and has all others together under `REST`.

**How far it is.** Ids are in order of submission. Up to the id in the table `revision`, all jobs
were counted that had ended by then; the others are in the table `uncounted`, and are counted once
they have. Both change in the transaction that counts, so that no crash lets a job be counted twice,
or not at all. Where several nodes put jobs in, a job may come to be seen after one with a higher
id; so they leave the jobs of the last minute alone.

**What outlives what.** Spans outlive the jobs, so these are counted before any is forgotten. The
short spans go one day; what they had is in the longer ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from json import dumps
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import bindparam, delete, func, insert, select, text, update

from jobstore.model.clock import SECOND
from jobstore.model.lifecycle import ENDED
from jobstore.model.periods import KEPT, LENGTHS, QUARTER, Ended, Kind, Work, start_of
from jobstore.model.route import route_of
from jobstore.store import schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement, constant, listed, number
from jobstore.store.guards import ZERO, limit
from jobstore.store.transaction import Transaction

# How many names a span tells apart, of each kind.
NAMES: Final = 500
# Under which it has all the others.
REST: Final = "*"
# How many characters of a name are kept.
_LONGEST: Final = 200
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
DROP: Final = Statement(
    delete(schema.PERIOD).where(
        _period.seconds == bindparam("seconds"),
        _period.kind == bindparam("kind"),
        _period.start == bindparam("start"),
    )
)

_KEY: Final = ("seconds", "kind", "start", "name")
_COLUMNS: Final = tuple(column.name for column in schema.PERIOD.columns)
_NUMBERS: Final = frozenset(_COLUMNS) - {"kind", "name", "waits", "runs"}


def _member(place: int, name: str, engine: str) -> str:
    if engine == "sqlite":
        return f"json_extract(member.value, '$[{place}]')"
    found = f"(member.value ->> {place})"
    return f"CAST({found} AS BIGINT)" if name in _NUMBERS else found


def _members(names: Sequence[str], engine: str) -> list[str]:
    return [_member(place, name, engine) for place, name in enumerate(names)]


_FROM: Final = {
    "sqlite": "json_each(:members) AS member",
    "postgresql": "json_array_elements(CAST(:members AS JSON)) AS member(value)",
}


def _both(write: Any) -> Statement:
    """Make a statement about a list of rows that is bound as one parameter, as JSON text."""
    return Statement(text(write("sqlite")), text(write("postgresql")))


def _finding(engine: str) -> str:
    same = zip(_KEY, _members(_KEY, engine), strict=True)
    matching = " AND ".join(f"period.{name} = {value}" for name, value in same)
    columns = ", ".join(f"period.{name}" for name in _COLUMNS)
    return f"SELECT {columns} FROM {_FROM[engine]} CROSS JOIN period WHERE {matching}"  # noqa: S608


def _naming(engine: str) -> str:
    key = _KEY[:3]
    values = _members(key, engine)
    matching = " AND ".join(f"{name} = {value}" for name, value in zip(key, values, strict=True))
    count = f"(SELECT count(*) FROM period WHERE {matching})"  # noqa: S608 - ours
    return f"SELECT {', '.join(values)}, {count} FROM {_FROM[engine]}"  # noqa: S608 - ours


def _putting(engine: str) -> str:
    columns, values = ", ".join(_COLUMNS), ", ".join(_members(_COLUMNS, engine))
    new = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
    return (
        f"INSERT INTO period ({columns}) SELECT {values} FROM {_FROM[engine]} WHERE true"  # noqa: S608
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {new}"
    )


FIND: Final = _both(_finding)
NAMES_IN: Final = _both(_naming)
PUT: Final = _both(_putting)


class Key(NamedTuple):
    """Which figures of which span.

    Args:
        seconds: how long the span is.
        start: when it begins, in microseconds since 1970.
        name: what they are told apart by, or "" of all.
    """

    seconds: int
    kind: str
    start: int
    name: str


Counts: TypeAlias = dict[Key, Work]

# --- how it is counted ----------------------------------------------------------------------------


def count(tx: Transaction, before: int, limit: int) -> int:
    """Count some of the jobs that were submitted before a time; return how many were passed."""
    ((after,),) = tx.execute(LAST_COUNTED).fetchall()
    found = tx.execute(NEXT, after=after, limit=limit).fetchall()
    # What was submitted in the future says nothing about what comes after it.
    rows = [*takewhile(lambda row: not before <= row[3] <= tx.now, found)]
    if not rows:
        return 0
    _put(tx, counted(row[1:] for row in rows if row[1] in ENDED))
    left = [row[0] for row in rows if row[1] not in ENDED]
    if left:
        tx.execute(LEAVE, ids=encode_ids(left))
    tx.execute(COUNTED, last=rows[-1][0])
    return len(rows)


def count_left(tx: Transaction, ids: Sequence[int]) -> int:
    """Count jobs that were left because they had not ended, and have; return how many."""
    listed = encode_ids(ids)
    left = {*tx.ids(NOT_LEFT, ids=listed)}
    rows = [row[1:] for row in tx.execute(THESE, ids=listed) if row[0] in left]
    _put(tx, counted(row for row in rows if row[0] in ENDED))
    return len(left)


def drop(tx: Transaction, _: int) -> int:
    """Drop one of the spans that are not kept any longer; return how many rows it had."""
    for seconds, kept in KEPT.items():
        for kind in Kind:
            values = {"seconds": seconds, "kind": kind.value}
            ((start,),) = tx.execute(FIRST_START, **values).fetchall()
            if start is not None and start < start_of(seconds, tx.now - kept):
                return tx.execute(DROP, **values, start=start).rowcount
    return 0


def counted(rows: Iterable[Sequence[Any]], kinds: Iterable[Kind] = tuple(Kind)) -> Counts:
    """Count jobs that have ended, in quarters of an hour.

    Args:
        rows: `JOB_FIELDS` of each.
        kinds: what they are told apart by.
    """
    wanted = [(kind.value, _NAME[kind]) for kind in kinds]
    found: Counts = defaultdict(Work)
    for row in rows:
        job = Ended(*row[:6])
        start = start_of(QUARTER, job.submitted_at)
        for kind, name_of in wanted:
            name = name_of(*row[6:])
            if name is not None:
                found[Key(QUARTER, kind, start, name[:_LONGEST])].add(job)
    return found


_NAME: Final[Mapping[Kind, Any]] = {
    Kind.ALL: lambda *_: "",
    Kind.ROUTE: lambda method, path, *_: f"{method} {route_of(path)}",
    Kind.DEFINITION: lambda _, __, definition, *___: definition and str(definition),
    Kind.OWNER: lambda _, __, ___, owner, ____: owner,
    Kind.TARGET: lambda *of_job: of_job[-1],
}

# --- how it is written down -----------------------------------------------------------------------


def _put(tx: Transaction, quarters: Counts) -> None:
    """Add figures to those of their quarters, hours and days."""
    if not quarters:
        return
    new: Counts = defaultdict(Work)
    for key, work in quarters.items():
        for seconds in LENGTHS:
            new[key._replace(seconds=seconds, start=start_of(seconds, key.start))].merge(work)
    rests = {key._replace(name=REST) for key in new}
    known = dict(map(_decoded, tx.execute(FIND, members=dumps([*{*new, *rests}]))))
    new = _bounded(tx, new, known)
    for key, work in new.items():
        if key in known:
            work.merge(known[key])
    tx.execute(PUT, members=dumps([_encoded(key, work) for key, work in new.items()]))


def _bounded(tx: Transaction, new: Counts, known: Counts) -> Counts:
    """Put together what would be one name too many of a span."""
    unknown = Counter(key[:3] for key in new if key not in known)
    if not unknown:
        return new
    room = {
        tuple(span): NAMES - count
        for *span, count in tx.execute(NAMES_IN, members=dumps([*unknown]))
    }
    bounded: Counts = defaultdict(Work)
    for key, work in new.items():
        if key not in known:
            room[key[:3]] -= 1
        full = key not in known and room[key[:3]] < 0
        bounded[key._replace(name=REST) if full else key].merge(work)
    return bounded


def _encoded(key: Key, work: Work) -> list[object]:
    ends = (work.done, work.failed, work.cancelled, work.errors)
    return [*key, *ends, work.waits.written(), work.runs.written(), work.longest]


def _decoded(row: Sequence[Any]) -> tuple[Key, Work]:
    return Key(*row[:4]), decoded(row[4:])


def decoded(row: Sequence[Any]) -> Work:
    """Read the figures of a row."""
    done, failed, cancelled, errors, waits, runs, longest = row
    work = Work(int(done), int(failed), int(cancelled), int(errors), longest=longest)
    work.waits.read(waits or "")
    work.runs.read(runs or "")
    return work
