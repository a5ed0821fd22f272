"""One job of a server on another machine, in detail."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from jobstore.cli.content import Excerpt
from jobstore.cli.remote import Remote
from jobstore.cli.remote_jobs import RemoteJobs, moment
from jobstore.cli.sheet import Part, Sheet
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.model.message import REDACTED
from jobstore.model.target_state import Hold, TargetSeen, TargetState
from jobstore.model.waiting_words import OF_TARGET
from jobstore.store.search import CANCEL_ASKED, asker

_FOUND: Final = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}


@frozen
class RemoteSheets:
    """The jobs of a server, with what it tells of them.

    Args:
        remote: the server.
    """

    remote: Remote

    def sheet(self, job_id: int, most: int | None) -> Sheet:
        """Return all that is told of a job.

        Args:
            most: how many bytes of a body are shown, or None for all.
        """
        jobs = RemoteJobs(self.remote)
        job, timeline = jobs.one(job_id), jobs.timeline(job_id)
        heads = self.remote.ask("GET", f"/_jobs/{job_id}/messages")
        return Sheet(
            job=job,
            waits_for=jobs.waits_for(job),
            target=self._target(job) if jobs.waits_for(job) in OF_TARGET else None,
            definition=None if job.definition is None else str(job.definition),
            cancelled_by=_canceller(timeline),
            attempts=jobs.attempts(job_id),
            request=self._part(job_id, "request", heads["request"], most),
            response=self._part(job_id, "response", heads["response"], most),
            timeline=timeline,
        )

    def _target(self, job: Job) -> TargetSeen | None:
        """Return the state of a job's target, if we may see targets."""
        answer = self.remote.send("GET", "/_jobs/targets")
        if answer.status != HTTPStatus.OK:
            return None
        told = json.loads(answer.body)["targets"]
        return next((_seen(each) for each in told if each["name"] == job.target), None)

    def _part(
        self, job_id: int, side: Literal["request", "response"], head: Any, most: int | None
    ) -> Part | None:
        """Get what is shown of a message.

        Args:
            head: what is told of its head, or None if it is not kept.
        """
        if head is None or head["size"] is None:
            return None
        headers = tuple(
            (each["name"], REDACTED if each["secret"] else each["value"])
            for each in head["headers"]
        )
        size = head["size"]
        data = self._beginning(f"/_jobs/{job_id}/{side}", size if most is None else min(size, most))
        return None if data is None else Part(headers, Excerpt(data, size), head.get("reason"))

    def _beginning(self, path: str, count: int) -> bytes | None:
        """Get this many bytes of a body; None if it has gone meanwhile."""
        if count == 0:
            return b""
        answer = self.remote.send("GET", path, headers={"Range": f"bytes=0-{count - 1}"})
        return answer.body[:count] if answer.status in _FOUND else None


def _canceller(timeline: list[Moment]) -> str | None:
    """Return who asked for a cancellation; the last one who did."""
    asked = [each.detail for each in timeline if each.event == CANCEL_ASKED and each.detail]
    return asker(asked[-1]) if asked else None


def _seen(said: Mapping[str, Any]) -> TargetSeen:
    """Read a target as the API describes it."""
    return TargetSeen(
        name=said["name"],
        concurrency=said["concurrency"],
        configured=said["configured"],
        running=said["running"],
        waiting=said["waiting"],
        state=TargetState(
            name=said["name"],
            paused_at=moment(said["paused_at"]) if said["paused"] else None,
            paused_by=said["paused_by"],
            reason=said["reason"],
        ),
        hold=Hold(since=moment(said["held_at"]), why=said["held_why"]) if said["held"] else None,
    )
