"""ArangoDB's jobs: ``x-arango-async`` on any request, and ``/_api/job`` to ask for the result.

The facts stand in ArangoDB's documentation, "Managing Async Results via HTTP", and in the tests
and sources that its versions 1.4 to 3.12 share; error numbers are those of ArangoDB's errors.dat.
"""

import json
import logging
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.live import Delivery, Store, Taking
from jobstore.model.clock import SECOND
from jobstore.model.errors import (
    AccountsUnavailable,
    AnswerUnsendable,
    BeingDelivered,
    BodyBroken,
    BodyStalled,
    Forbidden,
    JobNotFound,
    JobstoreError,
    NotAccepting,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    StoreUnsure,
    Unauthorized,
)
from jobstore.model.job import Dialect, Job
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers, Response, header, without
from jobstore.targets.router import PathClaim
from jobstore.web import answers, prefer, wire
from jobstore.web.ask import Ask

ASYNC: Final = "x-arango-async"
ASYNC_ID: Final = "x-arango-async-id"

log = logging.getLogger(__name__)

# All that is below these paths, with any method: what is no call is refused here.
CLAIMS: Final = (PathClaim(re.compile(r"(?:/_db/[^/?]+)?/_(?:api|admin)/job(?:[/?]|$)")),)
_BEGINNING: Final = re.compile(r"(?:/_db/[^/]+)?/_(?:api|admin)/job/?")

_WANTED: Final[Mapping[str | None, bool]] = {"store": True, "true": False}
_TEXT: Final = "text/plain; charset=utf-8"
_TEXT_TYPE: Final = ("Content-Type", _TEXT)
_JSON: Final = "application/json; charset=utf-8"
# What nearly all ask who fetch a result.
_FETCH: Final = re.compile(r"/_(?:api|admin)/job/([1-9][0-9]{0,17})")
_DEFAULT_COUNT: Final = 100
_NUMERIC_ID: Final = re.compile(r"[1-9][0-9]*")
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_STAMP: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?")
_LARGEST_TIME: Final = 2**63 - 1

# Error numbers and messages; the others have their status for a number, and words of their own.
_ERRORS: Final[Mapping[type[JobstoreError], tuple[int, str | None]]] = {
    NotAccepting: (21003, "queue is full"),
    StoreFull: (1104, "filesystem full"),
    StoreBusy: (18, "lock timeout"),
    StoreUnavailable: (2, "system error"),
    StoreDamaged: (2, "system error"),
    StoreUnsure: (4, None),
    BodyBroken: (400, "bad parameter"),
    BodyStalled: (408, None),
    JobNotFound: (404, "not found"),
    BeingDelivered: (1200, None),
    Forbidden: (11, "forbidden"),
    Unauthorized: (11, "not authorized to execute this request"),
    AccountsUnavailable: (4, None),
}
_NO_HEADERS: Final[Mapping[str, str]] = {}
_CANCELED: Final = 21
_INTERNAL: Final = 4
# "failed": the general one. With 503 as error number, python-arango would try another host.
_FAILED: Final = 1


class ArangoHeader:
    """``x-arango-async: store`` keeps the result, ``true`` does not, anything else is nothing."""

    dialect = Dialect.ARANGO
    name = ASYNC

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Tell whether the result is wanted, or None if no job is asked for at all."""
        return _WANTED.get(headers.get(ASYNC))

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without the one that asks for a job."""
        return without(headers, (ASYNC,))

    def receipt(self, job_id: int, *, wanted: bool) -> bytes:
        """Write the answer that the job is on the disk."""
        fields = ((ASYNC_ID, str(job_id)),) if wanted else ()
        return answers.own(202, (_TEXT_TYPE, *fields))

    def is_plain(self, _: MultiMapping[str]) -> bool:
        """Tell whether nothing else is asked for than a job: nothing else can be."""
        return True

    async def accepted(
        self,
        request: web.Request,  # noqa: ARG002 - whoever sent it
        job_id: int,
        *,
        wanted: bool,
    ) -> web.Response:
        """Answer 202, with the job's id if there will be something to ask for."""
        return _empty(202, {ASYNC_ID: str(job_id)} if wanted else {})

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer with ArangoDB's error for what happened."""
        return _refusal(error)


