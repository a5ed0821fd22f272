"""Create stores, and bring their schema up to date: the only use of alembic.

A new store is made at once from `new_store.sql`, which holds what all migrations together would
make; tests compare the two. So only a store of an earlier version takes alembic.
"""

import os
import sqlite3
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from jobstore.model.errors import StoreError
from jobstore.store.scripts import scripts
from jobstore.store.sqlite.engine import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    WRITER_PRAGMAS,
    connect,
    identify,
)
from jobstore.store.sqlite.lock import held, owned, owner
from jobstore.store.sqlite.translation import translated

# Both have to be set before the first table stands in the file.
_CREATION_PRAGMAS = ("PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL")
_MARKS = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def migrate(path: Path) -> tuple[int, int]:
    """Create a store, or bring an older one up to date, in one transaction.

    Returns:
        the schema version before (0 if there was none) and after.

    Raises:
        StoreInUse: a server of an earlier version owns it.
        StoreError: it is foreign, newer, damaged, cannot be written, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist")
    with held(path, create=True):
        before = identify(path)
        if before < SCHEMA_VERSION:
            with _unused(path, before), translated(path):
                (upgrade if before else _create)(path)
    return before, SCHEMA_VERSION


def _unused(path: Path, version: int) -> AbstractContextManager[object]:
    """Ensure that no server of an earlier version uses a store whose schema is to be changed."""
    mine = owner(path) == os.getpid()
    return nullcontext() if mine or not version else owned(path)


def _create(path: Path) -> None:
    statements = (scripts() / "new_store.sql").read_text("utf-8")
    with closing(_opened(path)) as connection:
        connection.executescript(f"BEGIN IMMEDIATE;{statements};{';'.join(_MARKS)};COMMIT")


def upgrade(path: Path) -> None:
    """Run all migrations that a store has not had yet; of a new file, all there are."""
    # Only a file that is behind needs it, and loading it takes a while.
    from alembic import command
    from alembic.config import Config

    engine = create_engine(
        "sqlite://",
        creator=lambda: _opened(path),
        poolclass=NullPool,
    )
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        for mark in _MARKS:
            connection.exec_driver_sql(mark)


def _opened(path: Path) -> sqlite3.Connection:
    return connect(path, "rwc", (*_CREATION_PRAGMAS, *WRITER_PRAGMAS))


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
