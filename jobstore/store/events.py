"""Reports of running jobs, and other entries of a job's history."""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update

from jobstore.model.errors import JobNotFound
from jobstore.model.job import Report
from jobstore.model.lifecycle import State
from jobstore.store import jobs, schema
from jobstore.store.codec import encode_ids, writable
from jobstore.store.expressions import Statement, inserting, listed, merged, no_earlier
from jobstore.store.facts import Changed
from jobstore.store.guards import ONE, now, still_in_state, this_claim, this_job
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
# What is noted about a job of whose request a new one was made, and about the new one.
TRIED_AGAIN: Final = "tried again"
RETRY_OF: Final = "retry of"
# What is noted about a job for whose success others have waited, and about these.
FOLLOWED_BY: Final = "followed by"
RELEASED: Final = "released"
_NAMED: Final = 20  # jobs in one entry
REPORT: Final = Statement(
    update(schema.JOB)
    .where(this_claim, still_in_state(State.RUNNING))
    .values(
        progress=func.coalesce(bindparam("percent"), _job.progress),
        counters=merged(_job.counters, "counted"),
    )
    .returning(_job.cancel_asked_at)
)
WARN: Final = Statement(update(schema.JOB).where(this_job).values(warnings=_job.warnings + ONE))


def report(tx: Transaction, report: Report, boot: int, scope: int | None = None) -> bool:
    """Store the report of a running job's handler.

    Returns:
        whether the job's cancellation was requested.

    Raises:
        JobNotFound: this attempt at the job is not running.
    """
    if scope is not None:
        row = tx.execute(jobs.GET_JOB, job_id=report.job_id).fetchone()
        jobs.if_visible(report.job_id, row, scope)
    row = tx.execute(
        REPORT,
        job_id=report.job_id,
        boot=boot,
        claimed_attempt=report.attempt,
        percent=report.progress,
        counted=json.dumps(dict(report.counters)) if report.counters else None,
    ).fetchone()
    if row is None:
        raise JobNotFound(report.job_id)
    for message in report.warnings:
        tx.execute(WARN, job_id=report.job_id)
        note(tx, report.job_id, "warned", message)
    tx.tell(Changed(report.job_id))
    return row[0] is not None


def _no_earlier_than_it(job_id: ColumnElement[int]) -> ColumnElement[int]:
    """Return the bound time; with several nodes, not before the job's latest event."""
    last = func.greatest(_job.submitted_at, _job.started_at, _job.finished_at)
    return no_earlier(now, select(last).where(_job.id == job_id).scalar_subquery())


NOTE: Final = inserting(
    schema.EVENT,
    {
        "job_id": bindparam("job_id"),
        "at": now,
        "event": bindparam("event"),
        "detail": bindparam("detail"),
    },
    at=_no_earlier_than_it(bindparam("job_id")),
)
_listed_ids: Final = listed("ids").subquery()
NOTE_ALL: Final = Statement(
    insert(schema.EVENT).from_select(
        ["job_id", "at", "event", "detail"],
        select(
            _listed_ids.c.value,
            _no_earlier_than_it(_listed_ids.c.value),
            bindparam("event"),
            bindparam("detail"),
        ),
    )
)


def note(tx: Transaction, job_id: int, event: str, detail: str | None = None) -> None:
    """Add an event to a job's history."""
    detail = None if detail is None else writable(detail)
    tx.execute(NOTE, job_id=job_id, now=tx.now, event=event, detail=detail)


def note_all(tx: Transaction, ids: Sequence[int], event: str, detail: str) -> None:
    """Add the same event to the history of many jobs."""
    tx.execute(NOTE_ALL, ids=encode_ids(ids), now=tx.now, event=event, detail=detail)


# --- which jobs have to do with each other --------------------------------------------------------


def note_retry(tx: Transaction, job_id: int, new: int, by: str = "") -> None:
    """Note at a job that its request was sent again, and at the new job whose that was.

    Args:
        by: who did it or from where, if that is known.
    """
    by = f", {by}" if by else ""
    note(tx, job_id, TRIED_AGAIN, f"as job {new}{by}")
    note(tx, new, RETRY_OF, f"job {job_id}{by}")


def note_release(tx: Transaction, job_id: int, followers: Sequence[int]) -> None:
    """Note at jobs that the one they waited for has succeeded, and at that one which they are."""
    note_all(tx, followers, RELEASED, f"job {job_id} has succeeded")
    named, more = sorted(followers)[:_NAMED], len(followers) - _NAMED
    rest = f" and {more} more" if more > 0 else ""
    jobs = f"job{'s' if len(followers) > 1 else ''} {', '.join(map(str, named))}{rest}"
    note(tx, job_id, FOLLOWED_BY, jobs)