class ArangoJobs:
    """The job manager's own API."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_routes(self, app: web.Application) -> None:
        """Let an application serve the API, under each of its prefixes."""
        for base in ("/_api/job", "/_admin/job"):
            for prefix in ("", "/_db/{database}"):
                app.router.add_route("*", prefix + base, self.handle)
                app.router.add_route("*", prefix + base + r"/{tail:[\s\S]*}", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any call of the API."""
        try:
            return await self._handle(request)
        except _BadParameterError:
            return _error(400, 400, "bad parameter")
        except JobstoreError as error:
            return _refusal(error)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        match request.method, _parts(request):
            case "PUT", [job_id]:
                return await self._fetch(request, _existing(job_id))
            case "PUT", [job_id, "cancel"]:
                asker = wire.changing(request)
                await self._store.cancel(_existing(job_id), asker.scope, asker.name)
            case "GET", ["pending"]:
                return _ids(await self._store.results.pending(_count(request), wire.scope(request)))
            case "GET", ["done"]:
                return _ids(await self._store.results.held(_count(request), wire.scope(request)))
            case "GET", [job_id] if _NUMERIC_ID.fullmatch(job_id):
                peeked = self._store.results.peek(_existing(job_id), wire.scope(request))
                return _status(await peeked)
            case "DELETE", ["all"]:
                await self._store.results.delete_all(wire.changing(request).scope)
            case "DELETE", ["expired"]:
                await self._store.results.expire(_stamp(request), wire.changing(request).scope)
            case "DELETE", [job_id]:
                await self._store.results.delete(_existing(job_id), wire.changing(request).scope)
            case (("PUT" | "GET" | "DELETE"), _):
                raise _BadParameterError
            case _:
                return _error(405, 405, "method not supported")
        return _json(200, {"result": True})

    def at_once(self, ask: Ask) -> bool:
        """Take on a request for a result, unless it has something out of the ordinary about it."""
        call = _FETCH.fullmatch(ask.path)
        if (
            call is None
            or ask.method != "PUT"
            or ask.size
            or prefer.HEADER in ask.headers
            or not ask.identity.changes
        ):
            return False
        job_id = int(call[1])

        def told(taking: Taking, delivery: Delivery | None, error: Exception | None) -> None:
            if isinstance(error, BeingDelivered) or (error is None and delivery is None):
                ask.answer(answers.of(_empty(204)))
            elif isinstance(error, JobstoreError):
                ask.answer(answers.of(_refusal(error)))
            elif error is not None:
                ask.fail(error)
            elif delivery is not None:
                self._hand_over(ask, taking, delivery)

        self._store.results.taking(job_id, ask.identity.scope).begin(lambda: ask.gone, told)
        return True

    def _hand_over(self, ask: Ask, taking: Taking, delivery: Delivery) -> None:
        if taking.is_large:
            taking.over()
            ask.pass_on()
            return
        try:
            data = answers.delivered(*_result(delivery), explicit=True)
        except AnswerUnsendable as error:
            taking.over(error)
            ask.answer(answers.of(_refusal(error)))
        else:
            ask.hand_over(data, taking.over)

    async def _fetch(self, request: web.Request, job_id: int) -> web.StreamResponse:
        seconds = prefer.wait(request.headers.getall(prefer.HEADER, ()))
        applied = prefer.applied(seconds)
        answer = None
        # While another reader has the result, it may come back: that is "not yet", and not "gone".
        with suppress(BeingDelivered):
            answer = await self._delivered(request, job_id, applied)
        if answer is None and seconds:
            scope = wire.changing(request).scope
            taking = partial(self._delivered, request, job_id, applied)
            again = partial(wire.scope_again, request)
            with suppress(BeingDelivered):
                answer = await self._store.waits.once_free(job_id, seconds, scope, taking, again)
        return answer or _empty(204, dict(applied))

    async def _delivered(
        self, request: web.Request, job_id: int, applied: Headers
    ) -> web.StreamResponse | None:
        """Answer with a result, or return None if the job has not ended."""
        async with self._store.results.take(job_id, wire.changing(request).scope) as delivery:
            if delivery is None:
                return None
            response, extra = _result(delivery)
            return await wire.deliver(request, response, (*extra, *applied), explicit=True)


