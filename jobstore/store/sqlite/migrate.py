"""Bring a store's schema up to date: the only use of alembic."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from jobstore.model.errors import StoreError
from jobstore.store.sqlite.engine import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    WRITER_PRAGMAS,
    connect,
    identify,
    translated,
)
from jobstore.store.sqlite.lock import held, owned, owner

# Both have to be set before the first table stands in the file.
_CREATION_PRAGMAS = ("PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL")


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
                _upgrade(path)
    return before, SCHEMA_VERSION


def _unused(path: Path, version: int) -> AbstractContextManager[object]:
    """Ensure that no server of an earlier version uses a store whose schema is to be changed."""
    mine = owner(path) == os.getpid()
    return nullcontext() if mine or not version else owned(path)


def _upgrade(path: Path) -> None:
    # Only a file that is behind needs it, and loading it takes a while.
    from alembic import command
    from alembic.config import Config

    engine = create_engine(
        "sqlite://",
        creator=lambda: connect(path, "rwc", (*_CREATION_PRAGMAS, *WRITER_PRAGMAS)),
        poolclass=NullPool,
    )
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _scripts() -> Path:
    """Find the migrations: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[2]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
