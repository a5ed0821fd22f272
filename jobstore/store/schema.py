"""The tables, as statements see them.

The schema itself, with its constraints, indexes, triggers and the timeline view, is written down
in ``migrations/``; a test holds the two against each other.
"""

from typing import Final

from sqlalchemy import REAL, Column, ForeignKey, Integer, LargeBinary, MetaData, Table, Text, text

METADATA: Final = MetaData()

BOOT: Final = Table(
    "boot",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("started_at", Integer, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("ended_at", Integer),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

JOB: Final = Table(
    "job",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("boot", ForeignKey("boot.id")),
    Column("submitted_at", Integer, nullable=False),
    Column("started_at", Integer),
    Column("finished_at", Integer),
    Column("fetched_at", Integer),
    Column("cancel_asked_at", Integer),
    Column("purgeable_at", Integer),
    Column("status", Integer),
    Column("failure", Text),
    Column("detail", Text),
    Column("progress", REAL),
    Column("counters", Text),
    Column("warnings", Integer, nullable=False),
    Column("timeout", REAL),
    Column("replay", Text),
    Column("tag", Text),
    Column("once", Integer, nullable=False, server_default=text("0")),
    Column("definition", ForeignKey("definition.id")),
    Column("trigger", Text),
    Column("follows", Integer),
    Column("retries", Integer),
    Column("retried", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Integer),
    Column("account", Integer, nullable=False, server_default=text("0")),
    Column("depth", Integer, nullable=False, server_default=text("0")),
    Column("stored", Integer, nullable=False, server_default=text("0")),
    Column("source", Text),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

DEFINITION: Final = Table(
    "definition",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("file_id", Integer, nullable=False, unique=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_target", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("secrets", Text),
    Column("content", LargeBinary, nullable=False),
    Column("timeout", REAL),
    Column("replay", Text),
    Column("created_at", Integer, nullable=False),
    Column("changed_at", Integer, nullable=False),
    Column("deleted_at", Integer),
    Column("retries", Integer),
    Column("cron", Text),
    Column("time_zone", Text),
    Column("catch_up", Text),
    Column("overlap", Text),
    Column("paused", Integer, nullable=False, server_default=text("0")),
    Column("fires_at", Integer),
    Column("account", Integer, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ACCOUNT: Final = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("changed_at", Integer, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ACCOUNT_USAGE: Final = Table(
    "account_usage",
    METADATA,
    Column("account", Integer, primary_key=True),
    Column("queued", Integer, nullable=False),
    Column("stored", Integer, nullable=False),
    sqlite_strict=True,
)

TOKEN: Final = Table(
    "token",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("account", ForeignKey("account.name", ondelete="CASCADE"), nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", Integer, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

REVISION: Final = Table(
    "revision",
    METADATA,
    Column("of", Text, primary_key=True),
    Column("number", Integer, nullable=False),
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
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("job.id", ondelete="SET NULL")),
    Column("side", Text, nullable=False),
    Column("size", Integer, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

CHUNK: Final = Table(
    "chunk",
    METADATA,
    Column("body_id", ForeignKey("body.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_strict=True,
)

EVENT: Final = Table(
    "event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("at", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("detail", Text),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

ATTEMPT: Final = Table(
    "attempt",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", Integer, nullable=False),
    Column("ended_at", Integer, nullable=False),
    Column("status", Integer),
    Column("failure", Text),
    Column("detail", Text),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

DELAY: Final = Table(
    "delay",
    METADATA,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("length", Integer, nullable=False),
    sqlite_strict=True,
)

IDEMPOTENCY: Final = Table(
    "idempotency",
    METADATA,
    Column("account", Integer, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

DAY: Final = Table(
    "day",
    METADATA,
    Column("day", Integer, primary_key=True),
    *(
        Column(name, Integer, nullable=False, server_default=text("0"))
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

COUNTER: Final = Table(
    "counter",
    METADATA,
    Column("machine", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

# The view is read like a table but is none: it stands in a catalogue of its own.
TIMELINE: Final = Table(
    "timeline",
    MetaData(),
    Column("job_id", Integer),
    Column("at", Integer),
    Column("event", Text),
    Column("detail", Text),
    Column("time", Text),
)