class _BadParameterError(Exception):
    """A part of the request is missing or cannot be read."""


def _parts(request: web.Request) -> list[str]:
    """Split what follows the API's own path, as ArangoDB's RestHandlerFactory does.

    One slash at the end makes no difference; any other one has an empty part before it.
    """
    *parts, last = _BEGINNING.sub("", request.path, 1).split("/")
    return [*parts, last] if last else parts


def _existing(text: str) -> int:
    """Read a job's id; what cannot be one is the id of no job."""
    if not _NUMERIC_ID.fullmatch(text):
        raise JobNotFound(0)
    return int(text[:20])  # twenty digits are too large already


def _count(request: web.Request) -> int:
    text = request.query.get("count")
    if text is None:
        return _DEFAULT_COUNT
    if not _COUNT.fullmatch(text):
        raise _BadParameterError
    return int(text)


def _stamp(request: web.Request) -> int:
    """Read a UNIX time in seconds; what was finished at a lower one is expired."""
    text = request.query.get("stamp", "")
    if not _STAMP.fullmatch(text):
        raise _BadParameterError
    microseconds = math.ceil(Decimal(text) * SECOND)
    return max(-_LARGEST_TIME, min(_LARGEST_TIME, microseconds))


def _status(job: Job) -> web.Response:
    return _empty(204 if job.result is Result.NONE else 200)


def _ids(ids: list[int]) -> web.Response:
    return _json(200, [str(job_id) for job_id in ids])


def _result(delivery: Delivery) -> tuple[Response, Headers]:
    """Return a job's answer, and the field that says whose it is."""
    response = delivery.response or _stand_in(delivery)
    if header(response.headers, ASYNC_ID):
        # The job has itself fetched a result, whose id is not this one's.
        response = replace(response, headers=without(response.headers, (ASYNC_ID,)))
    return response, ((ASYNC_ID, str(delivery.job_id)),)


def _stand_in(delivery: Delivery) -> Response:
    """Make the response of a job that has none: it was cancelled, or no answer could be had."""
    job = delivery.job
    if job.state is State.CANCELLED:
        return _kept(_JSON, 410, _error_body(410, _CANCELED, "canceled request"))
    status, detail = job.status or 503, job.detail or "no answer could be had"
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    body = document | _error_body(status, _FAILED, detail)
    # Clients of ArangoDB, such as arangojs, read JSON only under its own name.
    arango = job.dialect is Dialect.ARANGO
    return _kept(_JSON if arango else "application/problem+json", status, body)


def _kept(content_type: str, status: int, body: Mapping[str, object]) -> Response:
    headers = (("Content-Type", content_type),)
    return Response(status=status, headers=headers, body=_compact(body))


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in."""
    return _refusal(error)


def _refusal(error: JobstoreError) -> web.Response:
    if error.status is None:
        log.error("%s", error, extra={"action": "answer"})
        return _error(500, _INTERNAL, "internal error")
    number, message = next(
        (words for kind in type(error).__mro__ if (words := _ERRORS.get(kind))),
        (error.status, None),
    )
    return _error(error.status, number, message or str(error), wire.retry_after(error))


def _error(
    status: int, number: int, message: str, headers: Mapping[str, str] = _NO_HEADERS
) -> web.Response:
    return _json(status, _error_body(status, number, message), headers)


def _error_body(status: int, number: int, message: str) -> dict[str, object]:
    return {"error": True, "errorMessage": message, "code": status, "errorNum": number}


def _json(status: int, value: object, headers: Mapping[str, str] = _NO_HEADERS) -> web.Response:
    return web.Response(
        status=status, body=_compact(value), headers={"Content-Type": _JSON, **headers}
    )


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _empty(status: int, headers: Mapping[str, str] = _NO_HEADERS) -> web.Response:
    answer = web.Response(status=status, headers={"Content-Type": _TEXT, **headers})
    return wire.explicitly_empty(answer) if status == HTTPStatus.NO_CONTENT else answer
