"""A quick look at single rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from jobstore.store import revisions
from jobstore.store.expressions import Statement
from jobstore.store.postgresql.engine import name_of, translate
from jobstore.store.postgresql.plain import Plain, connect


class NodePoints:
    """Look at rows that are found by their key, on the thread that wants them."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._link: Plain | None = None

    def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows."""
        try:
            if self._link is None or self._link.closed:
                self._link = connect(self._url, self._schema)
            cursor = psycopg.RawCursor(self._link)
            text, bound = statement.pg_sql, statement.pg_bound(values)
            return cursor.execute(text, bound, prepare=True).fetchall()
        except psycopg.Error as error:
            raise translate(name_of(self._url), error) from error

    def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and give its first row, or None."""
        return next(iter(self.rows(statement, **values)), None)

    def revision(self, of: str) -> int:
        """Tell how often something was changed: accounts, schedules, or the queue from outside."""
        ((number,),) = self.rows(revisions.REVISION, of=of)
        return int(number)

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()


@contextmanager
def points_of(url: str, schema: str) -> Iterator[NodePoints]:
    """Open a database for quick looks, until the context is left."""
    points = NodePoints(url, schema)
    try:
        yield points
    finally:
        points.close()
