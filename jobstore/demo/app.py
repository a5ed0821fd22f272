"""The demo's endpoints.

The demo answers like an ArangoDB 2.1 that contains only the database ``_system``, and stores
nothing. Two endpoints are its own: ``/echo`` for bodies of any size, ``/import`` for work with
progress, counters and warnings.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from fractions import Fraction
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from jobstore.demo.queries import NUMBER, query_result, query_seconds
from jobstore.dialects.kinetica import no_such_endpoint
from jobstore.model.clock import SECOND, now
from jobstore.model.handle import JobHandle
from jobstore.targets.inprocess import current
from jobstore.web import documents

API_VERSION: Final = "2.1.0"  # of the documentation whose examples run here

STEP: Final = 0.1  # seconds between two reports on short work
NOTICE: Final = 1.0  # seconds that a cancelled query may go on
MOST_STEPS: Final = 100  # long work reports each percent
_SMALL: Final = 64 * 1024  # bytes of a body that are not worth a stream
MOST_RECORDS: Final = 10**12
MOST_WARNINGS: Final = 10_000  # each one is an entry of the job's history
RECORD_BYTES: Final = 48

CORRUPTED_JSON: Final = 600  # ArangoDB's error numbers
ILLEGAL_NAME: Final = 1208
DATABASE_NOT_FOUND: Final = 1228
QUERY_EMPTY: Final = 1502

DATABASE: Final = "_system"
WELCOME: Final = """\
This is the demo of jobstore. It answers some calls of ArangoDB, such as /_api/version and
/_admin/sleep?duration=3, and /echo and /import of its own. Any of them can be a job:

  curl -i -H 'x-arango-async: store' 'http://localhost:8529/_admin/sleep?duration=3'
  curl -i -X PUT http://localhost:8529/_api/job/1

What happened to all of them, in a browser: http://localhost:8529/_jobs/ui/

"""

_OF_A_DATABASE: Final = re.compile(r"/_db/([^/]*)")
_PLAIN_NUMBER: Final = re.compile(NUMBER, re.ASCII | re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,255}", re.ASCII | re.IGNORECASE)
_SYSTEM_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,255}", re.ASCII | re.IGNORECASE)

_answer: Final = partial(
    web.json_response, dumps=partial(json.dumps, separators=(",", ":"), allow_nan=False)
)


class ArangoError(Exception):
    """The request cannot be answered as intended.

    Args:
        status: the status code to answer with.
        number: ArangoDB's number of the error.
        message: what went wrong.
    """

    def __init__(self, status: int, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.number = number

    def response(self) -> web.Response:
        """Return the error as an answer for clients of ArangoDB."""
        body = {
            "error": True,
            "code": self.status,
            "errorNum": self.number,
            "errorMessage": str(self),
        }
        return _answer(body, status=self.status)


def create_app() -> web.Application:
    """Build the demo; every endpoint also answers under ``/_db/_system``."""
    app = web.Application(middlewares=[_answer_errors])
    for prefix in ("", "/_db/{database}"):
        app.router.add_get(f"{prefix}/", welcome)
        app.router.add_get(f"{prefix}/_api/version", version)
        app.router.add_get(f"{prefix}/_api/database", list_databases)
        app.router.add_get(f"{prefix}/_api/database/user", list_databases)
        app.router.add_get(f"{prefix}/_api/user/{{user}}/database", list_rights)
        app.router.add_get(f"{prefix}/_admin/time", time)
        app.router.add_route(hdrs.METH_ANY, f"{prefix}/_admin/sleep", sleep)
        app.router.add_get(f"{prefix}/_api/collection", list_collections)
        app.router.add_post(f"{prefix}/_api/collection", create_collection)
        app.router.add_post(f"{prefix}/_api/cursor", run_query)
        app.router.add_route(hdrs.METH_ANY, f"{prefix}/echo", echo)
        app.router.add_route(hdrs.METH_ANY, f"{prefix}/import", import_records)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _check_database(request)
        return await handler(request)
    except ArangoError as error:
        return error.response()
    except web.HTTPNotFound:
        unknown = ArangoError(404, 404, f"unknown path '{request.path}'")
        return no_such_endpoint(request) or unknown.response()
    except web.HTTPMethodNotAllowed as error:
        response = ArangoError(405, 405, "method not supported").response()
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response
    except web.HTTPException as error:
        return ArangoError(error.status, error.status, error.reason).response()


def _check_database(request: web.Request) -> None:
    """Refuse requests for other databases than the only one."""
    found = _OF_A_DATABASE.match(request.path)
    if found and found[1] != DATABASE:
        raise ArangoError(404, DATABASE_NOT_FOUND, "database not found")


async def welcome(_request: web.Request) -> web.Response:
    """Explain the demo to people who open it in a browser."""
    return web.Response(text=WELCOME)


async def list_databases(_request: web.Request) -> web.Response:
    """List the one database."""
    return _answer({"error": False, "code": 200, "result": [DATABASE]})


async def list_rights(_request: web.Request) -> web.Response:
    """Return the permissions of a user, which pyArango reads when it connects."""
    return _answer({"error": False, "code": 200, "result": {DATABASE: "rw"}})


async def version(_request: web.Request) -> web.Response:
    """Return the version that the demo claims to be."""
    return _answer({"server": "arango", "version": API_VERSION})


async def time(_request: web.Request) -> web.Response:
    """Return the time, in seconds since 1970."""
    return _answer({"time": now() / SECOND, "error": False, "code": 200})


async def sleep(request: web.Request) -> web.Response:
    """Answer after ``duration`` seconds."""
    duration = _seconds(request, "duration")
    await asyncio.sleep(duration)
    return _answer({"error": False, "code": 200, "duration": duration})


async def list_collections(_request: web.Request) -> web.Response:
    """Return an empty list of collections: none are stored."""
    return _answer({"error": False, "code": 200, "result": []})


async def create_collection(request: web.Request) -> web.Response:
    """Answer as if a collection had been created, if ArangoDB would allow its name."""
    wish = await _json_object(request)
    name, system = wish.get("name"), wish.get("isSystem") is True
    if not is_collection_name(name, system=system):
        raise ArangoError(400, ILLEGAL_NAME, "cannot create collection: illegal name")
    made = {"id": str(now()), "name": name, "status": 3, "type": 2, "isSystem": system}
    return _answer({**made, "error": False, "code": 200})


def is_collection_name(name: object, *, system: bool = False) -> bool:
    """Return whether a collection may have this name, by ArangoDB's traditional naming rules.

    Args:
        name: the name that the client sent.
        system: whether it is for a system collection; those may begin with an underscore.
    """
    pattern = _SYSTEM_NAME if system else _NAME
    return isinstance(name, str) and pattern.fullmatch(name) is not None


async def run_query(request: web.Request) -> web.Response:
    """Take the time that a query would take, and answer with what the demo understands of it."""
    query = (await _json_object(request)).get("query")
    if not isinstance(query, str) or not query.strip():
        raise ArangoError(400, QUERY_EMPTY, "query is empty")
    async for _ in _work(current(request), query_seconds(query), rest=_slow_to_notice):
        pass
    rows = {"result": query_result(query), "hasMore": False, "cached": False}
    return _answer({**rows, "extra": {}, "error": False, "code": 201}, status=201)


async def echo(request: web.Request) -> web.StreamResponse:
    """Return the request's body and content type unchanged; stream a large body."""
    content_type = request.headers.get(hdrs.CONTENT_TYPE)
    kept = {} if content_type is None else {hdrs.CONTENT_TYPE: content_type}
    if _is_small(request):
        return web.Response(body=await request.read(), headers=kept)
    response = web.StreamResponse(headers=kept)
    if not request.can_read_body:
        response.content_length = request.content_length or 0
    elif hdrs.CONTENT_ENCODING not in request.headers:  # else the server may have decoded it
        response.content_length = request.content_length
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        async for chunk in request.content.iter_any():
            await response.write(chunk)
    return response


