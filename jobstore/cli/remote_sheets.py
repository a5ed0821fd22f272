"""One job of a server on another machine, in detail."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from jobstore.cli.content import Excerpt
from jobstore.cli.remote import Remote
from jobstore.cli.remote_jobs import RemoteJobs
from jobstore.cli.sheet import Part, Sheet
from jobstore.model.job import Moment
from jobstore.store.search import CANCEL_ASKED, asker

# Of the headers, the API tells what says something about a body.
_TOLD: Final = ("Content-Type", "Content-Encoding", "Content-Language")


@dataclass(frozen=True, slots=True)
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
        return Sheet(
            job=job,
            waits_for=jobs.waits_for(job),
            definition=None if job.definition is None else str(job.definition),
            cancelled_by=_canceller(timeline),
            attempts=jobs.attempts(job_id),
            request=self._part(job_id, "request", most),
            response=self._part(job_id, "response", most),
            timeline=timeline,
        )

    def _part(
        self, job_id: int, side: Literal["request", "response"], most: int | None
    ) -> Part | None:
        answer = self.remote.send("GET", f"/_jobs/{job_id}/{side}")
        if answer.status != HTTPStatus.OK:
            return None
        told = answer.headers
        headers = tuple((name, told[name.lower()]) for name in _TOLD if name.lower() in told)
        return Part(headers, Excerpt(answer.body[:most], len(answer.body)))


def _canceller(timeline: list[Moment]) -> str | None:
    """Return who asked for a cancellation; the last one who did."""
    asked = [each.detail for each in timeline if each.event == CANCEL_ASKED and each.detail]
    return asker(asked[-1]) if asked else None
