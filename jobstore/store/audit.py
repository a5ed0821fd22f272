"""The audit trail: what operators did to more than a single job, and when.

What is done to one job is in that job's own history. Entries are written in the same transaction as
the change, and are never modified.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from jobstore.model.clock import iso
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


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did.

    Args:
        at: when, in microseconds since 1970.
        who: their account's name, or what is known of them otherwise.
        what: a word of ours, such as ``pause``.
        subject: what it was done to, such as the name of a target.
        detail: what else there is to say, such as the reason that was given.
    """

    id: int
    at: int
    who: str
    what: str
    subject: str
    detail: str | None

    @property
    def described(self) -> dict[str, Any]:
        """The same in JSON."""
        return {**asdict(self), "at": iso(self.at)}


def note(tx: Transaction, who: str, what: str, subject: str, detail: str | None = None) -> None:
    """Add an entry to the trail."""
    words = {"who": writable(who), "what": what, "subject": writable(subject)}
    tx.execute(NOTE, now=tx.now, **words, detail=None if detail is None else writable(detail))
