"""Datameer's calls about jobs: a configuration is a definition, an execution is a job.

The facts are from Datameer's documentation, "REST API Job Commands", and from public clients. Where
neither shows how a call answers, the answer is our own design, and its page in docs/reference/ says
so.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from aiohttp import web

from jobstore.dialects.datameer import words
from jobstore.dialects.datameer.layout import laid_out
from jobstore.live import Store
from jobstore.model.account import Identity
from jobstore.model.clock import SECOND, Clock, now
from jobstore.model.definition import Definition, DefinitionKey, normal_path
from jobstore.model.errors import DefinitionNotFound, JobNotFound, JobstoreError, QueryInvalid
from jobstore.model.job import Dialect, Job, Submission, Trigger
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import Headers
from jobstore.targets.router import PathClaim, Router
from jobstore.web import edge, refusals, standing
from jobstore.web.parameters import count_of, id_of

# What is asked, what is started and stopped, and what is deleted: other methods, and paths that
# only look alike, are not ours. A slash at the end makes no difference, as in JAX-RS.
CLAIMS: Final = (
    PathClaim(
        re.compile(
            r"/(?:rest/(?:job-configuration/(?:job-status|job-history)/[^/?]+"
            r"|job-execution/job-details/[^/?]+|jobs/list-running)"
            r"|api/job-execution/[^?]+/status)/?(?:[?]|$)"
        ),
        frozenset({"GET", "HEAD"}),
    ),
    PathClaim(
        re.compile(r"/rest/job-execution(?:/sequential|/job-kill/[^/?]+)?/?(?:[?]|$)"),
        frozenset({"POST"}),
    ),
    PathClaim(
        re.compile(r"/rest/(?:data|workbook|import-job|export-job)/[^/?]+/?(?:[?]|$)"),
        frozenset({"DELETE"}),
    ),
)

_LONGEST_SEQUENCE: Final = 100
_DEFAULT_LENGTH: Final = 10
_LONGEST_HISTORY: Final = 1000
_MOST_ACTIVE: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class DatameerJobs:
    """Datameer's calls about jobs and definitions.

    Args:
        zone: the time zone of written times.
    """

    def __init__(self, store: Store, router: Router, zone: ZoneInfo, clock: Clock = now) -> None:
        self._store = store
        self._router = router
        self._zone = zone
        self._clock = clock

    def add_routes(self, app: web.Application) -> None:
        """Add the calls to an application."""
        one = "/{id:[^/]+}"
        calls = {
            "/rest/job-configuration/job-status" + one: {"GET": self.status},
            r"/api/job-execution/{reference:[\s\S]+}/status": {"GET": self.status_v2},
            "/rest/job-configuration/job-history" + one: {"GET": self.history},
            "/rest/job-execution/job-details" + one: {"GET": self.details},
            "/rest/jobs/list-running": {"GET": self.active},
            "/rest/job-execution": {"POST": self.trigger},
            "/rest/job-execution/sequential": {"POST": self.trigger_sequence},
            "/rest/job-execution/job-kill" + one: {"POST": self.stop},
            "/rest/data" + one: {"DELETE": self.delete},
            "/rest/workbook" + one: {"DELETE": self.delete_definition},
            "/rest/import-job" + one: {"DELETE": self.delete_definition},
            "/rest/export-job" + one: {"DELETE": self.delete_definition},
        }
        edge.add_calls(app.router, {path + "{slash:/?}": calls[path] for path in calls}, refused)

    # --- what is asked --------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.Response:
        """Answer with the latest run of a configuration."""
        scope = standing.scope(request)
        definition = await self._configuration(request.match_info["id"], scope)
        runs = await self._store.history.runs(definition.id, 1, scope=scope)
        return _json(words.short(runs[0]) if runs else {})

    async def status_v2(self, request: web.Request) -> web.Response:
        """Answer with the latest run of a file, named by id, uuid or path in the request's path."""
        asker = request[standing.IDENTITY]
        definition = await self._file(request.match_info["reference"], asker)
        scope = asker.scope
        runs = await self._store.history.runs(definition.id, 1, scope=scope)
        if not runs:
            return _json(words.never_run())
        left = await self._seconds_left(runs[0])
        return _json(words.status_of(definition, runs[0], left, self._zone))

    async def history(self, request: web.Request) -> web.Response:
        """List the runs of a configuration, the newest first."""
        scope = standing.scope(request)
        start = count_of(request.query, "start", 0)
        length = min(count_of(request.query, "length", _DEFAULT_LENGTH), _LONGEST_HISTORY)
        definition = await self._configuration(request.match_info["id"], scope)
        runs = await self._store.history.runs(definition.id, length, start, scope)
        return _json([words.short(job) for job in runs])

    async def details(self, request: web.Request) -> web.Response:
        """Answer with all details of an execution, in whichever dialect it was submitted."""
        job = await self._execution(request.match_info["id"], standing.scope(request))
        return _json(words.detailed(job, await self._name(job), self._zone))

    async def active(self, request: web.Request) -> web.Response:
        """List queued and running jobs, in whichever dialect they were submitted."""
        jobs = await self._store.history.active(_MOST_ACTIVE, standing.scope(request))
        names = {job.definition: await self._name(job) for job in _one_of_each_definition(jobs)}
        return _json([words.listed(job, names[job.definition], self._zone) for job in jobs])

    # --- what is done ---------------------------------------------------------------------------

    async def trigger(self, request: web.Request) -> web.Response:
        """Run a configuration."""
        user = standing.changing(request).name
        texts = _configurations(request, most=1)
        (run,) = await self._runs(request, texts, Trigger.RESTAPI)
        return _json(words.triggered(await self._store.submit(run), user))

    async def trigger_sequence(self, request: web.Request) -> web.Response:
        """Run several configurations, each after the one before it has succeeded."""
        user = standing.changing(request).name
        texts = _configurations(request, most=_LONGEST_SEQUENCE)
        runs = await self._runs(request, texts, Trigger.SEQUENCE)
        return _json(words.sequence(await self._store.submissions.submit_chain(runs), user))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop an execution; one that has ended is not changed."""
        asker = standing.changing(request)
        job = await self._execution(request.match_info["id"], asker.scope)
        try:
            await self._store.cancel(job.id, asker.scope, asker.name)
        except JobNotFound:  # nobody can ask for its result any more
            job = await self._store.history.visible(job.id, asker.scope)
            if job.state not in ENDED:
                problem = "cannot be stopped: its result was discarded"
                raise ExecutionRefused(job.id, problem) from None
        return web.Response(content_type="text/plain")

    async def delete(self, request: web.Request) -> web.Response:
        """Delete what is left of an execution that has ended."""
        scope = standing.changing(request).scope
        job = await self._execution(request.match_info["id"], scope)
        if job.state not in ENDED:
            raise ExecutionRefused(job.id, "has not ended; stop it first")
        await self._store.results.discard(job.id, scope)
        return _json({"status": "success"})

    async def delete_definition(self, request: web.Request) -> web.Response:
        """Delete a configuration; its runs continue."""
        scope = standing.changing(request).scope
        definition = await self._configuration(request.match_info["id"], scope)
        await self._store.definitions.delete(definition.id, scope)
        return _json({"status": "success"})

    # --- what it takes --------------------------------------------------------------------------

    async def _configuration(self, text: str, scope: int | None) -> Definition:
        number = id_of(text)
        if number is None:
            raise DefinitionNotFound(text)
        return await self._store.definitions.find(DefinitionKey.ID, number, scope)

    async def _file(self, reference: str, asker: Identity) -> Definition:
        """Find a definition by a reference of the second generation.

        Raises:
            NoFile: it does not exist.
        """
        find, scope = self._store.definitions.find, asker.scope
        try:
            if _NUMBER.fullmatch(reference):
                file_id = id_of(reference) or 0  # which no file has
                return await find(DefinitionKey.FILE_ID, file_id, scope)
            if _UUID.fullmatch(reference):
                return await find(DefinitionKey.UUID, reference.lower(), scope)
            path = normal_path("/" + reference.lstrip("/"))
            return await self._store.definitions.at(path, scope, asker.account)
        except (DefinitionNotFound, ValueError):
            raise NoFile from None

    async def _execution(self, text: str, scope: int | None) -> Job:
        number = id_of(text)
        if number is None:
            raise JobNotFound(text)
        return await self._store.history.visible(number, scope)

    async def _runs(
        self, request: web.Request, texts: Sequence[str], trigger: Trigger
    ) -> list[Submission]:
        scope = standing.changing(request).scope
        found = {text: await self._configuration(text, scope) for text in dict.fromkeys(texts)}
        run = partial(
            edge.run_of,
            store=self._store,
            router=self._router,
            request=request,
            dialect=Dialect.DATAMEER,
            trigger=trigger,
        )
        return [run(found[text]) for text in texts]

    async def _name(self, job: Job) -> str | None:
        """Return the name of a job's definition, if it is a run of one."""
        if job.definition is None:
            return None
        return await self._store.history.definition_name(job.definition)

    async def _seconds_left(self, job: Job) -> float:
        if job.state is not State.RUNNING or job.started_at is None:
            return 0.0
        elapsed = max(0, self._clock() - job.started_at) / SECOND
        usual = await self._store.history.usual_duration(job)
        return words.seconds_left(elapsed, usual, job.progress)


