"""The audit log: what operators did to more than a single job, and when.

What was done to one job is in that job's own history. Entries are written in the same transaction
as the change, and are never modified.
"""

from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import bindparam, select

from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.store import schema
from jobstore.store.codec import writable
from jobstore.store.expressions import Statement, inserting
from jobstore.store.guards import ZERO, limit, now
from jobstore.store.transaction import Transaction

_audit: Final = schema.AUDIT.c
NOTE: Final = inserting(
    schema.AUDIT,
    {
        "at": now,
        "who": bindparam("who"),
        "what": bindparam("what"),
        "subject": bindparam("subject"),
        "detail": bindparam("detail"),
    },
)
# The newest first.
ENTRIES: Final = Statement(
    select(_audit.id, _audit.at, _audit.who, _audit.what, _audit.subject, _audit.detail)
    .order_by(_audit.id.desc())
    .limit(limit)
    .offset(ZERO)
)


@frozen
class AuditEntry:
    """An entry of the audit log.

    Args:
        at: when, in microseconds since 1970.
        who: the account's name, or whatever identifies the person.
        what: the action, such as ``pause``.
        subject: what it was done to, such as the name of a target.
        detail: more about it, such as the given reason.
    """

    id: int
    at: int
    who: str
    what: str
    subject: str
    detail: str | None

    @property
    def described(self) -> dict[str, Any]:
        """Return the entry as JSON."""
        return {**asdict(self), "at": iso(self.at)}


def note(tx: Transaction, who: str, what: str, subject: str, detail: str | None = None) -> None:
    """Add an entry to the audit log."""
    words = {"who": writable(who), "what": what, "subject": writable(subject)}
    tx.execute(NOTE, now=tx.now, **words, detail=None if detail is None else writable(detail))
