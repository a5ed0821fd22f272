"""The job manager's own API: ``/_api/job`` asks for results, lists jobs and cancels them."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import unquote

from aiohttp import web

from jobstore.dialects.arango.async_header import ASYNC_ID
from jobstore.dialects.arango.replies import (
    JSON,
    compact,
    empty_reply,
    error_body,
    json_reply,
    refusal,
    refused,
)
from jobstore.live import Delivery, Store
from jobstore.model.clock import SECOND
from jobstore.model.errors import BeingDelivered, JobNotFound, JobstoreError, QueryInvalid
from jobstore.model.job import Dialect
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers, Response, header, without
from jobstore.targets.router import PathClaim
from jobstore.web import answers, edge, prefer, standing, wire
from jobstore.web.ask import Ask
from jobstore.web.parameters import count_of, id_of, value_of
from jobstore.web.refusals import MethodNotAllowed
from jobstore.web.taking import take_for

# All that is below these paths, with any method: what is no call is refused here.
CLAIMS: Final = (PathClaim(re.compile(r"(?:/_db/[^/?]+)?/_(?:api|admin)/job(?:[/?]|$)")),)
_BASES: Final = ("/_api/job", "/_admin/job")
_BEGINNING: Final = re.compile(r"(?:/_db/[^/]+)?/_(?:api|admin)/job/?")

# What nearly all ask who fetch a result.
_FETCH: Final = re.compile(r"/_(?:api|admin)/job/([1-9][0-9]{0,17})")
_DEFAULT_COUNT: Final = 100
_STAMP: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?")
_LARGEST_TIME: Final = 2**63 - 1

_CANCELED: Final = 21
# "failed": the general one. With 503 as error number, python-arango would try another host.
_FAILED: Final = 1

# Answers a request whose path has these parts.
_Call: TypeAlias = Callable[[web.Request, Sequence[str]], Awaitable[web.StreamResponse]]


class ArangoJobs:
    """The job manager's own API."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.handle: Final = edge.told(self._answer, refused)
        self._of_a_job: Final[Mapping[str, _Call]] = {
            "PUT": self._fetch,
            "GET": self._status,
            "DELETE": self._delete,
        }

    def add_routes(self, app: web.Application) -> None:
        """Add the API to an application, under each of its prefixes."""
        paths = [prefix + base for base in _BASES for prefix in ("", "/_db/{database}")]
        tails = [path + r"/{tail:[\s\S]*}" for path in paths]
        call = {"*": self._answer}
        edge.add_calls(app.router, dict.fromkeys((*paths, *tails), call), refused)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any call of the API."""
        parts = _parts(request)
        calls = self._calls(parts)
        if request.method not in self._of_a_job:
            raise MethodNotAllowed([*calls])
        if "" in parts:
            raise QueryInvalid  # where an id or a type should be, there is none
        # As in ArangoDB, a path that is not for this method is read as the id of a job.
        call = calls.get(request.method) or self._of_a_job[request.method]
        return await call(request, parts)

    def _calls(self, parts: Sequence[str]) -> Mapping[str, _Call]:
        """Return the calls of a path by their methods."""
        match parts:
            case ["pending"]:
                return {"GET": self._pending}
            case ["done"]:
                return {"GET": self._held}
            case ["all"]:
                return {"DELETE": self._delete_all}
            case ["expired"]:
                return {"DELETE": self._expire}
            case [_, "cancel"]:
                return {"PUT": self._cancel}
        return self._of_a_job

    async def _pending(self, request: web.Request, _: Sequence[str]) -> web.Response:
        return await _listed(request, self._store.results.pending)

    async def _held(self, request: web.Request, _: Sequence[str]) -> web.Response:
        return await _listed(request, self._store.results.held)

    async def _status(self, request: web.Request, parts: Sequence[str]) -> web.Response:
        job_id = id_of(_only(parts))
        if job_id is None:
            raise QueryInvalid
        job = await self._store.results.peek(job_id, standing.scope(request))
        return empty_reply(204 if job.result is Result.NONE else 200)

    async def _cancel(self, request: web.Request, parts: Sequence[str]) -> web.Response:
        job_id, asker = _existing(parts[0]), standing.changing(request)
        await self._store.cancel(job_id, asker.scope, asker.name)
        return _done()

    async def _delete(self, request: web.Request, parts: Sequence[str]) -> web.Response:
        job_id = _existing(_only(parts))
        await self._store.results.delete(job_id, standing.changing(request).scope)
        return _done()

    async def _delete_all(self, request: web.Request, _: Sequence[str]) -> web.Response:
        await self._store.results.delete_all(standing.changing(request).scope)
        return _done()

    async def _expire(self, request: web.Request, _: Sequence[str]) -> web.Response:
        stamp = _stamp(request)
        await self._store.results.expire(stamp, standing.changing(request).scope)
        return _done()

    def at_once(self, ask: Ask) -> bool:
        """Accept an ordinary request for a result.

        A request that would wait longer than a moment goes the long way.
        """
        call = _FETCH.fullmatch(ask.path)
        if call is None or ask.method != "PUT" or ask.size or not ask.identity.changes:
            return False
        job_id, seconds = int(call[1]), None
        applied: Headers = ()
        if prefer.HEADER in ask.headers:
            seconds = prefer.wait(ask.headers.getall(prefer.HEADER))
            applied = prefer.applied(seconds)

        def lacking(error: Exception | None) -> None:
            if error is None or isinstance(error, BeingDelivered):
                if seconds:
                    ask.pass_on()
                else:
                    ask.answer(answers.of(empty_reply(204, applied)))
            elif isinstance(error, JobstoreError):
                ask.answer(answers.of(refusal(error)))
            else:
                ask.fail(error)

        def write(delivery: Delivery) -> bytes:
            response, extra = _result(delivery)
            return answers.delivered(response, (*extra, *applied), explicit=True)

        take_for(self._store, ask, job_id, write, lacking)
        return True

    async def _fetch(self, request: web.Request, parts: Sequence[str]) -> web.StreamResponse:
        job_id = _existing(_only(parts))
        seconds = prefer.wait(request.headers.getall(prefer.HEADER, ()))
        applied = prefer.applied(seconds)
        answer = None
        # While another reader has the result, it may come back: that is "not yet", and not "gone".
        with suppress(BeingDelivered):
            answer = await self._delivered(request, job_id, applied)
        if answer is None and seconds:
            scope = standing.changing(request).scope
            taking = partial(self._delivered, request, job_id, applied)
            again = partial(standing.scope_again, request)
            with suppress(BeingDelivered):
                answer = await self._store.waits.once_free(job_id, seconds, scope, taking, again)
        return answer or empty_reply(204, applied)

    async def _delivered(
        self, request: web.Request, job_id: int, applied: Headers
    ) -> web.StreamResponse | None:
        """Answer with a result, or return None if the job has not ended."""
        async with self._store.results.take(job_id, standing.changing(request).scope) as delivery:
            if delivery is None:
                return None
            response, extra = _result(delivery)
            return await wire.deliver(request, response, (*extra, *applied), explicit=True)


def _parts(request: web.Request) -> list[str]:
    """Split the path below the API's own, as ArangoDB's RestHandlerFactory does.

    One slash at the end makes no difference; any other slash has an empty part before it. The parts
    are decoded afterwards: ``%2F`` belongs to one of them.
    """
    *parts, last = _BEGINNING.sub("", request.rel_url.raw_path, 1).split("/")
    return [unquote(part) for part in ([*parts, last] if last else parts)]


def _only(parts: Sequence[str]) -> str:
    """Return the only part of a path; there is no call with more of them, or none."""
    if len(parts) != 1:
        raise QueryInvalid
    return parts[0]


def _existing(text: str) -> int:
    """Read a job's id; an invalid one is the id of no job."""
    number = id_of(text)
    if number is None:
        raise JobNotFound(text)
    return number


