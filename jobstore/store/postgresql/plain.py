"""Blocking connections, for work before there is an event loop, or that takes no time."""

from typing import Any

import psycopg
from psycopg import sql

from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.postgresql import packing
from jobstore.store.postgresql.database_url import name_of
from jobstore.store.postgresql.links import CONNECT_SECONDS
from jobstore.store.postgresql.supported import refuse_others
from jobstore.store.postgresql.transaction import tallied
from jobstore.store.transaction import Transaction

Plain = psycopg.Connection[tuple[Any, ...]]


def connect(url: str, schema: str, *, read_only: bool = False) -> Plain:
    """Connect, in autocommit mode.

    Args:
        schema: the schema with the tables.
        read_only: whether nothing is written.

    Raises:
        StoreUnsupported: stores are not tested on this server.
    """
    link = psycopg.connect(
        url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="jobstore"
    )
    packing.register(link)
    try:
        row: Any = link.execute("SELECT version()").fetchone()
        refuse_others(name_of(url), row[0])
        link.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        if read_only:
            link.execute("SET default_transaction_read_only TO on")
    except BaseException:
        link.close()
        raise
    return link


class PlainTransaction(Transaction):
    """A transaction outside of a node; it is begun and committed explicitly.

    Args:
        link: where it runs.
    """

    __slots__ = ("link",)

    def __init__(self, link: Plain, now: int) -> None:
        super().__init__(now, Changes())
        self.link = link

    def execute(self, statement: Statement, **values: object) -> psycopg.RawCursor[Any]:
        """Execute a statement with values for its parameters.

        Raises:
            ValueError: the values are invalid.
        """
        cursor = psycopg.RawCursor(self.link)
        try:
            bound = statement.pg_bound({"own_boot": 0, **values})
            cursor.execute(statement.pg_sql, bound, prepare=True)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise ValueError(
                f"these values are not allowed ({error.diag.message_primary or error})"
            ) from error
        return cursor

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        cursor = self.execute(statement, **values)
        if cursor.description is None:  # its id was given
            return int(str(values["id"]))
        return int(next(cursor)[0])

    def write_tally(self) -> None:
        """Write the tally, once, at the end of the transaction."""
        for statement, values in tallied(self.tally, slot=0):
            self.execute(statement, **values)
