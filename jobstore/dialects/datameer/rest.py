"""Datameer's calls about jobs: a configuration is a definition, an execution is a job.

The facts stand in Datameer's documentation, "REST API Job Commands", and in clients that are
public. Where neither says how a call answers, it is our own design, and README says so.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from aiohttp import web

from jobstore.dialects.datameer import words
from jobstore.live import Store
from jobstore.model.account import Identity
from jobstore.model.clock import SECOND, Clock, now
from jobstore.model.definition import Definition, Key, normal_path
from jobstore.model.errors import (
    DefinitionNotFound,
    JobNotFound,
    JobstoreError,
)
from jobstore.model.job import Dialect, Job, Submission, Trigger
from jobstore.model.lifecycle import ENDED, State
from jobstore.targets.router import PathClaim, Router
from jobstore.web import refusals, standing

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

log = logging.getLogger(__name__)

_Call: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]

_NO_HEADERS: Final[Mapping[str, str]] = {}
_NO_FILE: Final = "File doesn't exist or isn't accessible with current permissions"
_LONGEST_SEQUENCE: Final = 100
_DEFAULT_LENGTH: Final = 10
_LONGEST_HISTORY: Final = 1000
_MOST_ACTIVE: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]+")
_ID: Final = re.compile(r"[1-9][0-9]*")
_SMALL: Final = re.compile(r"[0-9]{1,18}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class DatameerJobs:
    """Datameer's calls about jobs and definitions.

    Args:
        zone: in which times are written.
    """

    def __init__(self, store: Store, router: Router, zone: ZoneInfo, clock: Clock = now) -> None:
        self._store = store
        self._router = router
        self._zone = zone
        self._clock = clock

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""
        one = "/{id:[^/]+}"
        asked: dict[str, _Call] = {
            "/rest/job-configuration/job-status" + one: self.status,
            r"/api/job-execution/{reference:[\s\S]+}/status": self.status_v2,
            "/rest/job-configuration/job-history" + one: self.history,
            "/rest/job-execution/job-details" + one: self.details,
            "/rest/jobs/list-running": self.active,
        }
        done: dict[str, _Call] = {
            "/rest/job-execution": self.trigger,
            "/rest/job-execution/sequential": self.trigger_sequence,
            "/rest/job-execution/job-kill" + one: self.stop,
        }
        deleted: dict[str, _Call] = {
            "/rest/data" + one: self.delete,
            "/rest/workbook" + one: self.delete_definition,
            "/rest/import-job" + one: self.delete_definition,
            "/rest/export-job" + one: self.delete_definition,
        }
        for method, calls in (("GET", asked), ("HEAD", asked), ("POST", done), ("DELETE", deleted)):
            for path, call in calls.items():
                app.router.add_route(method, path + "{slash:/?}", partial(_answered, call))

    # --- what is asked --------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.Response:
        """Tell the latest run of a configuration."""
        scope = standing.scope(request)
        definition = await self._configuration(request.match_info["id"], scope)
        runs = await self._store.history.runs(definition.id, 1, scope=scope)
        return _json(words.short(runs[0]) if runs else {})

    async def status_v2(self, request: web.Request) -> web.Response:
        """Tell the latest run of a file: its id, its uuid or its path stands in the request's."""
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
        start = _whole(request, "start", 0)
        length = min(_whole(request, "length", _DEFAULT_LENGTH), _LONGEST_HISTORY)
        definition = await self._configuration(request.match_info["id"], scope)
        runs = await self._store.history.runs(definition.id, length, start, scope)
        return _json([words.short(job) for job in runs])

    async def details(self, request: web.Request) -> web.Response:
        """Tell all about an execution, in whichever dialect it was submitted."""
        job = await self._execution(request.match_info["id"], standing.scope(request))
        return _json(words.detailed(job, await self._name(job), self._zone))

    async def active(self, request: web.Request) -> web.Response:
        """List what runs or waits, in whichever dialect it was submitted."""
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
        """Run several configurations, each when the one before it has succeeded."""
        user = standing.changing(request).name
        texts = _configurations(request, most=_LONGEST_SEQUENCE)
        runs = await self._runs(request, texts, Trigger.SEQUENCE)
        return _json(words.sequence(await self._store.submissions.submit_chain(runs), user))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop an execution; one that has ended stays as it is."""
        asker = standing.changing(request)
        job = await self._execution(request.match_info["id"], asker.scope)
        try:
            await self._store.cancel(job.id, asker.scope, asker.name)
        except JobNotFound:  # nobody can ask for its result any more
            job = await self._store.history.visible(job.id, asker.scope)
            if job.state not in ENDED:
                raise _RefusedError(
                    f"job execution {job.id} cannot be stopped: its result was discarded"
                ) from None
        return web.Response(content_type="text/plain")

    async def delete(self, request: web.Request) -> web.Response:
        """Delete what is left of an execution that has ended."""
        scope = standing.changing(request).scope
        job = await self._execution(request.match_info["id"], scope)
        if job.state not in ENDED:
            raise _RefusedError(f"job execution {job.id} has not ended; stop it first")
        await self._store.results.discard(job.id, scope)
        return _json({"status": "success"})

    async def delete_definition(self, request: web.Request) -> web.Response:
        """Delete a configuration; its runs go on."""
        scope = standing.changing(request).scope
        definition = await self._configuration(request.match_info["id"], scope)
        await self._store.definitions.delete(definition.id, scope)
        return _json({"status": "success"})

    # --- what it takes --------------------------------------------------------------------------

    async def _configuration(self, text: str, scope: int | None) -> Definition:
        if not _ID.fullmatch(text):
            raise DefinitionNotFound(text)
        return await self._store.definitions.find(Key.ID, _number(text), scope)

    async def _file(self, reference: str, asker: Identity) -> Definition:
        """Find a definition as the second generation refers to it.

        Raises:
            _NoFileError: there is none.
        """
        find, scope = self._store.definitions.find, asker.scope
        try:
            if _NUMBER.fullmatch(reference):
                return await find(Key.FILE_ID, _number(reference), scope)
            if _UUID.fullmatch(reference):
                return await find(Key.UUID, reference.lower(), scope)
            path = normal_path("/" + reference.lstrip("/"))
            return await self._store.definitions.at(path, scope, asker.account)
        except (DefinitionNotFound, ValueError):
            raise _NoFileError from None

    async def _execution(self, text: str, scope: int | None) -> Job:
        if not _ID.fullmatch(text):
            raise JobNotFound(text)
        return await self._store.history.visible(_number(text), scope)

    async def _runs(
        self, request: web.Request, texts: Sequence[str], trigger: Trigger
    ) -> list[Submission]:
        identity, source = standing.changing(request), standing.source(request)
        found = {
            text: await self._configuration(text, identity.scope) for text in dict.fromkeys(texts)
        }
        runs = [self._run(found[text], identity, trigger) for text in texts]
        return [replace(run, source=source) for run in runs]

    def _run(self, definition: Definition, user: Identity, trigger: Trigger) -> Submission:
        asked = definition.draft.request
        target = self._router.owner(asked.method, asked.path).name
        return definition.run(target, Dialect.DATAMEER, user.name, trigger, user.account)

    async def _name(self, job: Job) -> str | None:
        """Tell the name of a job's definition, if it is a run of one."""
        if job.definition is None:
            return None
        return await self._store.history.definition_name(job.definition)

    async def _seconds_left(self, job: Job) -> float:
        if job.state is not State.RUNNING or job.started_at is None:
            return 0.0
        elapsed = max(0, self._clock() - job.started_at) / SECOND
        usual = await self._store.history.usual_duration(job)
        return words.seconds_left(elapsed, usual, job.progress)


