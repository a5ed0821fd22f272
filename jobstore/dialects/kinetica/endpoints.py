"""Kinetica's calls about jobs: each takes a record, and answers with one."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from aiohttp import web

from jobstore import __version__
from jobstore.dialects.kinetica import encodings, outcomes, records
from jobstore.dialects.kinetica.encodings import LARGEST, Encoding
from jobstore.dialects.kinetica.error_messages import refused
from jobstore.dialects.kinetica.framing import LONG_WORK, Endpoint, off_loop, room_for
from jobstore.dialects.kinetica.records import Record, RequestInvalid
from jobstore.dialects.kinetica.request import KineticaCall
from jobstore.live import Store
from jobstore.model import clock
from jobstore.model.account import Identity
from jobstore.model.errors import (
    BeingDelivered,
    JobNotFound,
)
from jobstore.model.job import Dialect, Job, Submission
from jobstore.model.lifecycle import AWAITED, ENDED, Result
from jobstore.model.message import Headers, Request, Response, body_size, chunks
from jobstore.targets.router import Router
from jobstore.web import edge, intake, standing, wire

# How the paths of this API begin.
OWN_PATHS: Final = re.compile(
    r"/(?:create/job|get/job|admin/(?:show|alter)/jobs|show/system/(?:status|properties))/?"
    r"(?:[?]|$)"
)

# The version of Kinetica whose clients find here what they expect: of its five parts, the last is
# the time of the build. The Java client parses all five, and refuses fewer.
_CORE_VERSION: Final = "7.2.3.0.20240927185110"
_LARGEST_ALTERATION: Final = 256 * 2**10
_MOST_ALTERED: Final = 10_000
_MOST_SHOWN: Final = 10_000
# Of how many of them the query is shown, and in how many bytes of a request it is looked for.
_MOST_QUERIES: Final = 1000
_LONGEST_QUERY: Final = 16 * 1024
_ENDPOINT: Final = re.compile(r"""/[!"$-~]{0,8191}""")  # a fragment would never be sent


class KineticaJobs:
    """Kinetica's calls about jobs."""

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        self._router = router

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""
        endpoints = {
            "/create/job": Endpoint(
                self._create, records.CREATE_JOB, records.JOB_CREATED, LARGEST, changes=True
            ),
            "/get/job": Endpoint(self._get, records.GET_JOB, records.JOB),
            "/admin/alter/jobs": Endpoint(
                self._alter,
                records.ALTER_JOBS,
                records.JOBS_ALTERED,
                _LARGEST_ALTERATION,
                changes=True,
            ),
            "/admin/show/jobs": Endpoint(self._show, records.SHOW_JOBS, records.JOBS),
            "/show/system/status": Endpoint(_status, records.SHOW_STATUS, records.STATUS),
            "/show/system/properties": Endpoint(
                _properties, records.SHOW_PROPERTIES, records.PROPERTIES
            ),
        }
        calls = {path + "{slash:/?}": {"*": to.answer} for path, to in endpoints.items()}
        edge.add_calls(app, calls, refused)

    # --- submit ---------------------------------------------------------------------------------

    async def _create(self, exchange: KineticaCall) -> web.Response:
        identity = standing.changing(exchange.request)
        tag = exchange.tag or _new_tag()
        once = exchange.flag("remove_job_on_complete")
        request, target = self._requested(exchange, *await _payload(exchange.asked))
        submission = Submission(
            request=request,
            target=target,
            dialect=Dialect.KINETICA,
            owner=identity.name,
            account=identity.account,
            tag=tag,
            once=once,
            source=standing.source(exchange.request),
        )
        job_id = await self._store.submit(submission)
        # What traces a job here, in the log and in its timeline, is its id.
        info = {"job_tag": tag, "query_id": str(job_id)}
        return exchange.answer({"job_id": job_id, "info": info})

    def _requested(
        self, exchange: KineticaCall, encoding: Encoding, body: bytes
    ) -> tuple[Request, str]:
        """Make the request that will be the job; return it, and the name of its target."""
        endpoint = exchange.asked["endpoint"]
        if not _ENDPOINT.fullmatch(endpoint):
            raise RequestInvalid("endpoint: expected the path of a call, such as /alter/table")
        route = self._router.owner("POST", endpoint)
        credentials = _credentials(intake.received(exchange.request).headers)
        headers = (("Content-Type", encoding.value), ("Accept", encoding.value), *credentials)
        travelling = route.travelling(headers)
        return Request(method="POST", path=endpoint, headers=travelling, body=body), route.name

    # --- look and take --------------------------------------------------------------------------

    async def _get(self, exchange: KineticaCall) -> web.StreamResponse:
        scope = standing.scope(exchange.request)
        tag, job_id = exchange.tag, exchange.asked["job_id"]
        if tag is not None:
            job_id = await self._tagged(tag, exchange.request[standing.IDENTITY])
        try:
            return await self._read(exchange, job_id)
        except BeingDelivered:  # to another reader, who may break off
            job = await self._store.history.job(job_id, scope)
            return exchange.answer(outcomes.not_yet(job))

    async def _read(self, exchange: KineticaCall, job_id: int) -> web.StreamResponse:
        identity = exchange.request[standing.IDENTITY]
        reading = await self._store.results.read(job_id, identity.scope)
        job, headers, response = reading.job, reading.request_headers, reading.response
        _check_size(job, response)
        if job.once and job.result is Result.HELD and identity.changes:
            return await self._take(exchange, job, headers)
        async with room_for(exchange.request, response) as size:
            record = await _described(job, headers, response)
            answer = await off_loop(size, exchange.answer, record)
            if size > LONG_WORK:  # while there is room for it
                async with wire.read_in_time(exchange.request, size):
                    await answer.prepare(exchange.request)
                    await answer.write_eof()
            return answer

    async def _take(self, exchange: KineticaCall, job: Job, asked: Headers) -> web.StreamResponse:
        """Answer with a job that nobody can ask for again, once the answer has arrived."""
        scope = standing.changing(exchange.request).scope
        async with self._store.results.take(job.id, scope) as delivery:
            assert delivery is not None  # it has ended
            response = delivery.response
            async with room_for(exchange.request, response) as size:
                record = await _described(job, asked, response)
                kept = await off_loop(size, exchange.kept, record)
                async with wire.read_in_time(exchange.request, size):
                    return await wire.deliver(exchange.request, kept, ())

    async def _show(self, exchange: KineticaCall) -> web.Response:
        shown = AWAITED if exchange.flag("show_async_jobs") else (Result.NONE,)
        workers = exchange.flag("show_worker_info")
        scope = standing.scope(exchange.request)
        found = await self._store.history.awaited(_MOST_SHOWN + 1, scope, shown)
        jobs = found[-_MOST_SHOWN:]
        info = {
            "job_tag": outcomes.tags(jobs),
            "worker_info": "[]" if workers else "",  # there are no worker ranks
            "has_more": "true" if len(found) > len(jobs) else "",
        }
        sources = await self._store.history.sources([job.id for job in jobs])
        listed = outcomes.jobs_record(jobs, sources, await self._texts(jobs))
        return exchange.answer({**listed, "info": {name: of for name, of in info.items() if of}})

    async def _texts(self, jobs: Sequence[Job]) -> dict[int, str]:
        """Read the queries of jobs that execute SQL, as far as they are short."""
        ids = [job.id for job in jobs if outcomes.is_query(job)]
        beginnings = await self._store.history.beginnings(ids[-_MOST_QUERIES:], _LONGEST_QUERY)
        return await asyncio.to_thread(outcomes.queries, beginnings) if beginnings else {}

    # --- cancel ---------------------------------------------------------------------------------

    async def _alter(self, exchange: KineticaCall) -> web.Response:
        asker = standing.changing(exchange.request)
        action, ids = exchange.asked["action"], exchange.asked["job_ids"]
        if action != "cancel":
            raise RequestInvalid("action: expected cancel")
        if len(ids) > _MOST_ALTERED:
            raise RequestInvalid(f"job_ids: expected at most {_MOST_ALTERED}")
        meant = await self._meant(ids, exchange.tag, asker)
        status = await asyncio.gather(*(self._cancel(job_id, asker) for job_id in meant))
        return exchange.answer({"job_ids": meant, "action": action, "status": status, "info": {}})

    async def _meant(self, ids: Sequence[int], tag: str | None, asker: Identity) -> list[int]:
        """Return the ids, and that of a tag.

        Raises:
            JobNotFound: no job has the tag.
        """
        tagged = [] if tag is None else [await self._tagged(tag, asker)]
        return [*ids, *(job_id for job_id in tagged if job_id not in ids)]

    async def _tagged(self, tag: str, asker: Identity) -> int:
        return await self._store.results.tagged(tag, asker)

    async def _cancel(self, job_id: int, asker: Identity) -> str:
        """Cancel a job, and say what that came to."""
        try:
            found = await self._store.cancel(job_id, asker.scope, asker.name)
        except JobNotFound:
            return "not found"
        return "already ended" if found in ENDED else "cancel requested"


