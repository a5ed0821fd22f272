"""The page of one job: what happened to it, its messages, and how to get them elsewhere.

Looking does not take the result: it stays held for its reader.
"""

from mimetypes import guess_extension
from typing import Any, Final

from aiohttp import web

from jobstore.dashboard import bodies
from jobstore.dashboard.acting import can_undo, offers
from jobstore.dashboard.bodies import Look, Shown
from jobstore.dashboard.draw.waterfall import LAYOUTS, waterfall
from jobstore.dashboard.like import like_it
from jobstore.dashboard.pages import HARDENED, render
from jobstore.dashboard.story import KnownJob, told
from jobstore.dashboard.visit import PageRoute, Routes, Visit, id_in_path, job_of
from jobstore.model import clock
from jobstore.model.errors import NotKept, QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.model.message import REDACTED, Headers, Request, Response, header, legible
from jobstore.model.target_state import TargetSeen, WaitReason
from jobstore.model.waiting_words import OF_TARGET
from jobstore.model.words import status_line
from jobstore.store import questions
from jobstore.store.events import operation_of
from jobstore.store.kin import kin
from jobstore.web import ranges

_ONE: Final = r"{id:[0-9]+}"
# What is said of a job in its history, by the colour of its dot.
_TONES: Final = {
    "started": "run",
    "done": "done",
    "failed": "fail",
    "retried": "fail",
    "held": "wait",
    "recovered": "fail",
    "delivery broken": "fail",
    "cancelled": "cancel",
    "cancel asked": "cancel",
    "warned": "cancel",
    "fetched": "done",
    "followed by": "done",
    "released": "done",
}
_UNKNOWN: Final = ("Content-Type", "application/octet-stream")  # RFC 9110 section 8.3


@frozen(kw_only=True)
class Message:
    """A request or a response on the page.

    Args:
        name: which of them.
        status: the response's, with its phrase.
        fields: its headers, and whether each was secret.
        body: what is shown of its body; None if nothing is kept of the message.
        missing: why nothing is.
    """

    name: str
    status: str = ""
    fields: tuple[tuple[str, str, bool], ...] = ()
    body: Shown | None = None
    missing: str = ""


@frozen(kw_only=True)
class TimelineEntry:
    """What happened to a job at a moment.

    Args:
        tone: the colour of its dot.
        told: its detail, without the operation on many jobs that it ends with.
        operation: the id of that, or None.
    """

    moment: Moment
    tone: str
    told: str
    operation: int | None


async def show(visit: Visit) -> web.Response:
    """Show a job."""
    look, known = _look(visit.request), await _known(visit)
    job = known.job
    offered = await offers(visit, job)
    return render(
        visit.request,
        "job.html",
        job=job,
        look=look,
        looks=list(Look),
        story=told(known),
        drawings=[
            waterfall(job, known.attempts, known.timeline, known.now, layout) for layout in LAYOUTS
        ],
        timeline=[_entry(job, each) for each in known.timeline],
        lasted=(job.finished_at or known.now) - job.submitted_at,
        ended=job.state in ENDED,
        messages=await _messages(visit, job, look),
        policy=await visit.store.history.policy(job.id),
        asker=known.asker,
        offers=offered,
        undo=can_undo(job, offered, known.timeline),
        **await _related(visit, known),
    )


def _entry(job: Job, moment: Moment) -> TimelineEntry:
    operation, told = operation_of(moment), moment.detail or ""
    return TimelineEntry(
        moment=moment,
        tone=_tone(job, moment),
        told=told if operation is None else told.removesuffix(f"operation {operation}"),
        operation=operation,
    )


def _tone(job: Job, moment: Moment) -> str:
    """Return the colour of a moment; an error as the answer is as bad as none."""
    wrong = moment.event == "done" and not job.succeeded
    return "fail" if wrong else _TONES.get(moment.event, "wait")


def _look(request: web.Request) -> Look:
    """Read how to show bodies.

    Raises:
        QueryInvalid: it is unknown.
    """
    try:
        return Look(request.query.get("body", Look.PRETTY))
    except ValueError:
        raise QueryInvalid(f"body: expected one of {', '.join(Look)}") from None