class _BadParameterError(Exception):
    """A part of the request is missing or cannot be read."""


class _RefusedError(Exception):
    """What is asked for cannot be done as things stand."""


class _NoFileError(Exception):
    """There is no such file, or none that whoever asks may see."""


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in."""
    return _refusal(error)


async def _answered(call: _Call, request: web.Request) -> web.Response:
    """Answer a request by a call, or say why not."""
    try:
        return await call(request)
    except _BadParameterError as error:
        return _failure(400, str(error))
    except _RefusedError as error:
        return _failure(409, str(error))
    except _NoFileError:
        return _failure(404, _NO_FILE)
    except JobstoreError as error:
        return _refusal(error)


def _refusal(error: JobstoreError) -> web.Response:
    match error:
        case DefinitionNotFound(reference=reference):
            return _failure(404, f"no job configuration {reference}")
        case JobNotFound(reference=reference):
            return _failure(404, f"no job execution {reference}")
    if error.status is None:
        log.error("%s", error, extra={"action": "answer"})
        return _failure(500, "internal error")
    return _failure(error.status, str(error), refusals.retry_after(error))


def _failure(status: int, reason: str, headers: Mapping[str, str] = _NO_HEADERS) -> web.Response:
    return _json(words.failure(reason), status, headers)


def _json(
    value: object, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
) -> web.Response:
    """Answer with JSON, a member a line, as the documentation prints it: scripts cut it with grep.

    It is ASCII: the content type has no charset, as some clients compare it.
    """
    body = json.dumps(value, indent=2).encode()
    return web.Response(
        status=status, body=body, headers={"Content-Type": "application/json", **headers}
    )


def _configurations(request: web.Request, most: int) -> list[str]:
    """Read which configurations are to be run."""
    texts = request.query.getall("configuration", [])
    if not 1 <= len(texts) <= most or not all(_NUMBER.fullmatch(text) for text in texts):
        times = "once" if most == 1 else f"1 to {most} times"
        raise _BadParameterError(f"configuration: expected the id of a job configuration, {times}")
    return texts


def _number(text: str) -> int:
    return int(text[:20])  # twenty digits are too large already


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not _SMALL.fullmatch(text):
        raise _BadParameterError(f"{name}: expected a whole number")
    return int(text)


def _one_of_each_definition(jobs: Sequence[Job]) -> list[Job]:
    return list({job.definition: job for job in jobs}.values())
