"""``Prefer: respond-async``, the standard way of asking for a job: RFC 7240."""

from functools import partial
from typing import Final

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from jobstore.dialects.native import responses
from jobstore.live import Store
from jobstore.model.errors import BeingDelivered, Forbidden, JobNotFound, JobstoreError, StoreError
from jobstore.model.job import Dialect
from jobstore.model.message import Headers
from jobstore.web import answers, prefer, refusals, standing

VARY: Final[Headers] = (("Vary", prefer.HEADER),)


class PreferHeader:
    """``Prefer: respond-async`` asks for a job; with ``wait=N``, for its result if it is quick.

    Args:
        store: knows the job's end, and its result.
    """

    dialect = Dialect.NATIVE
    name = prefer.HEADER

    def __init__(self, store: Store) -> None:
        self._store = store

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Return whether the result is wanted; None if no job is asked for."""
        return True if prefer.respond_async(headers.getall(prefer.HEADER, ())) else None

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without the preferences that ask for a job."""
        return prefer.strip(headers)

    def receipt(self, job_id: int, **_: bool) -> bytes:
        """Return the 202 answer of a submission; its result is always wanted."""
        return answers.of(_told(job_id, None))

    def is_plain(self, headers: MultiMapping[str]) -> bool:
        """Return whether the client does not wait for the result."""
        return _wait(headers) is None

    async def accepted(self, request: web.Request, job_id: int, /, **_: bool) -> web.StreamResponse:
        """Answer with the result if it comes in time, or else 202 with the job's place."""
        seconds = wait_of(request)
        if seconds is not None:
            answer = await self._in_time(request, job_id, seconds)
            if answer is not None:
                return answer
        return _told(job_id, seconds)

    async def _in_time(
        self, request: web.Request, job_id: int, seconds: int
    ) -> web.StreamResponse | None:
        """Answer with the result; None if it is not there in time, or not for this reader.

        Whatever keeps it from being taken, the job was accepted, and the answer has to say so.
        """
        again = partial(standing.scope_again, request)
        try:
            await self._store.waits.ended(job_id, seconds, standing.scope(request), again)
            extra = (*prefer.applied(seconds), *VARY)
            return await responses.take_result(self._store, request, job_id, extra)
        except (BeingDelivered, Forbidden, JobNotFound, StoreError, standing.Revoked):
            return None

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer with a problem document."""
        return refusals.problem_of(error)


def _told(job_id: int, seconds: int | None) -> web.Response:
    return accepted(job_id, (*prefer.applied(seconds, "respond-async"), *VARY))


def wait_of(request: web.Request) -> int | None:
    """Return how many seconds the sender of a request is willing to wait; None if not said."""
    return _wait(request.headers)


def _wait(headers: MultiMapping[str]) -> int | None:
    return prefer.wait(headers.getall(prefer.HEADER, ()))


def accepted(job_id: int, extra: Headers = (), **members: object) -> web.Response:
    """Answer that a job is stored, and where it can be found.

    Args:
        extra: headers to add.
        members: additional members.
    """
    location = f"/_jobs/{job_id}"
    headers = CIMultiDict([("Location", location), *extra])
    document = {"id": job_id, "location": location, **members}
    return web.json_response(document, status=202, headers=headers)
