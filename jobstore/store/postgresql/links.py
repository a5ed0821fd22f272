"""A single connection to PostgreSQL: how it is made, and how statements are executed on it."""

import time
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from jobstore.store.expressions import Statement
from jobstore.store.postgresql import packing
from jobstore.store.postgresql.database_url import parts_of
from jobstore.store.postgresql.link import Link
from jobstore.store.postgresql.patience import impatient

# For how long a connection may take to be made, in seconds.
CONNECT_SECONDS: Final = 4
# Likewise where nothing has begun yet for which somebody waits.
START_SECONDS: Final = 30
# The shortest time that libpq gives a host.
_LEAST_SECONDS: Final = 2
# How many statements a session may have prepared: more than there are.
_PREPARED: Final = 1_000

Cursor = psycopg.AsyncRawCursor[tuple[Any, ...]]


async def execute(link: Link, statement: Statement, values: Mapping[str, object]) -> Cursor:
    """Execute a statement with values for its parameters."""
    cursor = psycopg.AsyncRawCursor(link)
    await cursor.execute(statement.pg_sql, statement.pg_bound(values), prepare=True)
    return cursor


async def connect(
    url: str,
    schema: str,
    settings: Mapping[str, str],
    *,
    seconds: float = START_SECONDS,
    read_only: bool = False,
) -> Link:
    """Connect, in autocommit mode: transactions are begun by hand.

    Args:
        schema: the schema with the tables.
        settings: settings of the session, by name.
        seconds: after how many seconds it is given up, if it was accepted and nothing is said.
    """
    until = time.monotonic() + seconds
    link = await Link.connect(
        url,
        autocommit=True,
        connect_timeout=_seconds_a_host(url),
        application_name="jobstore",
        # So that a server that is gone is noticed within a minute.
        keepalives_idle=10,
        keepalives_interval=10,
        keepalives_count=3,
    )
    try:
        with impatient(link, lambda: until - time.monotonic()):
            await _prepare(link, schema, settings, read_only=read_only)
    except BaseException:  # nobody else has it
        await link.close()
        raise
    return link


async def _prepare(
    link: Link, schema: str, settings: Mapping[str, str], *, read_only: bool
) -> None:
    link.prepared_max = _PREPARED
    packing.register(link)
    packing.register_texts(link)
    # What a client may choose, a store does not: what is acknowledged is on the disk.
    settings = {"synchronous_commit": "on", **settings}
    if read_only:
        settings["default_transaction_read_only"] = "on"
    texts = [sql.SQL("SET search_path TO {}").format(sql.Identifier(schema))]
    texts += [
        sql.SQL("SET {} TO {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in settings.items()
    ]
    await link.execute(sql.SQL("; ").join(texts))  # one message, and one answer to wait for


def _seconds_a_host(url: str) -> int:
    """Return how long connecting to each of several hosts may take; the caller limits the total."""
    hosts = parts_of(url).get("host", "").count(",") + 1
    return START_SECONDS if hosts == 1 else max(_LEAST_SECONDS, CONNECT_SECONDS // hosts)
