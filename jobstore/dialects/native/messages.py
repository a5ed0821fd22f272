"""The request and the response of a job, for those who look without taking the result."""

from typing import Any, Final

from aiohttp import web

from jobstore.dialects.native import as_json, responses
from jobstore.live import Store
from jobstore.model.errors import NotKept, WrongState
from jobstore.model.job import Job
from jobstore.model.lifecycle import ENDED, Result
from jobstore.model.message import Body, Headers, Response, header, without
from jobstore.store.messages import MessageHead, request_head, response_head
from jobstore.web import ranges, standing

# What says something about a body, and nothing else.
_OF_A_BODY: Final = frozenset({"content-type", "content-encoding", "content-language"})
# What a client would act on, though it only looks at the answer to somebody else; and our own.
_NOT_SHOWN: Final = frozenset(
    {
        "set-cookie",
        "location",
        "refresh",
        "www-authenticate",
        "strict-transport-security",
        "clear-site-data",
        "content-security-policy",
        "x-content-type-options",
        "content-range",
        "jobstore-status",
    }
)
_UNKNOWN: Final = ("Content-Type", "application/octet-stream")  # RFC 9110 section 8.3
# A message may be anything, so a browser must not take it for a page of this server.
_HARMLESS: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
)


class Messages:
    """Show requests and responses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def request(self, request: web.Request) -> web.StreamResponse:
        """Answer with the body of a job's request, with the headers that describe it."""
        job = await self._seen(request)
        kept = await self._store.history.request(job)
        if kept is None or job.result is Result.DELETED:
            raise await self._not_kept(job, "request")
        headers = tuple((name, value) for name, value in kept.headers if name.lower() in _OF_A_BODY)
        return await _show(request, headers, kept.body)

    async def heads(self, request: web.Request) -> web.Response:
        """Answer with the stored heads of both messages; secrets are not shown."""
        job, history = await self._seen(request), self._store.history
        deleted = job.result is Result.DELETED
        asked = None if deleted else await request_head(history, job)
        answered = None if deleted else await response_head(history, job)
        return web.json_response(
            {
                "id": job.id,
                "request": asked and {"method": job.method, "path": job.path, **_head(asked)},
                "response": answered
                and {"status": job.status, "reason": answered.reason, **_head(answered)},
            }
        )

    async def response(self, request: web.Request) -> web.StreamResponse:
        """Answer with the target's answer to a job, without taking the result."""
        job = await self._seen(request)
        kept = await self._store.history.response(job)
        if kept is None or job.result is Result.DELETED:
            raise await self._not_kept(job, "response")
        headers = (*without(kept.headers, _NOT_SHOWN), ("Jobstore-Status", str(kept.status)))
        return await _show(request, headers, kept.body)

    async def _seen(self, request: web.Request) -> Job:
        return await self._store.history.job(as_json.job_id(request), standing.scope(request))

    async def _not_kept(self, job: Job, what: str) -> Exception:
        if job.state not in ENDED:
            return WrongState(job.id, "has not ended yet")
        if job.result in {Result.NONE, Result.HELD}:
            return NotKept(job.id, what, f"there was no answer: {job.detail}")
        moments = await self._store.history.timeline(job.id)
        return NotKept(job.id, what, responses.payload_gone(job, moments))


def _head(head: MessageHead) -> dict[str, Any]:
    return {
        "headers": [
            {"name": name, "value": value, "secret": value is None} for name, value in head.fields
        ],
        "size": head.size,
    }


async def _show(request: web.Request, headers: Headers, body: Body) -> web.StreamResponse:
    named = headers if header(headers, "content-type") else (*headers, _UNKNOWN)
    return await ranges.show(request, Response(status=200, headers=named, body=body), _HARMLESS)
