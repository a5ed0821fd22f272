"""Kinetica's calls about jobs: each takes a record, and answers with one."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from jobstore import __version__
from jobstore.dialects.kinetica import outcomes, records
from jobstore.dialects.kinetica.creating import Creating
from jobstore.dialects.kinetica.encodings import LARGEST
from jobstore.dialects.kinetica.error_messages import refused
from jobstore.dialects.kinetica.framing import Endpoint
from jobstore.dialects.kinetica.looking import Looking
from jobstore.dialects.kinetica.records import RequestInvalid
from jobstore.dialects.kinetica.request import KineticaCall
from jobstore.live import Store
from jobstore.model.account import Identity
from jobstore.model.errors import JobNotFound
from jobstore.model.job import Job
from jobstore.model.lifecycle import AWAITED, ENDED, Result
from jobstore.targets.router import Router
from jobstore.web import edge, standing
from jobstore.web.ask import Ask

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


class KineticaJobs:
    """Kinetica's calls about jobs."""

    def __init__(self, store: Store, router: Router) -> None:
        self._store = store
        creating, looking = Creating(store, router), Looking(store)
        self._endpoints: Final = {
            "/create/job": Endpoint(
                creating.answer,
                records.CREATE_JOB,
                records.JOB_CREATED,
                LARGEST,
                changes=True,
                run_at_once=creating.at_once,
            ),
            "/get/job": Endpoint(
                looking.answer, records.GET_JOB, records.JOB, run_at_once=looking.at_once
            ),
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

    def add_routes(self, app: web.Application) -> None:
        """Add the calls to an application."""
        calls = {path + "{slash:/?}": {"*": to.answer} for path, to in self._endpoints.items()}
        edge.add_calls(app.router, calls, refused)

    def at_once(self, ask: Ask) -> bool:
        """Accept a small call for a job, or for its result."""
        endpoint = self._endpoints.get(ask.path)
        return endpoint is not None and endpoint.at_once(ask)

    async def _show(self, request: web.Request, call: KineticaCall) -> web.Response:
        shown = AWAITED if call.flag("show_async_jobs") else (Result.NONE,)
        workers = call.flag("show_worker_info")
        scope = standing.scope(request)
        found = await self._store.history.awaited(_MOST_SHOWN + 1, scope, shown)
        jobs = found[-_MOST_SHOWN:]
        info = {
            "job_tag": outcomes.tags(jobs),
            "worker_info": "[]" if workers else "",  # there are no worker ranks
            "has_more": "true" if len(found) > len(jobs) else "",
        }
        sources = await self._store.history.sources([job.id for job in jobs])
        listed = outcomes.jobs_record(jobs, sources, await self._texts(jobs))
        return call.answer({**listed, "info": {name: of for name, of in info.items() if of}})

    async def _texts(self, jobs: Sequence[Job]) -> dict[int, str]:
        """Read the queries of jobs that execute SQL, if they are short."""
        ids = [job.id for job in jobs if outcomes.is_query(job)]
        beginnings = await self._store.history.beginnings(ids[-_MOST_QUERIES:], _LONGEST_QUERY)
        return await asyncio.to_thread(outcomes.queries, beginnings) if beginnings else {}

    # --- cancel ---------------------------------------------------------------------------------

    async def _alter(self, request: web.Request, call: KineticaCall) -> web.Response:
        asker = standing.changing(request)
        action, ids = call.asked["action"], call.asked["job_ids"]
        if action != "cancel":
            raise RequestInvalid("action: expected cancel")
        if len(ids) > _MOST_ALTERED:
            raise RequestInvalid(f"job_ids: expected at most {_MOST_ALTERED}")
        meant = await self._meant(ids, call.tag, asker)
        status = await asyncio.gather(*(self._cancel(job_id, asker) for job_id in meant))
        return call.answer({"job_ids": meant, "action": action, "status": status, "info": {}})

    async def _meant(self, ids: Sequence[int], tag: str | None, asker: Identity) -> list[int]:
        """Return the given ids, and the id of the job with a given tag.

        Raises:
            JobNotFound: no job has the tag.
        """
        if tag is None:
            return [*ids]
        tagged = await self._store.results.tagged(tag, asker)
        return [*ids] if tagged in ids else [*ids, tagged]

    async def _cancel(self, job_id: int, asker: Identity) -> str:
        """Cancel a job, and describe the outcome."""
        try:
            found = await self._store.cancel(job_id, asker.scope, asker.name)
        except JobNotFound:
            return "not found"
        return "already ended" if found in ENDED else "cancel requested"


async def _status(_: web.Request, call: KineticaCall) -> web.Response:
    system = json.dumps({"status": "running"})
    return call.answer({"status_map": {"system": system, "version": __version__}, "info": {}})


async def _properties(_: web.Request, call: KineticaCall) -> web.Response:
    properties = {
        "version.gpudb_core_version": _CORE_VERSION,
        "version.jobstore_version": __version__,
        "conf.number_of_hosts": "0",  # no hosts but this one to look for
    }
    return call.answer({"property_map": properties, "info": {}})
