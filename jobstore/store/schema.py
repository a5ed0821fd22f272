"""The tables, as statements see them: what their columns are called, and what these hold.

The schema itself, with its keys, constraints, indexes, triggers and views, is defined
in ``migrations/``; a test compares the two.
"""

import sys
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnClause, LargeBinary, TableClause, Text, column, table

from jobstore.store.expressions import FRACTION, NUMBER


class _AmongNodes(ColumnClause[Any]):
    """A column that exists only if several nodes share the store."""

    inherit_cache = True


def columns(of: TableClause) -> tuple[ColumnClause[Any], ...]:
    """Return the columns that a table has with both engines."""
    return tuple(each for each in of.columns if not isinstance(each, _AmongNodes))


def names(of: Iterable[ColumnClause[Any]]) -> tuple[str, ...]:
    """Return the names of columns as they stand in source code.

    SQLAlchemy's own are equal, but others: as keywords of a large value they take four times as
    long, since Python compares them with the name of each parameter.
    """
    return tuple(sys.intern(str(each.name)) for each in of)


BOOT: Final = table(
    "boot",
    column("id", NUMBER),
    column("started_at", NUMBER),
    column("pid", NUMBER),
    column("version", Text),
    column("ended_at", NUMBER),
    _AmongNodes("name", Text()),
    _AmongNodes("batch", NUMBER),
    _AmongNodes("targets", Text()),
    _AmongNodes("delivering", ARRAY(NUMBER)),
    _AmongNodes("died", NUMBER),
    _AmongNodes("host", Text()),
    _AmongNodes("seen_at", NUMBER),
)

JOB: Final = table(
    "job",
    column("id", NUMBER),
    column("state", Text),
    column("result", Text),
    column("dialect", Text),
    column("owner", Text),
    column("target", Text),
    column("method", Text),
    column("path", Text),
    column("priority", NUMBER),
    column("attempt", NUMBER),
    column("boot", NUMBER),
    column("submitted_at", NUMBER),
    column("started_at", NUMBER),
    column("finished_at", NUMBER),
    column("fetched_at", NUMBER),
    column("cancel_asked_at", NUMBER),
    column("purgeable_at", NUMBER),
    column("status", NUMBER),
    column("failure", Text),
    column("detail", Text),
    column("progress", FRACTION),
    column("counters", Text),
    column("warnings", NUMBER),
    column("timeout", FRACTION),
    column("replay", Text),
    column("tag", Text),
    column("once", NUMBER),
    column("definition", NUMBER),
    column("trigger", Text),
    column("follows", NUMBER),
    column("retries", NUMBER),
    column("retried", NUMBER),
    column("not_before", NUMBER),
    column("account", NUMBER),
    column("depth", NUMBER),
    column("stored", NUMBER),
    column("source", Text),
    _AmongNodes("reader", NUMBER),
)

DEFINITION: Final = table(
    "definition",
    column("id", NUMBER),
    column("file_id", NUMBER),
    column("uuid", Text),
    column("name", Text),
    column("path", Text),
    column("owner", Text),
    column("method", Text),
    column("request_target", Text),
    column("headers", Text),
    column("secrets", Text),
    column("content", LargeBinary),
    column("timeout", FRACTION),
    column("replay", Text),
    column("created_at", NUMBER),
    column("changed_at", NUMBER),
    column("deleted_at", NUMBER),
    column("retries", NUMBER),
    column("cron", Text),
    column("time_zone", Text),
    column("catch_up", Text),
    column("overlap", Text),
    column("paused", NUMBER),
    column("fires_at", NUMBER),
    column("account", NUMBER),
)

ACCOUNT: Final = table(
    "account",
    column("id", NUMBER),
    column("name", Text),
    column("role", Text),
    column("password", Text),
    column("created_at", NUMBER),
    column("changed_at", NUMBER),
)

ACCOUNT_USAGE: Final = table(
    "account_usage",
    column("account", NUMBER),
    column("queued", NUMBER),
    column("stored", NUMBER),
)

TOKEN: Final = table(
    "token",
    column("id", NUMBER),
    column("account", Text),
    column("label", Text),
    column("digest", Text),
    column("created_at", NUMBER),
)

