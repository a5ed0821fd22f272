"""Plain connections, for what is done before there is a loop, or takes no time."""

from typing import Any

import psycopg
from psycopg import sql

from jobstore.store.postgresql.engine import CONNECT_SECONDS

Plain = psycopg.Connection[tuple[Any, ...]]


def connect(url: str, schema: str) -> Plain:
    """Connect, in autocommit mode.

    Args:
        schema: where the tables are.
    """
    link = psycopg.connect(
        url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="jobstore"
    )
    link.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    return link
