"""Act on many jobs in a store, beside its server or without one."""

import json
from typing import Any

import click

from jobstore.cli import filters
from jobstore.cli.acting import WantedAction, act
from jobstore.cli.beside import is_served, operator, target_of
from jobstore.cli.places import Place, place_of
from jobstore.cli.plain import Complaint, write_json
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.live import Store
from jobstore.model import words
from jobstore.model.bulk import BulkAction, BulkOperation, BulkOrder, BulkState, described
from jobstore.model.job import Job
from jobstore.store import bulk
from jobstore.store.search import Search


async def act_here(config: Config, wanted: WantedAction, *, yes: bool, as_json: bool) -> None:
    """Act on jobs of the configured store."""
    place = place_of(config)
    async with place.store(store_limits(config)) as store:
        if wanted.one and wanted.action is BulkAction.RESTORE:
            await _restore_one(store, wanted.ids[0], as_json=as_json)
            return
        actor = _StoreActor(config, place, store, wanted)
        await act(actor, wanted, yes=yes, as_json=as_json)


async def _restore_one(store: Store, job_id: int, *, as_json: bool) -> None:
    await store.results.restore(job_id)
    if as_json:
        write_json({"restored": job_id})
    else:
        click.echo(f"The result of job {job_id} can be fetched again.")


class _StoreActor:
    """Act on a store, beside its server or without one; see `jobstore.cli.acting.Actor`."""

    def __init__(self, config: Config, place: Place, store: Store, wanted: WantedAction) -> None:
        self._config = config
        self._place = place
        self._store = store
        self._wanted = wanted
        self._matched = bulk.named(wanted.ids)

    async def count(self) -> tuple[int, int]:
        """Return how many jobs match."""
        wanted = self._wanted
        if not wanted.ids:
            search = Search()
            if not wanted.everything:
                search = await filters.search_of(self._store.history, self._place, wanted.asked)
                if not bulk.selects(search):
                    raise Complaint("these filters match every job; say --all if you mean all jobs")
            self._matched = await self._store.operations.match(wanted.action, search)
        return self._matched.count, self._matched.secret

    async def job(self, job_id: int) -> Job:
        """Look at a job."""
        return await self._store.history.job(job_id)

    async def make(self, expect: int) -> int:
        """Make the operation."""
        return await self._store.operations.make(self._order(), self._matched, expect)

    def _order(self) -> BulkOrder:
        wanted = self._wanted
        return BulkOrder(
            action=wanted.action,
            filter=None if wanted.ids else _as_json(wanted),
            owner=operator(),
            without_secrets=wanted.without_secrets,
        )

    async def look(self, operation: int) -> dict[str, Any]:
        """Return its progress; do all of it if no server runs."""
        operations = self._store.operations
        found = await operations.get(operation)
        if found.state is BulkState.RUNNING and not await is_served(self._place):
            await operations.finish(operation, self._target_of)
            found = await operations.get(operation)
            if found.state is BulkState.RUNNING:
                left = words.plural(_left(found), "job is", "jobs are")
                raise Complaint(
                    f"operation {operation} waits: {found.waits}; {left} left, which the next "
                    "server will do"
                )
        return described(found)

    def _target_of(self, _: str, path: str) -> str:
        return target_of(self._config, path)


def _left(operation: BulkOperation) -> int:
    return operation.total - operation.done - operation.skipped


def _as_json(wanted: WantedAction) -> str:
    return json.dumps({"all": True} if wanted.everything else filters.as_written(wanted.asked))
