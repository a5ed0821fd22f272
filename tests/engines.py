"""The engines that a store may be on, for tests that do not care which."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PosixPath
from typing import Any, Final

import psycopg

from jobstore.live.joining import Database
from jobstore.store.postgresql.migrate import migrate

URL: Final = os.environ.get("JOBSTORE_TEST_POSTGRESQL", "")


class Place(PosixPath):
    """A store on PostgreSQL, by a name that a file would have; each has a schema of its own."""

    @property
    def database(self) -> Database:
        """Where it is."""
        schema = "test_" + re.sub(r"\W", "_", str(self.parent))[-55:].lower()
        return Database(url=URL, schema=schema)


@contextmanager
def place(path: Path) -> Iterator[Place]:
    """Name a store that does not exist yet."""
    named = Place(path)
    yield named
    with closing(psycopg.connect(URL, autocommit=True)) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {named.database.schema} CASCADE")


def prepare(place: Place) -> None:
    """Make an empty store."""
    migrate(place.database.url, place.database.schema)


def rows(place: Place, statement: str, *values: object) -> list[Any]:
    """Read from a store."""
    database = place.database
    with closing(psycopg.connect(database.url, autocommit=True)) as link:
        link.execute(f"SET search_path TO {database.schema}")
        text = statement.replace("%", "%%").replace("?", "%s")
        return [tuple(row) for row in link.execute(text, values).fetchall()]
