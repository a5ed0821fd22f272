"""What a server does in its store by itself: recover, clean up, and look after the file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from jobstore.job import Replay
from jobstore.store import definition_statements as definitions
from jobstore.store import upkeep_statements as upkeep_sql
from jobstore.store import upkeep_transitions as steps
from jobstore.store.bodies import Bodies
from jobstore.store.dispatch import Dispatcher
from jobstore.store.sqlite import Connection, checkpoint
from jobstore.store.steps import STEP, in_steps, until_none
from jobstore.store.transitions import Aftermath
from jobstore.store.watchers import Watchers
from jobstore.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of a server; times in microseconds since 1970."""

    pid: int
    started_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A claim that an earlier start of a server left behind."""

    job_id: int
    boot: int
    method: str
    path: str
    attempt: int
    cancel_asked_at: int | None
    retried: int
    replay: Replay | None


class Upkeep:
    """Keep a store in order; long work is done in steps, so that it stalls nobody.

    Args:
        writer: the one writer.
        reader: a connection for reading.
        bodies: the large bodies.
        dispatcher: who has to know what waits.
        watchers: who wants to know what becomes of a job.
        boot: the number of this start of the server.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it is put together in one place
        self,
        writer: Writer,
        reader: Connection,
        bodies: Bodies,
        dispatcher: Dispatcher,
        watchers: Watchers,
        boot: int,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._bodies = bodies
        self._dispatcher = dispatcher
        self._watchers = watchers
        self._boot = boot

    async def orphans(self) -> list[Orphan]:
        """List some of the claims that earlier starts of a server left behind."""
        rows = await self._reader.rows(upkeep_sql.ORPHANS, boot=self._boot, limit=STEP)
        return [replace(Orphan(*row), replay=row[-1] and Replay(row[-1])) for row in rows]

    async def boot_of(self, orphan: Orphan) -> Boot:
        """Tell which start of the server made a claim."""
        return Boot(*await self._reader.row(upkeep_sql.GET_BOOT, boot=orphan.boot))

    async def recover(self, ids: Sequence[int], detail: str) -> None:
        """Queue orphaned jobs again."""
        await self._writer.run(lambda tx: steps.recover(tx, ids, detail), self._dispatcher.requeued)

    async def fail_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs that must not run again."""
        await self._writer.run(
            lambda tx: steps.fail_orphans(tx, ids, detail),
            lambda done: self._ended(ids, done),
        )

    async def cancel_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs whose cancellation was asked for."""
        await self._writer.run(
            lambda tx: steps.cancel_orphans(tx, ids, detail),
            lambda done: self._ended(ids, done),
        )

    def _ended(self, ids: Sequence[int], aftermath: Aftermath) -> None:
        self._dispatcher.followed(aftermath)
        self._watchers.tell(*ids, *aftermath.cancelled)

    async def queued_targets(self) -> list[str]:
        """Name the targets that jobs are queued for."""
        targets: list[str] = []
        while name := (
            await self._reader.row(upkeep_sql.NEXT_QUEUED_TARGET, after="".join(targets[-1:]))
        )[0]:
            targets.append(name)
        return targets

    async def reroute(self, old: str, new: str) -> int:
        """Queue the jobs of a target that is gone for another one; return how many."""
        rerouted = await in_steps(
            self._writer,
            lambda tx: tx.execute(upkeep_sql.REROUTE, old=old, new=new, limit=STEP).rowcount,
        )
        self._dispatcher.enqueued(new)
        return rerouted

    async def purge(self, before: int) -> int:
        """Drop payloads that nobody could ask for since before a time; return how many."""
        return await in_steps(self._writer, lambda tx: steps.purge_step(tx, before, STEP))

    async def forget(self, before: int) -> int:
        """Remove jobs from the history that ended before a time; return how many.

        Ids are in order of submission, so the search ends at the first job submitted too late.
        """
        forgotten = after = 0
        while rows := await self._reader.rows(upkeep_sql.BY_AGE, after=after, limit=STEP):
            after = rows[-1][0]
            ids = [row[0] for row in rows if row[2] is not None and row[2] < before]
            if ids:
                forgotten += await self._writer.run(partial(steps.forget, ids=ids))
            if rows[-1][1] >= before:
                break
        if forgotten:
            await self._writer.run(lambda tx: tx.execute(definitions.DROP).rowcount)
        return forgotten

    async def sweep(self) -> int:
        """Delete the bodies that belong to no job; return how many rows went away."""
        return await until_none(self._bodies.sweep)

    async def checkpoint(self) -> None:
        """Move the WAL into the file and cut it to nothing, if nothing else is to do."""
        if self._writer.idle:
            await self._writer.call(checkpoint)