async def _listed(
    request: web.Request, find: Callable[[int, int | None], Awaitable[list[int]]]
) -> web.Response:
    count = count_of(request.query, "count", _DEFAULT_COUNT)
    return json_reply(200, [str(job_id) for job_id in await find(count, standing.scope(request))])


def _stamp(request: web.Request) -> int:
    """Read a UNIX time in seconds; results finished before it are expired."""
    text = value_of(request.query, "stamp")
    if text is None or not _STAMP.fullmatch(text):
        raise QueryInvalid
    microseconds = math.ceil(Decimal(text) * SECOND)
    return max(-_LARGEST_TIME, min(_LARGEST_TIME, microseconds))


def _done() -> web.Response:
    return json_reply(200, {"result": True})


def _result(delivery: Delivery) -> tuple[Response, Headers]:
    """Return a job's answer, with the field that names the job."""
    response = delivery.response or _stand_in(delivery)
    if header(response.headers, ASYNC_ID) is not None:
        # The job has itself fetched a result, whose id is not this one's.
        response = replace(response, headers=without(response.headers, (ASYNC_ID,)))
    return response, ((ASYNC_ID, str(delivery.job_id)),)


def _stand_in(delivery: Delivery) -> Response:
    """Return the response of a job without one: it was cancelled, or the target did not answer."""
    job = delivery.job
    if job.state is State.CANCELLED:
        return _kept(JSON, 410, error_body(410, _CANCELED, "canceled request"))
    status, detail = job.status or 503, job.failing
    body = wire.problem_document(status, detail) | error_body(status, _FAILED, detail)
    # Clients of ArangoDB, such as arangojs, read JSON only under its own name.
    arango = job.dialect is Dialect.ARANGO
    return _kept(JSON if arango else "application/problem+json", status, body)


def _kept(content_type: str, status: int, body: Mapping[str, object]) -> Response:
    headers = (("Content-Type", content_type),)
    return Response(status=status, headers=headers, body=compact(body))
