"""The heads of a job's two messages, with the names of secret headers and never their values."""

import json
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, func, select

from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.store import bodies, schema
from jobstore.store.codec import decode_reason
from jobstore.store.expressions import Statement
from jobstore.store.history import History

_request: Final = schema.REQUEST.c
_response: Final = schema.RESPONSE.c
# What a target lets its client in with.
_SECRET: Final = frozenset({"set-cookie"})

REQUEST_HEAD: Final = Statement(
    select(_request.headers, func.length(_request.content)).where(
        _request.job_id == bindparam("job_id")
    )
)
RESPONSE_HEAD: Final = Statement(
    select(_response.headers, func.length(_response.content), _response.reason).where(
        _response.job_id == bindparam("job_id")
    )
)

# The value is None of a field that is secret.
Fields: TypeAlias = tuple[tuple[str, str | None], ...]


@frozen
class MessageHead:
    """A stored message without its body.

    Args:
        size: the length of the body in bytes; None if it is no longer kept.
        reason: the reason phrase of an answer, if it is not the standard one.
    """

    fields: Fields
    size: int | None
    reason: str | None = None


async def request_head(history: History, job: Job) -> MessageHead | None:
    """Read the head of a job's request; None if it is no longer kept."""
    rows = await history.rows(REQUEST_HEAD, job_id=job.id)
    if not rows:
        return None
    ((kept, size),) = rows
    return MessageHead(_fields(kept), await _size(history, job, "request", size))


async def response_head(history: History, job: Job) -> MessageHead | None:
    """Read the head of the target's answer; None if there is none, or it is no longer kept."""
    rows = await history.rows(RESPONSE_HEAD, job_id=job.id)
    if not rows:
        return None
    ((kept, size, reason),) = rows
    fields = tuple(
        (name, None if name.lower() in _SECRET else value) for name, value in _fields(kept)
    )
    return MessageHead(fields, await _size(history, job, "response", size), decode_reason(reason))


def _fields(kept: str) -> Fields:
    return tuple((name, value) for name, value in json.loads(kept))


async def _size(history: History, job: Job, side: str, size: Any) -> int | None:
    if size is not None:
        return int(size)
    rows = await history.rows(bodies.FIND_BODY, job_id=job.id, side=side)
    return int(rows[0][1]) if rows else None
