"""A job as its client writes it, in JSON."""

from dataclasses import replace
from typing import Final

from aiohttp import web

from jobstore.dialects.native.problems import json_of
from jobstore.dialects.native.respond_async import accepted
from jobstore.live import Store
from jobstore.model import clock, idempotency
from jobstore.model.account import Identity
from jobstore.model.clock import Clock
from jobstore.model.errors import Forbidden, SubmissionInvalid
from jobstore.model.job import Dialect, Submission
from jobstore.targets.router import Router
from jobstore.web import standing

_LARGEST: Final = 2**20  # as JSON, with all that is in it


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
        from jobstore.dialects.native.forms import WrittenJob  # noqa: PLC0415 - see json_of
        from jobstore.model.written_request import read  # noqa: PLC0415

        try:
            job = read(WrittenJob, written, "a target")
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
