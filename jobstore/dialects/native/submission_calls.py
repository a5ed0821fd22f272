"""Submissions in JSON."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from jobstore.dialects.native.problems import json_of
from jobstore.dialects.native.respond_async import accepted
from jobstore.live import Store
from jobstore.live.owners import MOST_AT_ONCE
from jobstore.model import clock, idempotency
from jobstore.model.account import Identity
from jobstore.model.clock import Clock
from jobstore.model.errors import Forbidden, MemberRefused, NoTarget, SubmissionInvalid
from jobstore.model.job import Dialect, Submission
from jobstore.targets.router import Router
from jobstore.web import refusals, standing, wire
from jobstore.web.edge import owner_of, traced

_LARGEST: Final = 2**20  # as JSON, with all that is in it
# Of several jobs at once.
_LARGEST_BATCH: Final = 8 * 2**20
_MOST_PIECES: Final = 50_000
# How many of them are read before others have a turn.
_AT_ONCE: Final = 20


class SubmissionCalls:
    """Accept jobs that are described in JSON.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store, router: Router, clock: Clock = clock.now) -> None:
        self._store = store
        self._router = router
        self._clock = clock

    async def submit(self, request: web.Request) -> web.Response:
        """Accept a job."""
        standing.changing(request)
        header = idempotency.key_of(request.headers.getall(idempotency.HEADER, ()))
        written = await json_of(request, _LARGEST)
        identity = standing.changing(request)  # which may not be what it was before the body came
        submission = self._submission(written, header, identity)
        submission = replace(submission, source=standing.source(request))
        return accepted(await self._store.submit(traced(submission, request)))

    async def submit_batch(self, request: web.Request) -> web.Response:
        """Accept several jobs in one commit, all of them or none."""
        standing.changing(request)
        if idempotency.HEADER in request.headers:
            raise SubmissionInvalid(
                f"{idempotency.HEADER}: expected an idempotency_key in each job"
            )
        written = await json_of(request, _LARGEST_BATCH, _MOST_PIECES)
        identity = standing.changing(request)  # which may not be what it was before the body came
        source = standing.source(request)
        try:
            submissions = []
            for index, one in enumerate(_members(written)):
                if not index % _AT_ONCE:
                    await asyncio.sleep(0)
                submission = replace(self._member(index, one, identity), source=source)
                submissions.append(traced(submission, request))
            ids = await self._store.submissions.submit_all(submissions)
        except MemberRefused as refused:
            status, _ = refusals.answerable(refused.error)
            fields = refusals.fields(refused.error)
            return wire.problem(status, str(refused), fields, index=refused.index)
        jobs = [{"id": job_id, "location": f"/_jobs/{job_id}"} for job_id in ids]
        return web.json_response({"jobs": jobs}, status=202)

    def _member(self, index: int, written: object, identity: Identity) -> Submission:
        """Read one of several jobs.

        Raises:
            MemberRefused: it is refused.
        """
        try:
            return self._submission(written, None, identity)
        except (Forbidden, NoTarget, SubmissionInvalid) as error:
            raise MemberRefused(index, error) from None

    def _submission(self, written: object, header: str | None, identity: Identity) -> Submission:
        from jobstore.dialects.native.forms import WrittenJob  # see json_of
        from jobstore.model.written_request import read

        try:
            job = read(WrittenJob, written, "a target")
            not_before, delay = job.waits(self._clock())
        except ValueError as invalid:
            raise SubmissionInvalid(str(invalid)) from None
        if job.priority < 0 and not identity.administers:
            raise Forbidden("priority: expected 0 or more; lower ones are for admins")
        if None not in {header, job.idempotency_key} and header != job.idempotency_key:
            raise SubmissionInvalid("idempotency_key: it differs from the header Idempotency-Key")
        return Submission(
            request=job.request,
            target=owner_of(self._store, self._router, job.method, job.target).name,
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


def _members(written: object) -> Sequence[object]:
    """Return the jobs of a batch.

    Raises:
        SubmissionInvalid: it is invalid.
    """
    expected = f"expected an object with jobs, a list of 1 to {MOST_AT_ONCE} jobs, and nothing else"
    jobs = written.get("jobs") if isinstance(written, dict) and len(written) == 1 else None
    if not isinstance(jobs, list) or not jobs:
        raise SubmissionInvalid(expected)
    if len(jobs) > MOST_AT_ONCE:
        raise SubmissionInvalid(f"{expected}; these are {len(jobs)}")
    return jobs
