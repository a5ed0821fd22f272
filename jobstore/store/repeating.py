"""A job whose request is to be sent again as a new job."""

from typing import Final

from sqlalchemy import select

from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Policy
from jobstore.model.message import Headers
from jobstore.store import schema
from jobstore.store.bulk import TRIED
from jobstore.store.codec import decode_headers, decode_job, decode_policy
from jobstore.store.expressions import Statement
from jobstore.store.guards import JOB_COLUMNS, this_job
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c

REPEATABLE: Final = Statement(
    select(
        _job.timeout,
        _job.replay,
        _job.retries,
        _request.headers,
        _request.content,
        TRIED,
        *JOB_COLUMNS,
    )
    .select_from(schema.JOB.outerjoin(schema.REQUEST, _request.job_id == _job.id))
    .where(this_job)
)
_BEFORE_JOB: Final = 6


@frozen
class Repeatable:
    """A job and its stored request.

    Args:
        headers: the request's headers; None if the request is no longer kept.
        content: the body; None if it is large and stored in chunks.
        tried: whether it was retried already.
    """

    job: Job
    policy: Policy
    headers: Headers | None
    content: bytes | None
    tried: bool


def repeatable(tx: Transaction, job_id: int) -> Repeatable | None:
    """Return a job whose request is to be sent again; None if it does not exist."""
    row = tx.execute(REPEATABLE, job_id=job_id).fetchone()
    if row is None:
        return None
    *policy, headers, content, tried = row[:_BEFORE_JOB]
    kept = None if headers is None else decode_headers(headers)
    job, said = decode_job(row[_BEFORE_JOB:]), decode_policy(*policy)
    return Repeatable(job, said, kept, content, bool(tried))
