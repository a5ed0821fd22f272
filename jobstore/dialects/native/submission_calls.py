"""A job as its client writes it, in JSON."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, ClassVar, Final

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field

from jobstore.dialects.native.problems import json_of
from jobstore.dialects.native.respond_async import accepted
from jobstore.live import Store
from jobstore.model import clock, idempotency
from jobstore.model.account import Identity
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import Forbidden, SubmissionInvalid
from jobstore.model.job import Dialect, Submission
from jobstore.model.written import DAY, Duration
from jobstore.model.written_request import WrittenRequest, read
from jobstore.targets.router import Router
from jobstore.web import standing

_LARGEST: Final = 2**20  # as JSON, with all that is in it
_CENTURY: Final = int(36_500 * DAY) * SECOND
_LARGEST_PRIORITY: Final = 2**31 - 1
_TIME: Final = "a time with its zone such as 2026-11-01T18:00:00Z, in less than a hundred years"


def zoned(value: object) -> datetime:
    """Read a time in ISO 8601, which has to say in which zone it is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not re.match("[0-9]{4}-", value):
        raise ValueError
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError
    return time


def microseconds(time: datetime) -> int:
    """Give the microseconds since 1970."""
    return round(time.timestamp() * SECOND)


def _number(value: object) -> object:
    """Keep text and ``true`` from being taken for a number."""
    if not isinstance(value, bool | str):
        return value
    raise ValueError


def _clean(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


class _WrittenJob(WrittenRequest):
    """A job as people write it."""

    largest: ClassVar[int] = _LARGEST

    priority: Annotated[
        int,
        BeforeValidator(_number),
        Field(
            ge=-_LARGEST_PRIORITY,
            le=_LARGEST_PRIORITY,
            description=f"a whole number from -{_LARGEST_PRIORITY} to {_LARGEST_PRIORITY}",
        ),
    ] = 0
    delay: Annotated[
        Duration | None,
        Field(description="a duration such as 500ms, 30s, 15m or 24h, of at most a hundred years"),
    ] = None
    not_before: Annotated[
        datetime | None,
        BeforeValidator(lambda value: None if value is None else zoned(value)),
        Field(description=_TIME),
    ] = None
    tag: Annotated[
        Annotated[str, AfterValidator(_clean)] | None,
        Field(max_length=255, description="a handle of 1 to 255 characters, or null"),
    ] = None
    idempotency_key: Annotated[
        Annotated[str, AfterValidator(idempotency.checked)] | None,
        Field(description="a key of 1 to 255 printable ASCII characters, or null"),
    ] = None

    def waits(self, now: int) -> tuple[int | None, int | None]:
        """Tell until when it waits, or for how many microseconds; neither if it does not.

        Raises:
            ValueError: that cannot be said.
        """
        if self.delay is not None and self.not_before is not None:
            raise ValueError("expected either delay or not_before, and not both")
        if self.not_before is None:
            return None, int((self.delay or 0) * SECOND) or None
        at = microseconds(self.not_before)
        if at - now > _CENTURY:
            raise ValueError(f"not_before: expected {_TIME}")
        return at if at > now else None, None


class SubmissionCalls:
    """Take jobs in that are written as JSON.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store, router: Router, clock: Clock = clock.now) -> None:
        self._store = store
        self._router = router
        self._clock = clock

    async def submit(self, request: web.Request) -> web.Response:
        """Take a job in."""
        standing.changing(request)
        header = idempotency.key_of(request.headers.getall(idempotency.HEADER, ()))
        written = await json_of(request, _LARGEST)
        identity = standing.changing(request)  # which may not be what it was before the body came
        submission = replace(
            self._submission(written, header, identity), source=standing.source(request)
        )
        return accepted(await self._store.submit(submission))

    def _submission(self, written: object, header: str | None, identity: Identity) -> Submission:
        try:
            job = read(_WrittenJob, written, "a target")
            not_before, delay = job.waits(self._clock())
        except ValueError as invalid:
            raise SubmissionInvalid(str(invalid)) from None
        if job.priority < 0 and not identity.administers:
            raise Forbidden("priority: expected 0 or more; lower ones are for admins")
        if None not in {header, job.idempotency_key} and header != job.idempotency_key:
            raise SubmissionInvalid("idempotency_key: the header Idempotency-Key is another one")
        return Submission(
            request=job.request,
            target=self._router.owner(job.method, job.target).name,
            dialect=Dialect.NATIVE,
            owner=identity.name,
            account=identity.account,
            priority=job.priority,
            tag=job.tag,
            policy=job.policy,
            not_before=not_before,
            delay=delay,
            key=header or job.idempotency_key,
        )
