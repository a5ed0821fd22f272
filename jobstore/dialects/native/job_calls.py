"""One job: its state, its result for one reader, and changes to it."""

import re
from functools import partial
from typing import Final

from aiohttp import web

from jobstore.dialects.native import as_json, responses
from jobstore.dialects.native.respond_async import VARY, accepted, wait_of
from jobstore.live import Delivery, Store
from jobstore.live.again import forgotten, submit_again
from jobstore.model.errors import (
    Forbidden,
    JobGone,
    JobNotFound,
    JobstoreError,
    QueryInvalid,
    ResultNotRestorable,
    SecretsMissing,
    WrongState,
)
from jobstore.model.job import Job
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.model.message import Headers
from jobstore.targets.router import Router
from jobstore.web import answers, prefer, refusals, standing
from jobstore.web.ask import Ask
from jobstore.web.edge import owner_of
from jobstore.web.parameters import value_of
from jobstore.web.taking import take_for

# By this parameter a client says that a retry may lack what was secret.
_INSISTING: Final = "without_secrets"
# What nearly all ask who take a result.
_TAKE: Final = re.compile(r"/_jobs/([1-9][0-9]{0,17})/take")


class JobCalls:
    """The calls about one job."""

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        self._router = router

    # --- looking --------------------------------------------------------------------------------

    async def read(self, request: web.Request) -> web.Response:
        """Return a job; with ``Prefer: wait=N``, once it has ended."""
        seconds, job_id = wait_of(request), as_json.job_id(request)
        again = partial(standing.scope_again, request)
        job = await self._store.waits.settled(job_id, seconds or 0, standing.scope(request), again)
        return self._answer(job, headers=(*prefer.applied(seconds), *VARY))

    def _answer(self, job: Job, status: int = 200, headers: Headers = ()) -> web.Response:
        return as_json.answer(job, self._store.targets.waits_for(job), status, headers)

    async def timeline(self, request: web.Request) -> web.Response:
        """List the events of a job, in order."""
        job = await self._seen(request)
        moments = await self._store.history.timeline(job.id)
        return web.json_response({"id": job.id, "timeline": as_json.moments(moments)})

    async def attempts(self, request: web.Request) -> web.Response:
        """List the attempts at a job, in order."""
        job_id, scope = as_json.job_id(request), standing.scope(request)
        record = await self._store.history.record(job_id, scope)
        return web.json_response({"id": job_id, "attempts": as_json.attempts(record.attempts)})

    async def statistics(self, request: web.Request) -> web.Response:
        """Return how many jobs are in each state."""
        if standing.scope(request) is not None:
            raise Forbidden("statistics are for admins and readers")
        counters = await self._store.history.counters()
        targets = {
            name: {"running": busy, "concurrency": slots}
            for name, (busy, slots) in self._store.slots().items()
        }
        return web.json_response({**as_json.counted(counters), "targets": targets})

    # --- taking ---------------------------------------------------------------------------------

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Give a result to this reader, and to nobody else."""
        scope, job_id = standing.changing(request).scope, as_json.job_id(request)
        seconds = wait_of(request)
        applied = prefer.applied(seconds)
        answer, taking = None, partial(responses.take_result, self._store, request, job_id, applied)
        try:
            again = partial(standing.scope_again, request)
            answer = await self._store.waits.once_free(job_id, seconds or 0, scope, taking, again)
        except JobNotFound:
            await self._say_why(request)
        return answer or self._answer(await self._seen(request), 202, (*refusals.SOON, *applied))

    def at_once(self, ask: Ask) -> bool:
        """Accept a request for a result; if there is none, it goes the long way."""
        call = _TAKE.fullmatch(ask.path)
        if call is None or ask.method != "POST" or ask.size or not ask.identity.changes:
            return False
        applied = prefer.applied(prefer.wait(ask.headers.getall(prefer.HEADER, ())))

        def write(delivery: Delivery) -> bytes:
            response, extra = responses.result_of(delivery)
            return answers.delivered(response, (*extra, *applied))

        def lacking(error: Exception | None) -> None:
            if error is None or isinstance(error, JobstoreError):
                ask.pass_on()
            else:
                ask.fail(error)

        take_for(self._store, ask, int(call[1]), write, lacking)
        return True

    async def restore(self, request: web.Request) -> web.Response:
        """Hold a result again that was taken, or deleted but still kept."""
        standing.changing(request)
        job = await self._seen(request)
        if job.result is Result.HELD:
            raise WrongState(job.id, "still has its result")
        if job.result not in {Result.TAKEN, Result.DELETED}:
            await self._say_why(request)
        try:
            await self._store.results.restore(job.id)
        except ResultNotRestorable:
            raise JobGone(job.id, await self._payload_gone(job)) from None
        return self._answer(await self._seen(request))

    # --- changing what becomes of it ------------------------------------------------------------

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel a queued job, or request the cancellation of a running one."""
        asker, job_id = standing.changing(request), as_json.job_id(request)
        found = State.DONE
        try:
            found = await self._store.cancel(job_id, asker.scope, asker.name)
        except JobNotFound:
            await self._say_why(request)
        if found in ENDED:
            raise WrongState(job_id, f"has already ended: it is {found}")
        return self._answer(await self._seen(request), 202 if found is State.RUNNING else 200)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete what is left of a job; its work continues if it has not ended."""
        scope, job_id = standing.changing(request).scope, as_json.job_id(request)
        try:
            await self._store.results.discard(job_id, scope)
        except JobNotFound:
            await self._say_why(request)
        return web.Response(status=204)

    async def retry(self, request: web.Request) -> web.Response:
        """Run the request of an ended job again, as a new job."""
        asker, insists = standing.changing(request), _insists(request)
        job = await self._seen(request)
        if job.state not in ENDED:
            raise WrongState(job.id, f"is {job.state}; it can be run again when it has ended")
        kept = await self._store.history.request(job)
        if kept is None or job.result is Result.DELETED:
            raise JobGone(job.id, await self._payload_gone(job))
        missing = forgotten(kept.headers)
        if missing and not insists:
            raise SecretsMissing(job.id, missing)
        target = owner_of(self._store, self._router, kept.method, kept.path).name
        source = standing.source(request)
        new = await submit_again(
            self._store, job, kept, target, administers=asker.administers, source=source
        )
        return accepted(new, forgotten=missing)

    # --- saying why not -------------------------------------------------------------------------

    async def _seen(self, request: web.Request) -> Job:
        """Return the job that a request is about.

        Raises:
            JobNotFound: there is none with this id that the caller may see.
        """
        return await self._store.history.job(as_json.job_id(request), standing.scope(request))

    async def _say_why(self, request: web.Request) -> None:
        """Raise the reason why a job's result is not available."""
        job = await self._seen(request)
        raise responses.gone(job, await self._store.history.timeline(job.id))

    async def _payload_gone(self, job: Job) -> str:
        return responses.payload_gone(job, await self._store.history.timeline(job.id))


def _insists(request: web.Request) -> bool:
    """Return whether a client wants a retry even without the secret headers.

    Raises:
        QueryInvalid: the parameter is invalid.
    """
    said = value_of(request.query, _INSISTING)
    if said not in {None, "yes", "no"}:
        raise QueryInvalid(f"{_INSISTING}: expected yes or no")
    return said == "yes"