async def _status(exchange: KineticaCall) -> web.Response:
    system = json.dumps({"status": "running"})
    return exchange.answer({"status_map": {"system": system, "version": __version__}, "info": {}})


async def _properties(exchange: KineticaCall) -> web.Response:
    properties = {
        "version.gpudb_core_version": _CORE_VERSION,
        "version.jobstore_version": __version__,
        "conf.number_of_hosts": "0",  # no hosts but this one to look for
    }
    return exchange.answer({"property_map": properties, "info": {}})


# --- what is asked ------------------------------------------------------------------------------


async def _payload(asked: Record) -> tuple[Encoding, bytes]:
    """Return the body of a job's request, and how it is encoded."""
    match asked["request_encoding"]:
        case "json":
            return Encoding.JSON, asked["data_str"].encode()
        case "binary" | "":
            return Encoding.AVRO, asked["data"]
        case "snappy":
            return Encoding.AVRO, await asyncio.to_thread(encodings.decompress, asked["data"])
        case _:
            raise RequestInvalid("request_encoding: expected binary, json or snappy")


def _new_tag() -> str:
    """Make a tag that no other job has; one made later sorts behind, which suits an index."""
    return f"{clock.now():016x}{uuid4().hex[:16]}"


def _credentials(headers: Headers) -> Headers:
    return tuple(item for item in headers if item[0].lower() == "authorization")


# --- what is answered ---------------------------------------------------------------------------


def _check_size(job: Job, response: Response | None) -> None:
    """Ensure that an answer can be had in one piece.

    Raises:
        RequestInvalid: it is too large for that.
    """
    size = body_size(response.body) if response else None
    if size is not None and size > LARGEST:
        raise RequestInvalid(
            f"the result of job {job.id} has {size} bytes, and at most {LARGEST} can be answered "
            f"here: fetch it with PUT /_api/job/{job.id}"
        )


async def _described(job: Job, asked: Headers, response: Response | None) -> Record:
    body = await _content(response)
    return await off_loop(len(body), outcomes.job_record, job, asked, response, body)


async def _content(response: Response | None) -> bytes:
    return b"".join([chunk async for chunk in chunks(response.body)]) if response else b""