class ExecutionRefused(JobstoreError):
    """The state of an execution does not allow the call.

    Args:
        problem: why not, as the end of a sentence that begins with the execution.
    """

    status = 409

    def __init__(self, job_id: int, problem: str) -> None:
        super().__init__(f"job execution {job_id} {problem}")


class NoFile(JobstoreError):
    """There is no such file, or the caller may not see it."""

    status = 404

    def __init__(self) -> None:
        super().__init__("File doesn't exist or isn't accessible with current permissions")


# What is said of an error; the others have words of their own.
_WORDS: Final[Mapping[type[JobstoreError], str]] = {
    DefinitionNotFound: "no job configuration {0.reference}",
    JobNotFound: "no job execution {0.reference}",
    refusals.Internal: "internal error",
}


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer a request with an error in Datameer's form."""
    status, error = refusals.answerable(error)
    reason = (refusals.by_kind(_WORDS, error) or "{0}").format(error)
    return _json(words.failure(reason), status, refusals.fields(error))


def _json(value: object, status: int = 200, headers: Headers = ()) -> web.Response:
    """Answer with JSON, one member per line.

    It is ASCII, since the content type has no charset: some clients compare it exactly.
    """
    body = laid_out(value).encode()
    return edge.reply(status, "application/json", body, headers)


def _configurations(request: web.Request, most: int) -> list[str]:
    """Read which configurations to run."""
    texts = request.query.getall("configuration", [])
    if not 1 <= len(texts) <= most or not all(_NUMBER.fullmatch(text) for text in texts):
        times = "once" if most == 1 else f"1 to {most} times"
        raise QueryInvalid(f"configuration: expected the id of a job configuration, {times}")
    return texts


def _one_of_each_definition(jobs: Sequence[Job]) -> list[Job]:
    return list({job.definition: job for job in jobs}.values())
