"""Read single jobs and what is kept of them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from jobstore.model.errors import JobNotFound
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import AWAITED, Result, State
from jobstore.model.message import Headers
from jobstore.store import bodies, schema
from jobstore.store.bodies import Content
from jobstore.store.codec import RESULTS, STATES, decode_headers, decode_job, decode_reason
from jobstore.store.expressions import Statement
from jobstore.store.guards import JOB_COLUMNS, ZERO, in_scope, limit, this_job, with_result
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
_response: Final = schema.RESPONSE.c
# Larger ids cannot be in any store: SQLite's integers have 64 bits and a sign.
LARGEST_ID: Final = 2**63 - 1
_NAMES: Final = schema.names(JOB_COLUMNS)
_RESULT, _ACCOUNT, _STATUS = map(_NAMES.index, ("result", "account", "status"))
GET_JOB: Final = Statement(select(*JOB_COLUMNS).where(this_job))
# Keeps other nodes from changing a job until the transaction ends.
LOCK: Final = Statement(select(JOB_COLUMNS[0]).where(this_job).with_for_update())


def awaited(tx: Transaction, job_id: int, scope: int | None = None) -> Job:
    """Return a job whose result is available.

    Args:
        scope: only if it belongs to this account; None for any.

    Raises:
        JobNotFound: it does not exist.
    """
    return if_awaited(job_id, tx.execute(GET_JOB, job_id=job_id).fetchone(), scope)


def visible(tx: Transaction, job_id: int, scope: int | None) -> Job:
    """Return a job that the caller may see in the history.

    Raises:
        JobNotFound: it does not exist.
    """
    return if_visible(job_id, tx.execute(GET_JOB, job_id=job_id).fetchone(), scope)


def if_awaited(job_id: int, row: Sequence[Any] | None, scope: int | None = None) -> Job:
    """Return the job in a row, if its result is available.

    Raises:
        JobNotFound: there is no row, or its result is not available.
    """
    return decode_job(_awaited(job_id, row, scope))


def _awaited(job_id: int, row: Sequence[Any] | None, scope: int | None) -> Sequence[Any]:
    row = _visible(job_id, row, scope)
    _check_awaited(job_id, row[_RESULT])
    return row


def _check_awaited(job_id: int, result: str) -> None:
    if result not in AWAITED:
        raise JobNotFound(job_id)


def if_visible(job_id: int, row: Sequence[Any] | None, scope: int | None = None) -> Job:
    """Return the job in a row, if the caller may see it in the history.

    Raises:
        JobNotFound: there is no row, it was deleted, or it belongs to another account.
    """
    return decode_job(_visible(job_id, row, scope))


def _visible(job_id: int, row: Sequence[Any] | None, scope: int | None) -> Sequence[Any]:
    if not row:
        raise JobNotFound(job_id)
    _check_visible(job_id, row[_RESULT], row[_ACCOUNT], scope)
    return row


def _check_visible(job_id: int, result: str, account: int, scope: int | None) -> None:
    if result == Result.DELETED or scope not in {None, account}:
        raise JobNotFound(job_id)


_of_response: Final = (_response.reason, _response.headers, _response.content)
RESPONSE_COLUMNS: Final = len(_of_response)
GET_RESPONSE: Final = Statement(
    select(*_of_response).where(_response.job_id == bindparam("job_id"))
)
GET_KEPT: Final = Statement(
    select(*_of_response, *JOB_COLUMNS)
    .select_from(schema.JOB.outerjoin(schema.RESPONSE, _response.job_id == _job.id))
    .where(this_job)
)
# The few columns that a reader needs who does not take the result. What is kept of the request's
# headers says how the answer is to be read.
GET_OUTLINE: Final = Statement(
    select(
        _job.account,
        _response.job_id,
        _response.content,
        _response.reason,
        _request.headers,
        _job.state,
        _job.result,
        _job.once,
        _job.path,
        _job.status,
        _job.detail,
        _job.progress,
        _job.cancel_asked_at,
    )
    .select_from(
        schema.JOB.join(schema.REQUEST, _request.job_id == _job.id).outerjoin(
            schema.RESPONSE, _response.job_id == _job.id
        )
    )
    .where(this_job)
)


class Kept:
    """A job with the response that is kept for it; failed and cancelled ones have none.

    Readers of a result usually need little of its job, so the job is decoded on demand.

    Args:
        row: the job's row.
        reason: the reason phrase of the response.
        headers: its fields.
        content: its body; None if there is no response.
    """

    __slots__ = ("_row", "content", "headers", "reason")

    def __init__(
        self,
        row: Sequence[Any],
        reason: str | None = None,
        headers: Headers = (),
        content: Content | None = None,
    ) -> None:
        self._row = row
        self.reason = reason
        self.headers = headers
        self.content = content

    @property
    def job(self) -> Job:
        """The whole job."""
        return decode_job(self._row)

    @property
    def ended(self) -> bool:
        """Whether the job has ended, so that there is a result."""
        return bool(self._row[_RESULT] != Result.NONE)

    @property
    def status(self) -> int | None:
        """The status of the job's result."""
        status: int | None = self._row[_STATUS]
        return status


def kept(tx: Transaction, job_id: int, scope: int | None) -> Kept:
    """Return a job whose result is available, with its stored response.

    Args:
        scope: only if it belongs to this account; None for any.

    Raises:
        JobNotFound: it does not exist.
    """
    row = tx.execute(GET_KEPT, job_id=job_id).fetchone()
    job = _awaited(job_id, row and row[RESPONSE_COLUMNS:], scope)
    reason, headers, content = row[:RESPONSE_COLUMNS]
    if headers is None:
        return Kept(job)
    if content is None:
        content = bodies.find_body(tx, job_id, "response")
    return Kept(job, decode_reason(reason), decode_headers(headers), content)


@frozen
class Outline:
    """A job as a reader needs it who does not take its result; see `Job`.

    Args:
        content: the body of its response; None if there is none.
        reason: the reason phrase of its response.
        request_headers: the stored headers of its request, without its secrets.
    """

    id: int
    content: Content | None
    reason: str | None
    request_headers: Headers
    state: State
    result: Result
    once: bool
    path: str
    status: int | None
    detail: str | None
    progress: float | None
    cancel_asked_at: int | None


def outline(tx: Transaction, job_id: int, scope: int | None) -> Outline:
    """Return what a reader needs of a job whose result is available.

    Args:
        scope: only if it belongs to this account; None for any.

    Raises:
        JobNotFound: it does not exist.
    """
    row = tx.execute(GET_OUTLINE, job_id=job_id).fetchone()
    if not row:
        raise JobNotFound(job_id)
    account, answered, content, reason, headers, state, result, once, *others = row
    _check_visible(job_id, result, account, scope)
    _check_awaited(job_id, result)
    if content is None and answered is not None:
        content = bodies.find_body(tx, job_id, "response")
    said, asked = decode_reason(reason), decode_headers(headers)
    return Outline(
        job_id, content, said, asked, STATES[state], RESULTS[result], bool(once), *others
    )


# --- lists ----------------------------------------------------------------------------------------


PENDING_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.NONE), in_scope)
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
HELD_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.HELD), in_scope)
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
LAST_ID: Final = Statement(select(func.coalesce(func.max(_job.id), ZERO)))
