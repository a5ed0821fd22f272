"""The database's clock, which all nodes share."""

from typing import Final

from sqlalchemy import cast, extract, func, literal_column, select

from jobstore.model.clock import SECOND, Clock
from jobstore.store.expressions import NUMBER, Statement
from jobstore.store.postgresql.engine import DatabaseConnection

_LOOK: Final = Statement(
    select(
        cast(
            extract("epoch", func.clock_timestamp()) * literal_column("1000000"),
            NUMBER,
        )
    )
)


class DatabaseClock:
    """Tell the time of the database: a node's own clock on the wall may be wrong by hours.

    Between two looks at the database, it goes by a clock that nobody sets. It is never put back by
    less than a second, which a look that takes long may be wrong by.

    Args:
        steady: microseconds since an arbitrary point, never set.
    """

    def __init__(self, steady: Clock) -> None:
        self._steady = steady
        self._ahead = 0
        self._told = 0

    def __call__(self) -> int:
        """Return the time, in microseconds since 1970."""
        told = self._steady() + self._ahead
        self._told = self._told if 0 < self._told - told < SECOND else told
        return self._told

    async def look(self, connection: DatabaseConnection) -> None:
        """Read the database's clock.

        Raises:
            StoreError: the database cannot be reached.
        """
        before = self._steady()
        ((there,),) = await connection.rows(_LOOK)
        self._ahead = there - (before + self._steady()) // 2
