"""Reports of running jobs, and other entries of a job's history."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update

from jobstore.model.errors import JobNotFound
from jobstore.model.job import Moment, Report
from jobstore.model.lifecycle import State
from jobstore.store import jobs, schema
from jobstore.store.codec import encode_ids, writable
from jobstore.store.expressions import Statement, inserting, listed, merged, no_earlier
from jobstore.store.facts import Changed
from jobstore.store.guards import ONE, now, still_in_state, this_claim, this_job
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
# What is noted about a job that was retried, and about the new job that retries it.
TRIED_AGAIN: Final = "tried again"
RETRY_OF: Final = "retry of"
# What is noted about a job whose success others waited for, and about these.
FOLLOWED_BY: Final = "followed by"
RELEASED: Final = "released"
# What is noted about a deletion that can be undone, and about its undoing.
DELETED: Final = "deleted"
RESTORED: Final = "restored"
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
        counted=_written(report.counters) if report.counters else None,
    ).fetchone()
    if row is None:
        raise JobNotFound(report.job_id)
    for message in report.warnings:
        tx.execute(WARN, job_id=report.job_id)
        note(tx, report.job_id, "warned", message)
    tx.tell(Changed(report.job_id))
    return row[0] is not None


def _written(counters: Mapping[str, int]) -> str:
    return json.dumps({writable(name): count for name, count in counters.items()})


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


# --- who did it -----------------------------------------------------------------------------------

_OPERATION: Final = re.compile(r"operation [0-9]+")
_BY_OPERATION: Final = re.compile(r"(?:(?:as )?job [0-9]+, )?by operation ([0-9]{1,18})")
_TELL_OF_OPERATIONS: Final = frozenset({TRIED_AGAIN, RETRY_OF, DELETED, RESTORED})


def by_operation(operation: int) -> str:
    """Return the words for what an operation on many jobs did."""
    return f"by operation {operation}"


def by_person(name: str) -> str:
    """Return the words for what somebody did; nobody's name is mistaken for an operation."""
    return f'by "{name}"' if _OPERATION.fullmatch(name) else f"by {name}"


def operation_of(moment: Moment) -> int | None:
    """Return the operation that did what an event tells of, or None.

    Other events repeat what targets, applications and people say, which may read the same.
    """
    if moment.event not in _TELL_OF_OPERATIONS:
        return None
    found = _BY_OPERATION.fullmatch(moment.detail or "")
    return int(found[1]) if found else None


# --- related jobs ---------------------------------------------------------------------------------


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


# How each of these notes begins, up to the words that are not ours.
_NAMES_JOBS: Final[Mapping[str, re.Pattern[str]]] = {
    TRIED_AGAIN: re.compile(r"as job ([0-9]+)"),
    RETRY_OF: re.compile(r"job ([0-9]+)"),
    RELEASED: re.compile(r"job ([0-9]+)"),
    FOLLOWED_BY: re.compile(r"jobs? ([0-9]+(?:, [0-9]+)*)"),
}


def jobs_named(moment: Moment) -> list[int]:
    """Return the jobs that one of the notes above names; none for other events."""
    pattern = _NAMES_JOBS.get(moment.event)
    found = pattern.match(moment.detail or "") if pattern else None
    return [int(each) for each in found[1].split(", ")] if found else []