def _is_small(request: web.Request) -> bool:
    """Return whether a request's body is short, and has the same length in the answer."""
    size = request.content_length
    return (
        size is not None
        and size <= _SMALL
        and hdrs.CONTENT_ENCODING not in request.headers
        and request.method != hdrs.METH_HEAD
    )


async def import_records(request: web.Request) -> web.Response:
    """Pretend to import records for some seconds, and report progress.

    Query parameters: ``records`` to import, ``seconds`` to take, ``warnings``, each for one
    dropped record, and ``fail=true`` to fail at the end.
    """
    records = _whole(request, "records", MOST_RECORDS)
    warnings = _whole(request, "warnings", MOST_WARNINGS)
    seconds = _seconds(request, "seconds")
    fail = _flag(request, "fail")
    job = current(request)
    done = dropped = 0
    async for share in _work(job, seconds):
        _import(job, int(records * share) - done)
        _drop(job, dropped, int(warnings * share))
        done, dropped = int(records * share), int(warnings * share)
    if fail:
        raise ArangoError(500, 500, f"the import failed after {records} records, as requested")
    return _answer({"error": False, "code": 200, "records": records, "droppedRecords": warnings})


def _import(job: JobHandle, records: int) -> None:
    job.count("IMPORT_RECORDS", records)
    job.count("IMPORT_BYTES", records * RECORD_BYTES)


def _drop(job: JobHandle, before: int, after: int) -> None:
    job.count("IMPORT_DROPPED_RECORDS", after - before)
    for number in range(before + 1, after + 1):
        job.warn(f"record dropped, number {number}: it cannot be read")


async def _slow_to_notice(seconds: float) -> None:
    """Sleep on for a moment when cancelled.

    ArangoDB's documentation shows a cancelled query that is still listed as pending: it notices
    its cancellation only at its next row.
    """
    sleeping = asyncio.create_task(asyncio.sleep(seconds))
    try:
        await asyncio.shield(sleeping)
    except asyncio.CancelledError:
        await asyncio.wait({sleeping}, timeout=NOTICE)
        sleeping.cancel()
        raise


async def _work(
    job: JobHandle, seconds: float, rest: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Fraction]:
    """Take some seconds in steps; after each, report and yield the share done so far."""
    steps = max(1, math.ceil(min(seconds / STEP, MOST_STEPS)))
    for step in range(1, steps + 1):
        await rest(seconds / steps)
        yield Fraction(step, steps)
        job.report(100 * step / steps)


async def _json_object(request: web.Request) -> dict[str, Any]:
    """Read the body as a JSON object, whatever its content type: curl says it is a form."""
    try:
        value = documents.parse(await request.read())
    except ValueError:
        raise ArangoError(400, CORRUPTED_JSON, "the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise ArangoError(400, CORRUPTED_JSON, "the body is not a JSON object")
    return value


def _seconds(request: web.Request, name: str) -> float:
    text = request.query.get(name, "0")
    if not _PLAIN_NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
        raise ArangoError(400, 400, f"bad parameter '{name}': expected seconds, 0 or more")
    return value


def _whole(request: web.Request, name: str, most: int) -> int:
    text = request.query.get(name, "0")
    if not re.fullmatch("[0-9]{1,18}", text) or (value := int(text)) > most:
        raise ArangoError(400, 400, f"bad parameter '{name}': expected a number from 0 to {most}")
    return value


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in {"true", "false"}:
        raise ArangoError(400, 400, f"bad parameter '{name}': expected true or false")
    return text == "true"
