"""Act on many jobs through the API of a server on another machine."""

from typing import Any

from jobstore.cli import filters
from jobstore.cli.acting import WantedAction, act
from jobstore.cli.remote import Remote
from jobstore.cli.remote_jobs import RemoteJobs
from jobstore.model.job import Job


async def act_afar(remote: Remote, wanted: WantedAction, *, yes: bool, as_json: bool) -> None:
    """Act on jobs of a server."""
    await act(_ServerActor(remote, wanted), wanted, yes=yes, as_json=as_json)


class _ServerActor:
    """Act through the API of a server; see `jobstore.cli.acting.Actor`."""

    def __init__(self, remote: Remote, wanted: WantedAction) -> None:
        self._remote = remote
        which: dict[str, Any] = (
            {"ids": [*wanted.ids]}
            if wanted.ids
            else {"filter": {"all": True} if wanted.everything else filters.query_of(wanted.asked)}
        )
        self._document = {"action": wanted.action, **which}
        if wanted.without_secrets:
            self._document["without_secrets"] = True

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match."""
        said = self._remote.ask("POST", "/_jobs/operations", {**self._document, "dry_run": True})
        return said["count"], said["forgotten"]

    async def job(self, job_id: int) -> Job:
        """Look at a job."""
        return RemoteJobs(self._remote).one(job_id)

    async def make(self, expect: int) -> int:
        """Make the operation."""
        said = self._remote.ask("POST", "/_jobs/operations", {**self._document, "expect": expect})
        return int(said["id"])

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress."""
        said: dict[str, Any] = self._remote.ask("GET", f"/_jobs/operations/{operation}")
        return said
