"""One job with all that is kept of it, on a sheet for people or as JSON for scripts."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from jobstore.cli import content
from jobstore.cli.content import Excerpt
from jobstore.cli.job_table import STATE_STYLES, state_text, status_style
from jobstore.cli.plain import printable
from jobstore.cli.table import Column, Table, write_facts
from jobstore.cli.terminal import write
from jobstore.cli.wording import age, as_fields, lasting, took, why_no_response
from jobstore.model import clock
from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Job, Moment
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers, legible
from jobstore.model.target_state import TargetSeen, WaitReason
from jobstore.model.waiting_words import why_it_waits
from jobstore.model.words import status_line

_INDENT: Final = 2
_OF_ATTEMPTS: Final = (Column(),) * 5
_OF_TIMELINE: Final = (Column(),) * 4


@frozen
class Part:
    """What is shown of a request or a response.

    Args:
        headers: its fields, without secrets.
        body: what was read of its body.
        reason: a response's own reason phrase, if it has one.
    """

    headers: Headers
    body: Excerpt
    reason: str | None = None

    def as_json(self, *, in_hex: bool) -> dict[str, Any]:
        """Return everything but the start line for JSON."""
        headers = [(legible(name), legible(value)) for name, value in self.headers]
        return {"headers": headers} | content.as_json(self.body, in_hex=in_hex)


@frozen(kw_only=True)
class Sheet:
    """A job with all that is kept of it.

    Args:
        definition: the name of the definition that it is a run of.
        waits_for: what it waits for, if it has not begun.
        target: the state of its target, if it has not begun and that is known.
        cancelled_by: who asked for its cancellation, if that is known.
    """

    job: Job
    definition: str | None
    waits_for: WaitReason | None
    target: TargetSeen | None
    cancelled_by: str | None
    request: Part | None
    response: Part | None
    attempts: Sequence[Attempt]
    timeline: Sequence[Moment]

    def as_json(self, *, in_hex: bool = False) -> dict[str, Any]:
        """Return everything for JSON."""
        timeline = [
            {"at": iso(moment.at), "event": moment.event, "detail": moment.detail}
            for moment in self.timeline
        ]
        return as_fields(self.job) | {
            "waits_for": self.waits_for,
            "definition_name": self.definition,
            "cancelled_by": self.cancelled_by,
            "request": self.request and self.request.as_json(in_hex=in_hex),
            "response": self.response
            and {"reason": self.response.reason and legible(self.response.reason)}
            | self.response.as_json(in_hex=in_hex),
            "attempts": [_as_object(attempt) for attempt in self.attempts],
            "timeline": timeline,
        }

    def print(self, console: Console, *, in_hex: bool = False) -> None:
        """Write everything for people."""
        job = self.job
        request_line = Text(printable(f"{job.method} {job.path}"), "bold")
        job_line = Text.assemble((f"Job {job.id}", "bold"), "  ", state_text(job, self.waits_for))
        write(console, job_line.append("  ").append(request_line))
        if job.state is State.QUEUED:
            why = why_it_waits(job, self.waits_for, self.target, clock.now())
            write(console, Text(printable(why), STATE_STYLES[job.state]), _INDENT)
        facts = _facts(job, self.definition, self.cancelled_by)
        write_facts(console, facts, _INDENT)
        for title, line, part, otherwise in (
            ("Request", request_line, self.request, "no longer kept"),
            ("Response", _status(job, self.response), self.response, why_no_response(job)),
        ):
            _print_part(console, (title, otherwise), line, part, in_hex=in_hex)
        if len(self.attempts) > 1:
            write(console, Text("\nAttempts", "bold"))
            Table(console, _OF_ATTEMPTS, _INDENT).write(list(_attempts(self.attempts)))
        write(console, Text("\nTimeline", "bold"))
        Table(console, _OF_TIMELINE, _INDENT).write(list(_timeline(self.timeline)))


def _facts(
    job: Job, definition: str | None, cancelled_by: str | None
) -> Iterator[tuple[str, Text]]:
    """Describe a job; leave out what it does not have."""
    now = clock.now()
    yield "Target", Text(printable(job.target))
    yield "Dialect", Text(job.dialect)
    if job.owner:
        yield "Owner", Text(printable(job.owner))
    for name, words in _links(job, definition):
        yield name, Text(printable(words))
    if job.priority:
        yield "Priority", Text(str(job.priority))
    if job.status is not None:
        yield "Status", Text(status_line(job.status), status_style(job.status))
    if job.detail is not None:
        said = job.failure is None or job.failure in job.detail.partition(":")[0]
        why = job.detail if said else f"{job.failure}: {job.detail}"
        yield "Because", Text(printable(why), STATE_STYLES[job.state])
    if job.result is not Result.NONE:
        yield "Result", Text(job.result)
    for name, words in (*_times(job, now, cancelled_by), *_reports(job)):
        yield name, Text(words)


def _links(job: Job, definition: str | None) -> Iterator[tuple[str, str]]:
    """Describe how a job is related to definitions, other jobs and its client."""
    if job.definition is not None:
        started = f", started by {job.trigger}" if job.trigger else ""
        yield "Definition", f"{definition} ({job.definition}){started}"
    if job.tag is not None:
        yield "Tag", job.tag
    if job.follows is not None:
        yield "Follows", f"job {job.follows}"


def _times(job: Job, now: int, cancelled_by: str | None) -> Iterator[tuple[str, str]]:
    yield "Submitted", f"{iso(job.submitted_at)}  ({age(job.submitted_at, now)} ago)"
    if job.not_before is not None:
        yield "Not before", iso(job.not_before)
    if job.started_at is not None:
        yield "Started", f"{iso(job.started_at)}  (attempt {job.attempt})"
    if job.cancel_asked_at is not None:
        by = f"  (by {printable(cancelled_by)})" if cancelled_by else ""
        yield "Cancel asked", iso(job.cancel_asked_at) + by
    if job.finished_at is not None:
        ran = f"  (took {took(job, now)})" if job.started_at is not None else ""
        yield "Finished", iso(job.finished_at) + ran
    elif job.state is State.RUNNING:
        yield "Running for", took(job, now)
    if job.fetched_at is not None:
        yield "Fetched", f"{iso(job.fetched_at)}  ({age(job.fetched_at, now)} ago)"


def _reports(job: Job) -> Iterator[tuple[str, str]]:
    if job.progress is not None:
        yield "Progress", f"{job.progress:g} %"
    for name, number in job.counters.items():
        yield printable(name), f"{number:,}"
    if job.warnings:
        yield "Warnings", f"{job.warnings:,}"


def _status(job: Job, response: Part | None) -> Text:
    if job.status is None or response is None:
        return Text()
    return Text(status_line(job.status, printable(response.reason or "")), "bold")


def _print_part(
    console: Console, titles: tuple[str, str], start_line: Text, part: Part | None, *, in_hex: bool
) -> None:
    title, otherwise = titles
    console.print()
    if part is None:
        write(console, Text.assemble((title, "bold"), "  ", (otherwise, "dim")))
        return
    write(console, Text(title, "bold"))
    write(console, start_line, _INDENT)
    for name, value in part.headers:
        line = Text.assemble((f"{printable(name)}: ", "cyan"), printable(value))
        write(console, line, _INDENT)
    if part.body.size:
        console.print()
        write(console, content.as_text(part.body, in_hex=in_hex), _INDENT)


def _attempts(attempts: Sequence[Attempt]) -> Iterator[list[Text]]:
    for attempt in attempts:
        took = "" if attempt.ended_at is None else lasting(attempt.ended_at - attempt.started_at)
        status = "" if attempt.status is None else f"status {attempt.status}"
        yield [
            Text(str(attempt.number)),
            Text(iso(attempt.started_at)),
            Text(took),
            Text(attempt.failure or status),
            Text(printable(attempt.detail or "")),
        ]


def _as_object(attempt: Attempt) -> dict[str, Any]:
    ended_at = None if attempt.ended_at is None else iso(attempt.ended_at)
    return asdict(attempt) | {"started_at": iso(attempt.started_at), "ended_at": ended_at}


def _timeline(moments: Sequence[Moment]) -> Iterator[list[Text]]:
    for moment in moments:
        yield [
            Text(iso(moment.at)),
            Text(f"+{lasting(moment.at - moments[0].at)}", "dim"),
            Text(printable(moment.event), "bold"),
            Text(printable(moment.detail or "")),
        ]
