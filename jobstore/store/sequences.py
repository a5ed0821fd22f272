"""Which ids were given out: they are never reused, even when their rows are gone."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Integer, Text, bindparam, column, func, insert, select, table, text, update

from jobstore.store.expressions import Statement, constant, next_id
from jobstore.store.transaction import Transaction

# https://www.sqlite.org/autoinc.html
_sequence = table("sqlite_sequence", column("name", Text), column("seq", Integer))
# Whose ids leave the store: in URLs, logs, and the memory of clients.
_GIVEN: Final = ("job", "definition")

# All tables whose ids are counted up.
COUNTED: Final = (
    "boot",
    "definition",
    "job",
    "body",
    "event",
    "account",
    "token",
    "session",
    "audit",
    "operation",
)
# The last ids that were given to jobs and to definitions, if there ever was one.
LAST: Final = Statement(
    select(_sequence.c.name, _sequence.c.seq).where(
        _sequence.c.name.in_([constant(name) for name in _GIVEN])
    ),
    text(
        " UNION ALL ".join(
            f"SELECT '{name}', last_value FROM {name}_id_seq WHERE is_called"  # noqa: S608 - ours
            for name in _GIVEN
        )
    ),
)
# In PostgreSQL each sequence is there, though none can stand at 0.
_RAISE: Final = Statement(
    update(_sequence)
    .where(_sequence.c.name == bindparam("of"))
    .values(seq=func.max(_sequence.c.seq, bindparam("last"))),
    text(
        "SELECT CASE WHEN highest > 0 THEN setval(sequence, highest) END FROM ("
        " SELECT sequence, greatest("
        "  coalesce(pg_sequence_last_value(sequence), 0), CAST(:last AS BIGINT)) AS highest"
        " FROM (SELECT CAST(pg_get_serial_sequence(CAST(:of AS TEXT), 'id') AS regclass)"
        "  AS sequence) AS named) AS found"
    ),
)
_PUT: Final = Statement(insert(_sequence).values(name=bindparam("of"), seq=bindparam("last")))


def next_id_of(table: str) -> Statement:
    """Select the id that the next row of a table will get."""
    last = f"pg_sequence_last_value(CAST(pg_get_serial_sequence('{table}', 'id') AS regclass))"
    return Statement(select(next_id(constant(table))), text(f"SELECT coalesce({last}, 0) + 1"))


def raise_ids(tx: Transaction, last: Mapping[str, int]) -> None:
    """Ensure that ids up to these are not used again; other names are ignored."""
    for name in _GIVEN:
        raise_id(tx, name, last.get(name, 0))


def raise_id(tx: Transaction, table: str, last: int) -> None:
    """Ensure that ids of a table up to this one are not used again."""
    if tx.execute(_RAISE, of=table, last=last).rowcount == 0:
        tx.execute(_PUT, of=table, last=last)
