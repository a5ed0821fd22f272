"""What a server does in its store by itself: recover, clean up, and look after the file."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from jobstore.model.clock import Clock
from jobstore.model.job import Replay
from jobstore.store import definitions, recovery, retention
from jobstore.store.bodies import SWEPT_FIRST, Bodies
from jobstore.store.facts import Changes
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import mixture, pages
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.writer import Writer
from jobstore.store.steps import FIRST, STEP, Steps

# For how long nothing must have come in before the file is made smaller.
QUIET_SECONDS: Final = 0.1
# How often to look at the length of the WAL, while anything is written.
WAL_LOOK_SECONDS: Final = 0.02


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
        bodies: the large bodies.
        steps: how long work is done.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it is put together in one place
        self,
        writer: Writer,
        reader: Connection,
        bodies: Bodies,
        steps: Steps,
        boot: int,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._bodies = bodies
        self._steps = steps
        self._boot = boot
        self._clock = clock
        self._renewed: tuple[int, int] | None = None
        self._written = asyncio.Event()

    async def orphans(self) -> list[Orphan]:
        """List some of the claims that earlier starts of a server left behind."""
        rows = await self._reader.rows(recovery.ORPHANS, boot=self._boot, limit=STEP)
        return [replace(Orphan(*row), replay=row[-1] and Replay(row[-1])) for row in rows]

    async def boot_of(self, orphan: Orphan) -> Boot:
        """Tell which start of the server made a claim."""
        return Boot(*await self._reader.row(recovery.GET_BOOT, boot=orphan.boot))

    async def recover(self, ids: Sequence[int], detail: str) -> None:
        """Queue orphaned jobs again."""
        await self._steps.over(ids, lambda tx, some: recovery.recover(tx, some, detail))

    async def fail_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs that must not run again."""
        await self._steps.over(ids, lambda tx, some: recovery.fail_orphans(tx, some, detail))

    async def cancel_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs whose cancellation was asked for."""
        await self._steps.over(ids, lambda tx, some: recovery.cancel_orphans(tx, some, detail))

    async def queued_targets(self) -> list[str]:
        """Name the targets that jobs are queued for."""
        targets: list[str] = []
        while name := (
            await self._reader.row(recovery.NEXT_QUEUED_TARGET, after="".join(targets[-1:]))
        )[0]:
            targets.append(name)
        return targets

    async def reroute(self, old: str, new: str) -> int:
        """Queue the jobs of a target that is gone for another one; return how many."""
        return await self._steps.all(lambda tx, limit: recovery.reroute(tx, old, new, limit))

    async def purge(self, before: int) -> int:
        """Delete payloads unavailable since before a time; return how many."""
        return await self._steps.all(lambda tx, limit: retention.purge_step(tx, before, limit))

    async def redate(self) -> int:
        """Take times that lie more than a day ahead for now: the clock had been wrong.

        Returns:
            how many jobs had such times.
        """
        return await self._steps.all(retention.redate)

    async def forget(self, before: int) -> int:
        """Remove jobs from the history that ended before a time; return how many.

        Ids are in order of submission, so the search ends at the first job submitted too late; one
        that was submitted in the future says nothing about those after it.
        """
        forgotten = after = 0
        while rows := await self._reader.rows(retention.BY_AGE, after=after, limit=STEP):
            after = rows[-1][0]
            ids = [row[0] for row in rows if row[2] is not None and row[2] < before]
            forgotten += sum(await self._steps.over(ids, retention.forget))
            if before <= rows[-1][1] <= self._clock():
                break
        if forgotten:
            await self._writer.run(lambda tx: tx.execute(definitions.DROP).rowcount)
        return forgotten

    async def sweep(self) -> int:
        """Delete the bodies that belong to no job; return how many rows went away."""
        return await self._steps.all(self._bodies.sweep, SWEPT_FIRST)

    # --- the file -------------------------------------------------------------------------------

    async def shrink(self, *, wholly: bool = False) -> int:
        """Give back what is free in the file, a little at a time, while nobody asks for anything.

        Args:
            wholly: whether to keep nothing of it for what comes next.

        Returns:
            how many bytes were given back; then there is nothing left to do.
        """
        given, most = 0, FIRST
        while True:
            await self._quiet()
            done, most = await self._steps.one(
                lambda tx, limit: retention.give_back(tx, limit, wholly=wholly), most
            )
            if not done:
                break
            given += done
        if given:
            await self.checkpoint()
        return given * sqlite.PAGE_SIZE

    async def _quiet(self) -> None:
        """Wait until nothing is to be written, and nothing has been for a moment."""
        while not self._writer.idle:
            await self._writer.drained()
            await asyncio.sleep(QUIET_SECONDS)

    def written(self, _: Changes) -> None:
        """Note that a batch was committed, so that the WAL has become longer."""
        self._written.set()

    async def keep_wal_short(self) -> None:
        """Move what is in the WAL into the file beside the writer, until cancelled.

        The writer does so by itself at four times that length, and holds all of a batch up for it.
        """
        while True:
            await self._written.wait()
            self._written.clear()
            await self._steps.keep_wal_short()
            await asyncio.sleep(WAL_LOOK_SECONDS)

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Cut the WAL to nothing if nothing was written since it was seen last.

        Secrets that were erased in the file stay legible in the WAL until then.

        Args:
            seen: what the last call has returned.

        Returns:
            what is in the WAL: its length, and when it was written; None if that is nothing.
        """
        found = pages.written(self._steps.path)
        if found is None or found != seen or not self._writer.idle:
            return found
        await self.renew_mark()
        await self.checkpoint()
        return pages.written(self._steps.path)

    async def renew_mark(self) -> None:
        """Give the store a new mark, if anything was written since it got the last one here.

        Copies that were made before can be told from the store by it, see `mixture`.
        """
        if pages.written(self._steps.path) in {None, self._renewed}:
            return
        await self._writer.run(lambda tx: mixture.renew(tx.connection))
        await self._writer.run(lambda tx: mixture.settle(tx.connection))
        self._renewed = pages.written(self._steps.path)

    async def checkpoint(self) -> None:
        """Move the WAL into the file and cut it to nothing, if nothing else is to do."""
        if self._writer.idle:
            await self._steps.settle()
        if self._writer.idle:
            await self._steps.between(pages.checkpoint)
