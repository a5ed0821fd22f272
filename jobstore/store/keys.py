"""Which job was submitted with which idempotency key; a key is deleted with its job."""

from typing import Final

from sqlalchemy import bindparam, insert, select

from jobstore.model.errors import KeyReused
from jobstore.model.idempotency import Keyed
from jobstore.model.job import Submission
from jobstore.store import schema
from jobstore.store.codec import writable
from jobstore.store.expressions import Statement
from jobstore.store.transaction import Transaction

_idempotency: Final = schema.IDEMPOTENCY.c

FIND: Final = Statement(
    select(_idempotency.fingerprint, _idempotency.job_id).where(
        _idempotency.account == bindparam("of_account"),
        _idempotency.owner == bindparam("of_owner"),
        _idempotency.key == bindparam("of_key"),
    )
)
KEEP: Final = Statement(
    insert(schema.IDEMPOTENCY).values(
        {column.name: bindparam(column.name) for column in _idempotency}
    )
)


def known(tx: Transaction, submission: Submission, keyed: Keyed) -> int | None:
    """Return the job that was submitted with a key; None if there is none.

    Args:
        submission: only jobs of its owner count.
        keyed: the key, and what identifies the request.

    Raises:
        KeyReused: the key was used for another request.
    """
    owner = writable(submission.owner)
    row = tx.execute(
        FIND, of_account=submission.account, of_owner=owner, of_key=keyed.key
    ).fetchone()
    if row is None:
        return None
    fingerprint, job_id = row
    if fingerprint != keyed.fingerprint:
        raise KeyReused(keyed.key)
    return int(job_id)


def keep(tx: Transaction, submission: Submission, keyed: Keyed, job_id: int) -> None:
    """Store the key of a job, as long as the job's row lasts."""
    tx.execute(
        KEEP,
        account=submission.account,
        owner=writable(submission.owner),
        key=keyed.key,
        fingerprint=keyed.fingerprint,
        job_id=job_id,
        created_at=tx.now,
    )
