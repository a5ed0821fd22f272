"""Jobs of a server on another machine, as its API writes them."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Final

from jobstore.cli.formats import ColumnKind
from jobstore.cli.plain import Complaint
from jobstore.cli.remote import Remote
from jobstore.cli.whereabouts import NO_JOBSTORE
from jobstore.cli.wording import JOB_COLUMNS
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Dialect, Failure, Job, Moment, Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.model.target_state import WaitReason

_PAGE: Final = 500
_WORDS: Final = {"state": State, "result": Result, "dialect": Dialect}
_MAYBE_WORDS: Final = {"failure": Failure, "trigger": Trigger}


@frozen
class RemoteJobs:
    """The jobs of a server.

    Args:
        remote: the server.
    """

    remote: Remote
    _waits: dict[int, WaitReason] = field(default_factory=dict, init=False)

    def waits_for(self, job: Job) -> WaitReason | None:
        """Return what a job that was asked for waits for, if it has not begun."""
        return self._waits.get(job.id)

    def one(self, job_id: int, wait: int | None = None) -> Job:
        """Look at a job.

        Args:
            wait: for how many seconds to wait for its end, or None.
        """
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        return self._told(self.remote.ask("GET", f"/_jobs/{job_id}", headers=headers))

    def pages(self, query: Mapping[str, object], limit: int | None = None) -> Iterator[list[Job]]:
        """List jobs, the newest first.

        Args:
            query: the filters of the list.
            limit: how many at most, or None for all.
        """
        cursor, left = None, limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            at: dict[str, object] = {} if cursor is None else {"cursor": cursor}
            page = self.remote.ask("GET", "/_jobs", query={**query, **at, "limit": size})
            jobs = [self._told(each) for each in page["jobs"]]
            if jobs:
                yield jobs
            left = None if left is None else left - len(jobs)
            cursor = page["next"]
            if cursor is None:
                return

    def _told(self, said: Mapping[str, Any]) -> Job:
        try:
            job = job_of(said)
        except (ValueError, TypeError, AttributeError) as error:
            raise Complaint(f"{self.remote.url}: {NO_JOBSTORE}, or a newer one: {error}") from None
        if said.get("waits_for") is not None:
            self._waits[job.id] = WaitReason(said["waits_for"])
        return job

    def timeline(self, job_id: int) -> list[Moment]:
        """List the events of a job, in order."""
        said = self.remote.ask("GET", f"/_jobs/{job_id}/timeline")["timeline"]
        return [
            Moment(job_id=job_id, at=moment(each["at"]), event=each["event"], detail=each["detail"])
            for each in said
        ]

    def attempts(self, job_id: int) -> list[Attempt]:
        """List the attempts at a job, in order."""
        return [
            Attempt(
                number=each["number"],
                started_at=moment(each["started_at"]),
                ended_at=None if each["ended_at"] is None else moment(each["ended_at"]),
                status=each["status"],
                failure=None if each["failure"] is None else Failure(each["failure"]),
                detail=each["detail"],
            )
            for each in self.remote.ask("GET", f"/_jobs/{job_id}/attempts")["attempts"]
        ]


def job_of(said: Mapping[str, Any]) -> Job:
    """Read a job as the API writes it; what it says beyond that is passed over."""
    values: dict[str, Any] = {name: said.get(name) for name in Job.__dataclass_fields__}
    for name, value in values.items():
        if JOB_COLUMNS.get(name) is ColumnKind.TIME:
            values[name] = None if value is None else moment(value)
    for name, kind in _WORDS.items():
        values[name] = kind(values[name])
    for name, maybe in _MAYBE_WORDS.items():
        values[name] = None if values[name] is None else maybe(values[name])
    return Job(**{**values, "once": False, "account": 0})  # which are no client's business


def moment(text: str) -> int:
    """Read a time as the API writes it; give it in microseconds since 1970."""
    at = datetime.fromisoformat(text)
    return int(at.timestamp()) * SECOND + at.microsecond
