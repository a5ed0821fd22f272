"""The tables, as statements see them.

The schema itself, with its constraints, indexes, triggers and views, is defined
in ``migrations/``; a test compares the two.
"""

import sys
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ARRAY, Column, ForeignKey, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

from jobstore.store.expressions import FRACTION, NUMBER

METADATA: Final = MetaData()


def columns(table: Table) -> tuple[Column[Any], ...]:
    """Return the columns that a table has with both engines."""
    return tuple(column for column in table.columns if not column.system)


def names(of: Iterable[Column[Any]]) -> tuple[str, ...]:
    """Return the names of columns as they stand in source code.

    SQLAlchemy's own are equal, but others: as keywords of a large value they take four times as
    long, since Python compares them with the name of each parameter.
    """
    return tuple(sys.intern(str(column.name)) for column in of)


def _among_nodes(name: str, kind: TypeEngine[Any] = NUMBER) -> Column[Any]:
    """Declare a column that exists only if several nodes share the store."""
    return Column(name, kind, system=True)


BOOT: Final = Table(
    "boot",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("started_at", NUMBER, nullable=False),
    Column("pid", NUMBER, nullable=False),
    Column("version", Text, nullable=False),
    Column("ended_at", NUMBER),
    _among_nodes("name", Text()),
    _among_nodes("batch"),
    _among_nodes("targets", Text()),
    _among_nodes("delivering", ARRAY(NUMBER)),
    _among_nodes("died"),
    _among_nodes("host", Text()),
    _among_nodes("seen_at"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

JOB: Final = Table(
    "job",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("state", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("priority", NUMBER, nullable=False),
    Column("attempt", NUMBER, nullable=False),
    Column("boot", ForeignKey("boot.id")),
    Column("submitted_at", NUMBER, nullable=False),
    Column("started_at", NUMBER),
    Column("finished_at", NUMBER),
    Column("fetched_at", NUMBER),
    Column("cancel_asked_at", NUMBER),
    Column("purgeable_at", NUMBER),
    Column("status", NUMBER),
    Column("failure", Text),
    Column("detail", Text),
    Column("progress", FRACTION),
    Column("counters", Text),
    Column("warnings", NUMBER, nullable=False),
    Column("timeout", FRACTION),
    Column("replay", Text),
    Column("tag", Text),
    Column("once", NUMBER, nullable=False, server_default=text("0")),
    Column("definition", ForeignKey("definition.id")),
    Column("trigger", Text),
    Column("follows", NUMBER),
    Column("retries", NUMBER),
    Column("retried", NUMBER, nullable=False, server_default=text("0")),
    Column("not_before", NUMBER),
    Column("account", NUMBER, nullable=False, server_default=text("0")),
    Column("depth", NUMBER, nullable=False, server_default=text("0")),
    Column("stored", NUMBER, nullable=False, server_default=text("0")),
    Column("source", Text),
    _among_nodes("reader"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

DEFINITION: Final = Table(
    "definition",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("file_id", NUMBER, nullable=False, unique=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_target", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("secrets", Text),
    Column("content", LargeBinary, nullable=False),
    Column("timeout", FRACTION),
    Column("replay", Text),
    Column("created_at", NUMBER, nullable=False),
    Column("changed_at", NUMBER, nullable=False),
    Column("deleted_at", NUMBER),
    Column("retries", NUMBER),
    Column("cron", Text),
    Column("time_zone", Text),
    Column("catch_up", Text),
    Column("overlap", Text),
    Column("paused", NUMBER, nullable=False, server_default=text("0")),
    Column("fires_at", NUMBER),
    Column("account", NUMBER, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ACCOUNT: Final = Table(
    "account",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("created_at", NUMBER, nullable=False),
    Column("changed_at", NUMBER, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ACCOUNT_USAGE: Final = Table(
    "account_usage",
    METADATA,
    Column("account", NUMBER, primary_key=True),
    Column("queued", NUMBER, nullable=False),
    Column("stored", NUMBER, nullable=False),
    sqlite_strict=True,
)

TOKEN: Final = Table(
    "token",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("account", ForeignKey("account.name", ondelete="CASCADE"), nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", NUMBER, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

SESSION: Final = Table(
    "session",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("account", ForeignKey("account.name", ondelete="CASCADE"), nullable=False),
    Column("created_at", NUMBER, nullable=False),
    Column("seen_at", NUMBER, nullable=False),
    Column("until", NUMBER, nullable=False),
    Column("label", Text, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

REVISION: Final = Table(
    "revision",
    METADATA,
    Column("of", Text, primary_key=True),
    Column("number", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

REQUEST: Final = Table(
    "request",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("headers", Text, nullable=False),
    Column("secrets", Text),
    Column("content", LargeBinary),
    sqlite_strict=True,
)

RESPONSE: Final = Table(
    "response",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("reason", Text),
    Column("headers", Text, nullable=False),
    Column("content", LargeBinary),
    sqlite_strict=True,
)

BODY: Final = Table(
    "body",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("job_id", ForeignKey("job.id", ondelete="SET NULL")),
    Column("side", Text, nullable=False),
    Column("size", NUMBER, nullable=False),
    _among_nodes("boot"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

CHUNK: Final = Table(
    "chunk",
    METADATA,
    Column("body_id", ForeignKey("body.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", NUMBER, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_strict=True,
)

EVENT: Final = Table(
    "event",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("at", NUMBER, nullable=False),
    Column("event", Text, nullable=False),
    Column("detail", Text),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ATTEMPT: Final = Table(
    "attempt",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", NUMBER, primary_key=True),
    Column("started_at", NUMBER, nullable=False),
    Column("ended_at", NUMBER, nullable=False),
    Column("status", NUMBER),
    Column("failure", Text),
    Column("detail", Text),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

DELAY: Final = Table(
    "delay",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("length", NUMBER, nullable=False),
    sqlite_strict=True,
)

IDEMPOTENCY: Final = Table(
    "idempotency",
    METADATA,
    Column("account", NUMBER, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

OPERATION: Final = Table(
    "operation",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("action", Text, nullable=False),
    Column("filter", Text),
    Column("owner", Text, nullable=False),
    Column("account", NUMBER, nullable=False),
    Column("scope", NUMBER),
    Column("without_secrets", NUMBER, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", NUMBER, nullable=False),
    Column("finished_at", NUMBER),
    Column("stopped_by", Text),
    Column("total", NUMBER, nullable=False),
    Column("done", NUMBER, nullable=False),
    Column("skipped", NUMBER, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("waits", Text),
    Column("part", NUMBER, nullable=False),
    Column("place", NUMBER, nullable=False),
    _among_nodes("boot"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

OPERATION_PART: Final = Table(
    "operation_part",
    METADATA,
    Column("operation", ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("part", NUMBER, primary_key=True),
    Column("ids", Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

DAY: Final = Table(
    "day",
    METADATA,
    Column("day", NUMBER, primary_key=True),
    *(
        Column(name, NUMBER, nullable=False, server_default=text("0"))
        for name in (
            "submitted",
            "done",
            "failed",
            "cancelled",
            "errors",
            "run_us",
            "longest_us",
        )
    ),
    sqlite_strict=True,
)

PERIOD: Final = Table(
    "period",
    METADATA,
    Column("seconds", NUMBER, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("start", NUMBER, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("done", NUMBER, nullable=False),
    Column("failed", NUMBER, nullable=False),
    Column("cancelled", NUMBER, nullable=False),
    Column("errors", NUMBER, nullable=False),
    Column("waits", Text, nullable=False),
    Column("runs", Text, nullable=False),
    Column("longest_us", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

UNCOUNTED: Final = Table(
    "uncounted",
    METADATA,
    Column("job_id", NUMBER, primary_key=True),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

COUNTER: Final = Table(
    "counter",
    METADATA,
    Column("machine", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("count", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

TARGET_STATE: Final = Table(
    "target_state",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("paused_at", NUMBER),
    Column("paused_by", Text),
    Column("reason", Text),
    Column("concurrency", NUMBER),
    Column("changed_at", NUMBER, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

SERVED: Final = Table(
    "served",
    METADATA,
    Column("boot", ForeignKey("boot.id"), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("concurrency", NUMBER, nullable=False),
    Column("held_at", NUMBER),
    Column("held_why", Text),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("at", NUMBER, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# The view is read like a table but is none: it stands in a catalogue of its own.
TIMELINE: Final = Table(
    "timeline",
    MetaData(),
    Column("job_id", NUMBER),
    Column("at", NUMBER),
    Column("event", Text),
    Column("detail", Text),
    Column("time", Text),
)