SESSION: Final = table(
    "session",
    column("id", NUMBER),
    column("digest", Text),
    column("account", Text),
    column("created_at", NUMBER),
    column("seen_at", NUMBER),
    column("until", NUMBER),
    column("label", Text),
)

REVISION: Final = table(
    "revision",
    column("of", Text),
    column("number", NUMBER),
)

REQUEST: Final = table(
    "request",
    column("job_id", NUMBER),
    column("headers", Text),
    column("secrets", Text),
    column("content", LargeBinary),
)

RESPONSE: Final = table(
    "response",
    column("job_id", NUMBER),
    column("reason", Text),
    column("headers", Text),
    column("content", LargeBinary),
)

BODY: Final = table(
    "body",
    column("id", NUMBER),
    column("job_id", NUMBER),
    column("side", Text),
    column("size", NUMBER),
    _AmongNodes("boot", NUMBER),
)

CHUNK: Final = table(
    "chunk",
    column("body_id", NUMBER),
    column("seq", NUMBER),
    column("data", LargeBinary),
)

EVENT: Final = table(
    "event",
    column("id", NUMBER),
    column("job_id", NUMBER),
    column("at", NUMBER),
    column("event", Text),
    column("detail", Text),
)

ATTEMPT: Final = table(
    "attempt",
    column("job_id", NUMBER),
    column("number", NUMBER),
    column("started_at", NUMBER),
    column("ended_at", NUMBER),
    column("status", NUMBER),
    column("failure", Text),
    column("detail", Text),
)

DELAY: Final = table(
    "delay",
    column("job_id", NUMBER),
    column("length", NUMBER),
)

IDEMPOTENCY: Final = table(
    "idempotency",
    column("account", NUMBER),
    column("owner", Text),
    column("key", Text),
    column("fingerprint", Text),
    column("job_id", NUMBER),
    column("created_at", NUMBER),
)

OPERATION: Final = table(
    "operation",
    column("id", NUMBER),
    column("action", Text),
    column("filter", Text),
    column("owner", Text),
    column("account", NUMBER),
    column("scope", NUMBER),
    column("without_secrets", NUMBER),
    column("state", Text),
    column("created_at", NUMBER),
    column("finished_at", NUMBER),
    column("stopped_by", Text),
    column("total", NUMBER),
    column("done", NUMBER),
    column("skipped", NUMBER),
    column("reasons", Text),
    column("waits", Text),
    column("part", NUMBER),
    column("place", NUMBER),
    _AmongNodes("boot", NUMBER),
)

OPERATION_PART: Final = table(
    "operation_part",
    column("operation", NUMBER),
    column("part", NUMBER),
    column("ids", Text),
)

DAY: Final = table(
    "day",
    column("day", NUMBER),
    *(
        column(name, NUMBER)
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
)

PERIOD: Final = table(
    "period",
    column("seconds", NUMBER),
    column("kind", Text),
    column("start", NUMBER),
    column("name", Text),
    column("done", NUMBER),
    column("failed", NUMBER),
    column("cancelled", NUMBER),
    column("errors", NUMBER),
    column("waits", Text),
    column("runs", Text),
    column("longest_us", NUMBER),
)

UNCOUNTED: Final = table(
    "uncounted",
    column("job_id", NUMBER),
)

COUNTER: Final = table(
    "counter",
    column("machine", Text),
    column("state", Text),
    column("count", NUMBER),
)

TARGET_STATE: Final = table(
    "target_state",
    column("name", Text),
    column("paused_at", NUMBER),
    column("paused_by", Text),
    column("reason", Text),
    column("concurrency", NUMBER),
    column("changed_at", NUMBER),
)

SERVED: Final = table(
    "served",
    column("boot", NUMBER),
    column("target", Text),
    column("concurrency", NUMBER),
    column("held_at", NUMBER),
    column("held_why", Text),
)

AUDIT: Final = table(
    "audit",
    column("id", NUMBER),
    column("at", NUMBER),
    column("who", Text),
    column("what", Text),
    column("subject", Text),
    column("detail", Text),
)

# The view is read like a table but is none: it stands in a catalogue of its own.
TIMELINE: Final = table(
    "timeline",
    column("job_id", NUMBER),
    column("at", NUMBER),
    column("event", Text),
    column("detail", Text),
    column("time", Text),
)
