"""Which ids were ever given: they are never given again, whatever becomes of what had them."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Integer, Text, bindparam, column, func, insert, select, table, update

from jobstore.store.expressions import Statement, constant

# https://www.sqlite.org/autoinc.html
_sequence = table("sqlite_sequence", column("name", Text), column("seq", Integer))
# Whose ids leave the store: in URLs, logs, and the memory of clients.
_GIVEN: Final = ("job", "definition")

_LAST: Final = Statement(
    select(_sequence.c.name, _sequence.c.seq).where(
        _sequence.c.name.in_([constant(name) for name in _GIVEN])
    )
)
_RAISE: Final = Statement(
    update(_sequence)
    .where(_sequence.c.name == bindparam("of"))
    .values(seq=func.max(_sequence.c.seq, bindparam("last")))
)
_PUT: Final = Statement(insert(_sequence).values(name=bindparam("of"), seq=bindparam("last")))


def last_ids(connection: sqlite3.Connection) -> dict[str, int]:
    """Tell the last id that was given to a job and to a definition, by the table's name."""
    return dict(connection.execute(_LAST.sql, _LAST.bound({})).fetchall())


def raise_ids(connection: sqlite3.Connection, last: Mapping[str, int]) -> None:
    """See that ids up to these are not given any more; other names are passed over."""
    for name in _GIVEN:
        values = {"of": name, "last": last.get(name, 0)}
        if connection.execute(_RAISE.sql, _RAISE.bound(values)).rowcount == 0:
            connection.execute(_PUT.sql, _PUT.bound(values))
