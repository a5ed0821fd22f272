"""The rows of spans: how figures are found, added up and written, many of them at once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from json import dumps
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import bindparam, func, select, text

from jobstore.model.periods import LENGTHS, Dimension, Work, start_of
from jobstore.store import schema
from jobstore.store.expressions import Statement, constant
from jobstore.store.transaction import Transaction

# How many names a span tells apart, of each kind.
NAMES: Final = 500
# Under which it has all the others.
REST: Final = "*"

_period: Final = schema.PERIOD.c

of_all: Final = _period.kind == constant(Dimension.ALL)
LAST_START: Final = Statement(
    select(func.max(_period.start)).where(_period.seconds == bindparam("seconds"), of_all)
)

_KEY: Final = ("seconds", "kind", "start", "name")
_COLUMNS: Final = schema.names(schema.PERIOD.columns)
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
    return f"SELECT {columns} FROM {_FROM[engine]} CROSS JOIN period WHERE {matching}"


def _naming(engine: str) -> str:
    key = _KEY[:3]
    values = _members(key, engine)
    matching = " AND ".join(f"{name} = {value}" for name, value in zip(key, values, strict=True))
    count = f"(SELECT count(*) FROM period WHERE {matching})"
    return f"SELECT {', '.join(values)}, {count} FROM {_FROM[engine]}"


def _putting(engine: str) -> str:
    columns, values = ", ".join(_COLUMNS), ", ".join(_members(_COLUMNS, engine))
    new = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
    return (
        f"INSERT INTO period ({columns}) SELECT {values} FROM {_FROM[engine]} WHERE true"
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {new}"
    )


FIND: Final = _both(_finding)
NAMES_IN: Final = _both(_naming)
PUT: Final = _both(_putting)


class PeriodKey(NamedTuple):
    """The key of one row of figures.

    Args:
        seconds: how long the span is.
        start: when it begins, in microseconds since 1970.
        name: which route, owner or the like they are of; "" for all.
    """

    seconds: int
    kind: str
    start: int
    name: str


Counts: TypeAlias = dict[PeriodKey, Work]


def add(counts: Counts, more: Counts) -> None:
    """Add figures to others."""
    for key, work in more.items():
        counts.setdefault(key, Work()).merge(work)


# --- how it is written down -----------------------------------------------------------------------


def put(tx: Transaction, quarters: Counts) -> None:
    """Add figures to those of their quarters, and of the hours and days that are there."""
    if not quarters:
        return
    new: Counts = {}
    add(new, quarters)  # which stay as they are, should this be done a second time
    for seconds in LENGTHS[1:]:
        ((last,),) = tx.execute(LAST_START, seconds=seconds).fetchall()
        for key, work in quarters.items():
            start = start_of(seconds, key.start)
            if last is not None and start <= last:
                add(new, {key._replace(seconds=seconds, start=start): work})
    rests = {key._replace(name=REST) for key in new}
    known = dict(map(decoded_row, tx.execute(FIND, members=dumps([*{*new, *rests}]))))
    new = _bounded(tx, new, known)
    for key, work in new.items():
        if key in known:
            work.merge(known[key])
    write(tx, encoded(new))


def write(tx: Transaction, rows: str) -> None:
    """Write encoded figures in the place of those that are there."""
    tx.execute(PUT, members=rows)


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


# --- rows -----------------------------------------------------------------------------------------


def encoded(works: Counts) -> str:
    """Encode figures as rows: a JSON array."""
    return dumps([_encoded(key, work) for key, work in works.items()])


def joined_rows(parts: Sequence[str]) -> str:
    """Join lists of encoded rows, none of them empty."""
    return f"[{','.join(part[1:-1] for part in parts)}]"


def _encoded(key: PeriodKey, work: Work) -> list[object]:
    ends = (work.done, work.failed, work.cancelled, work.errors)
    return [*key, *ends, work.waits.written(), work.runs.written(), work.longest]


def decoded_row(row: Sequence[Any]) -> tuple[PeriodKey, Work]:
    """Read a row."""
    return PeriodKey(*row[:4]), decoded(row[4:])


def decoded(row: Sequence[Any]) -> Work:
    """Read the figures of a row."""
    done, failed, cancelled, errors, waits, runs, longest = row
    work = Work(int(done), int(failed), int(cancelled), int(errors), longest=longest)
    work.waits.read(waits or "")
    work.runs.read(runs or "")
    return work
