"""What a server does in its store on its own: recover, and clean up."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial

from jobstore.model.clock import Clock
from jobstore.model.frozen import frozen
from jobstore.model.job import Replay
from jobstore.model.lifecycle import ENDED
from jobstore.store import bulk, definitions, holding, periods, recovery, retention
from jobstore.store.bodies import SWEPT_FIRST, Bodies
from jobstore.store.own_boot import OwnBoot
from jobstore.store.reading import Reader
from jobstore.store.steps import FIRST, STEP, Steps
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer


@frozen
class Boot:
    """One start of a server; times in microseconds since 1970.

    Args:
        died: whether other nodes declared it dead.
        replays: what each of its targets allowed to be sent again, by name; for a file, the
            server's configuration decides.
    """

    pid: int
    started_at: int
    ended_at: int | None
    died: int = 0
    replays: Mapping[str, Replay] = field(default_factory=dict)


@frozen
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
    target: str


class Upkeep:
    """Maintain a store; long work is done in steps, so that it delays nobody.

    Args:
        bodies: the large bodies.
        steps: how long each step may take.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        bodies: Bodies,
        steps: Steps,
        boot: OwnBoot,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._bodies = bodies
        self._steps = steps
        self._boot = boot
        self._clock = clock

    async def orphans(self) -> list[Orphan]:
        """List some of the claims that earlier starts of a server left behind."""
        rows = await self._reader.rows(recovery.ORPHANS, boot=self._boot.number, limit=STEP)
        return [replace(Orphan(*row), replay=row[-2] and Replay(row[-2])) for row in rows]

    async def boot_of(self, orphan: Orphan) -> Boot:
        """Return the start of the server that made a claim."""
        *row, targets = await self._reader.row(recovery.GET_BOOT, boot=orphan.boot)
        replays = {name: Replay(replay) for name, replay in json.loads(targets).items()}
        return replace(Boot(*row), replays=replays)

    async def recover(self, ids: Sequence[int], detail: str) -> None:
        """Queue orphaned jobs again."""
        await self._steps.over(ids, lambda tx, some: recovery.recover(tx, some, detail))

    async def fail_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs that must not run again."""
        await self._steps.over(ids, lambda tx, some: recovery.fail_orphans(tx, some, detail))

    async def cancel_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs whose cancellation was requested."""
        await self._steps.over(ids, lambda tx, some: recovery.cancel_orphans(tx, some, detail))

    async def queued_targets(self) -> list[str]:
        """Return the names of targets with queued jobs."""
        targets: list[str] = []
        while name := (
            await self._reader.row(recovery.NEXT_QUEUED_TARGET, after="".join(targets[-1:]))
        )[0]:
            targets.append(name)
        return targets

    async def reroute(self, old: str, new: str) -> int:
        """Queue the jobs of a removed target for another one; return how many."""
        return await self._steps.all(lambda tx, limit: recovery.reroute(tx, old, new, limit))

    async def give_up(self, target: str, before: int, detail: str) -> list[int]:
        """Fail the jobs of an unreachable target that have waited since before a time.

        Returns:
            the ids of the failed jobs.
        """
        given_up: list[int] = []
        values = {"target": target, "before": before, "limit": STEP}
        while rows := await self._reader.rows(holding.OVERDUE, **values):
            ids = [job_id for (job_id,) in rows]
            done = await self._steps.over(
                ids, lambda tx, some: holding.give_up(tx, target, some, detail)
            )
            ended = [job_id for some in done for job_id in some]
            if not ended:  # another node reaches it
                break
            given_up += ended
        return given_up

    async def purge(self, before: int) -> int:
        """Delete payloads unavailable since before a time; return how many."""
        return await self._steps.all(lambda tx, limit: retention.purge_step(tx, before, limit))

    async def redate(self) -> int:
        """Replace times more than a day in the future by now: the clock had been wrong.

        Returns:
            how many jobs had such times.
        """
        return await self._steps.all(retention.redate)

    async def count(self) -> int:
        """Add up ended jobs; see `jobstore.store.periods`.

        Returns:
            the time before which all ended jobs are counted.
        """
        before = self._clock() - (periods.UNSETTLED if self._boot.shared else 0)
        gather, size = partial(periods.gather, self._reader, before, self._clock), FIRST
        while found := await self._steps.beside(gather(size)):
            _, size = await self._steps.one(partial(_counted, found), found.rows)
        after = 0
        while rows := await self._reader.rows(periods.LEFT, after=after, limit=STEP):
            after = rows[-1][0]
            ids = [job_id for job_id, state in rows if state is None or state in ENDED]
            await self._steps.over(ids, periods.count_left)
        while span := await self._steps.beside(periods.build(self._reader, before)):
            written, _ = await self._steps.one(partial(_built, span), STEP)
            if not written:  # another node counts, and builds it
                break
        await self._steps.all(periods.drop)
        return before

    async def forget(self, before: int, restorable: int | None = None) -> int:
        """Remove jobs that ended before a time from the history; return how many.

        Ids are in order of submission, so the search ends at the first job submitted too late,
        except for jobs with a submission time in the future.

        Args:
            restorable: since when what was fetched or deleted can be restored, and stays; None for
                the same time.
        """
        forgotten = after = 0
        restorable = before if restorable is None else restorable
        forget = partial(retention.forget, before=before, restorable=restorable)
        times = {"before": before, "restorable": restorable}
        while rows := await self._reader.rows(retention.BY_AGE, after=after, limit=STEP, **times):
            after = rows[-1][0]
            ids = [row[0] for row in rows if row[2]]
            forgotten += sum(await self._steps.over(ids, forget))
            if before <= rows[-1][1] <= self._clock():
                break
        await self._steps.all(lambda tx, limit: bulk.forget(tx, before, limit))
        if forgotten:
            await self._writer.run(lambda tx: tx.execute(definitions.DROP).rowcount)
        return forgotten

    async def sweep(self) -> int:
        """Delete bodies that belong to no job; return how many rows were deleted."""
        return await self._steps.all(self._bodies.sweep, SWEPT_FIRST)


def _counted(found: periods.Gathered, tx: Transaction, _: int) -> bool:
    return periods.count(tx, found)


def _built(span: periods.Built, tx: Transaction, _: int) -> bool:
    return periods.put_built(tx, span)
