"""Bring the schema of a database up to date, whichever node comes first."""

from typing import Any, Final

import psycopg
from psycopg import sql

from jobstore.model.errors import StoreForeign, StoreNewer, StoreOutdated
from jobstore.store.postgresql.engine import name_of, translate
from jobstore.store.postgresql.plain import Plain, connect
from jobstore.store.scripts import scripts

SCHEMA_VERSION: Final = 6
# Of the lock for which nodes wait that come at the same time: any number that nobody else has.
_LOCK: Final = 0x6A6F6273  # "jobs"


def migrate(url: str, schema: str) -> tuple[int, int]:
    """Create the schema, or bring an older one up to date, in one transaction.

    Returns:
        the schema version before (0 if there was none) and after.

    Raises:
        StoreError: it is foreign or newer, or cannot be written.
    """
    try:
        return _migrated(url, schema)
    except psycopg.Error as error:
        raise translate(name_of(url), error) from error


def _migrated(url: str, schema: str) -> tuple[int, int]:
    link = connect(url, schema)
    try:
        link.autocommit = False
        link.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        before = version_of(link, url, schema)
        if before < SCHEMA_VERSION:
            link.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            _upgrade(link)
        link.commit()
    finally:
        link.close()
    return before, SCHEMA_VERSION


def version_of(link: Plain, url: str, schema: str) -> int:
    """Tell the version of a schema; 0 if there is none yet.

    Raises:
        StoreForeign: there is another one of that name.
        StoreNewer: it comes from a newer jobstore that this one cannot work with.
    """
    tables = {
        name
        for (name,) in link.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,)
        )
    }
    if not tables:
        return 0
    if not {"meta", "boot", "job"} <= tables:
        raise StoreForeign(name_of(url))
    row: Any = link.execute("SELECT schema_version, compatible_from FROM meta").fetchone()
    version, compatible_from = row
    if compatible_from > SCHEMA_VERSION:
        raise StoreNewer(name_of(url), version, SCHEMA_VERSION)
    return int(version)


def require(link: Plain, url: str, schema: str) -> None:
    """Ensure that a schema is one that this jobstore can work with.

    Raises:
        StoreError: it is missing, foreign, newer or older.
    """
    version = version_of(link, url, schema)
    if version < SCHEMA_VERSION:
        raise StoreOutdated(name_of(url), version, SCHEMA_VERSION)


def _upgrade(link: Plain) -> None:
    # Only a schema that is behind needs it, and loading it takes a while.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: link,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        use_native_hstore=False,
        _initialize=False,  # it would undo what was done before on this connection
    )
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(scripts("postgresql")).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