async def _known(visit: Visit) -> KnownJob:
    history = visit.store.history
    record = await history.record(id_in_path(visit), visit.scope)
    job, waits = record.job, visit.store.targets.waits_for(record.job)
    askers = await questions.askers(history, [job])
    return KnownJob(
        job=job,
        attempts=record.attempts,
        timeline=record.timeline,
        waits=waits,
        target=await _target(visit, job, waits),
        asker=askers.get(job.id),
        now=clock.now(),
    )


async def _target(visit: Visit, job: Job, waits: WaitReason | None) -> TargetSeen | None:
    """Return the state of the target that a job waits for, to those who may see targets."""
    if waits not in OF_TARGET or visit.scope is not None:
        return None
    return await visit.store.targets.one(job.target)


# --- what it has to do with others --------------------------------------------------------------


async def _related(visit: Visit, known: KnownJob) -> dict[str, Any]:
    job = known.job
    named = job.definition is not None
    definition = await visit.store.history.definition_name(job.definition or 0) if named else None
    return {
        "definition": definition,
        "path": job.path.partition("?")[0],
        "like": await like_it(visit, job, known.now),
        "kin": await kin(visit.store.history, job, known.timeline, visit.scope),
    }


# --- its messages -------------------------------------------------------------------------------


async def _messages(visit: Visit, job: Job, look: Look) -> tuple[Message, Message]:
    asked, answered = await kept(visit, job)
    return (
        Message(name="request", missing=_why_no_request(job))
        if asked is None
        else Message(
            name="request",
            fields=_fields(asked.headers),
            body=await bodies.look_at(asked.body, asked.headers, look),
        ),
        Message(name="response", missing=_why_no_response(job), status=_status(job))
        if answered is None
        else Message(
            name="response",
            status=_status(job, answered.reason),
            fields=_fields(answered.headers),
            body=await bodies.look_at(answered.body, answered.headers, look),
        ),
    )


async def kept(visit: Visit, job: Job) -> tuple[Request | None, Response | None]:
    """Read what is kept of a job's messages, and may still be seen."""
    if job.result is Result.DELETED:
        return None, None
    history = visit.store.history
    return await history.request(job), await history.response(job)


def _fields(headers: Headers) -> tuple[tuple[str, str, bool], ...]:
    return tuple((legible(name), legible(value), value == REDACTED) for name, value in headers)


def _status(job: Job, reason: str | None = None) -> str:
    if job.status is None:
        return ""
    return status_line(job.status, legible(reason) if reason else None)


def _why_no_request(job: Job) -> str:
    return "It was deleted." if job.result is Result.DELETED else "It is no longer kept."


def _why_no_response(job: Job) -> str:
    """Say why there is no answer to show."""
    if job.state not in ENDED:
        return "There is none yet."
    match job.result:
        case Result.DELETED:
            return "It was deleted."
        case Result.UNWANTED:
            return "It was not kept: the job was submitted without keeping the result."
        case Result.EXPIRED:
            return "It is no longer kept: nobody fetched it in time."
        case Result.TAKEN if job.state is State.DONE:
            return "It is no longer kept: it was fetched."
        case _:
            return (
                f"The target gave none: {job.failing}. Who fetches "
                f"the result gets {status_line(job.status or 503)}, and in words that reason."
            )


async def give(visit: Visit) -> web.StreamResponse:
    """Answer with a body as a file; browsers must not display it, since it may be anything."""
    job, which = await job_of(visit), visit.request.match_info["which"]
    asked, answered = await kept(visit, job)
    message = asked if which == "request" else answered
    if message is None:
        why = _why_no_request(job) if which == "request" else _why_no_response(job)
        raise NotKept(job.id, which, why.rstrip("."))
    kind = header(message.headers, "content-type")
    name = f"job-{job.id}-{which}{_ending(kind)}"
    headers = (("Content-Type", kind) if kind else _UNKNOWN,)
    extra = (
        *HARDENED.items(),
        ("Cache-Control", "no-store"),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    )
    response = Response(status=200, headers=headers, body=message.body)
    return await ranges.show(visit.request, response, extra)


def _ending(kind: str | None) -> str:
    return guess_extension((kind or "").partition(";")[0].strip()) or ".bin"


ROUTES: Final[Routes] = (
    PageRoute("GET", _ONE, show),
    PageRoute("GET", _ONE + "/{which:request|response}", give),
)
