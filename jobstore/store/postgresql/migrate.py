"""Bring the schema of a database up to date, whichever node comes first."""

from contextlib import closing
from typing import Any, Final

from psycopg import sql

from jobstore.model.errors import StoreForeign, StoreMissing, StoreNewer, StoreOutdated
from jobstore.store.postgresql.database_url import name_of
from jobstore.store.postgresql.plain import Plain, connect
from jobstore.store.postgresql.translation import translated
from jobstore.store.scripts import scripts

SCHEMA_VERSION: Final = 10
# Of the lock for which nodes wait that come at the same time: any number that nobody else has.
_LOCK: Final = 0x6A6F6273  # "jobs"

# All tables and views, whether one may read them or not.
_TABLES: Final = """
    SELECT relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n
        ON n.oid = c.relnamespace
    WHERE nspname = %s AND relkind IN ('r', 'p', 'v')
"""


def migrate(url: str, schema: str) -> tuple[int, int]:
    """Create the schema, or bring an older one up to date, in one transaction.

    Returns:
        the schema version before (0 if there was none) and after.

    Raises:
        StoreError: it is foreign or newer, or cannot be written.
    """
    with translated(url), closing(connect(url, schema)) as link:
        link.autocommit = False
        link.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        before = version_of(link, url, schema)
        if before < SCHEMA_VERSION:
            link.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            _upgrade(link)
        link.commit()
    return before, SCHEMA_VERSION


def version_of(link: Plain, url: str, schema: str) -> int:
    """Return the version of a schema; 0 if it does not exist.

    Raises:
        StoreForeign: a schema of that name exists, but is not jobstore's.
        StoreNewer: it comes from a newer jobstore that this one cannot work with.
    """
    tables = {name for (name,) in link.execute(_TABLES, (schema,))}
    if not tables:
        return 0
    if not {"meta", "boot", "job"} <= tables:
        raise StoreForeign(named(url, schema))
    # By its whole name: a schema that one may not use is not on the search path.
    meta = sql.Identifier(schema, "meta")
    row: Any = link.execute(
        sql.SQL("SELECT schema_version, compatible_from FROM {}").format(meta)
    ).fetchone()
    version, compatible_from = row
    if compatible_from > SCHEMA_VERSION:
        raise StoreNewer(named(url, schema), version, SCHEMA_VERSION)
    return int(version)


def require(url: str, schema: str) -> None:
    """Ensure that this jobstore can work with a schema.

    Raises:
        StoreError: it is missing, foreign, newer or older, or cannot be read.
    """
    with translated(url), closing(connect(url, schema)) as link:
        version = version_of(link, url, schema)
    if not version:
        raise StoreMissing(named(url, schema))
    if version < SCHEMA_VERSION:
        raise StoreOutdated(named(url, schema), version, SCHEMA_VERSION)


def named(url: str, schema: str) -> str:
    """Return the name of a schema and its database for people, without its password."""
    return f"{name_of(url)}, schema {schema}"


def _upgrade(link: Plain) -> None:
    # Only a schema that is behind needs it, and loading it takes a while.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

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
