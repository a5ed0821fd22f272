"""The end of a round: let all work end, read what is left, purge, and look for leftovers."""

import asyncio
from collections.abc import Callable
from typing import Final

from jobstore.model.lifecycle import Result
from jobstore.store.sqlite.checkup import check
from trials import process
from trials.chaos import evidence
from trials.chaos.client import BrokenError, Client
from trials.chaos.customers import Customer
from trials.chaos.evidence import Evidence
from trials.chaos.lives import Life
from trials.chaos.rules import taken_unread
from trials.chaos.stage import Stage

# How long all work may take to end, and how long a server may take to let go of what it needed, on
# a machine however busy.
_END_SECONDS: Final = 300.0
_CALM_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
# What a server may have open more than after its start: a temporary file of SQLite's, and what
# connections leave that came and went. SQLite keeps such descriptors for the next connection, since
# to close them would drop the locks of the others: https://www.sqlite.org/howtocorrupt.html, 2.2.
MORE_DESCRIPTORS: Final = 3
# What a server may have grown by, however many jobs it has had: bodies in flight, the copies of
# responses for those who fetch them at once, and what the allocator keeps.
MORE_MEMORY: Final = 128 * 1024 * 1024
# A clock that is so much ahead lets everything come due that a round has put off, seconds.
_FAR_AHEAD: Final = 30 * 86400.0
# Purge all payloads at once.
_PURGING: Final = {"JOBSTORE_RETENTION__FETCHED": "0s", "JOBSTORE_RETENTION__INTERVAL": "20ms"}


class Resources:
    """What a server has open, and how large it is, when it has nothing to do.

    Args:
        life: the server, just after its start.
    """

    def __init__(self, life: Life) -> None:
        self._pid = life.pid
        self._descriptors = process.descriptors(life.pid)
        self._memory = process.memory(life.pid)

    async def given_back(self, complaints: list[str]) -> None:
        """Complain about what the server does not let go of although its clients have gone."""
        most = self._descriptors + MORE_DESCRIPTORS
        if not await until(lambda: process.descriptors(self._pid) <= most, _CALM_SECONDS):
            now = process.descriptors(self._pid)
            complaints.append(f"{now} descriptors are open, {self._descriptors} after the start")
        grown = process.memory(self._pid) - self._memory
        if grown > MORE_MEMORY:
            complaints.append(f"the server has grown by {grown} bytes")


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; tell whether it came to that in time."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - it is about another process
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return condition()
    return True


async def settled(stage: Stage) -> Evidence:
    """Bring a round to its end, and gather what there is to hold against its ledger.

    Args:
        stage: the round; no server of it runs any more.
    """
    stage.clock.step_to(_FAR_AHEAD if stage.terms.stepped else 0.0)
    life = await stage.start()
    await _ended(stage)
    await _check(stage)
    unread = taken_unread(stage.ledger, evidence.gathered(stage.place, {}))
    stage.unread = len(unread)
    await _drain(stage, life, unread)
    await stopped(stage, life)
    stage.clock.step_to(2 * _FAR_AHEAD if stage.terms.stepped else 0.0)
    life = await stage.start(settings=_PURGING)
    await until(lambda: not any(evidence.leftovers(stage.place).values()), _CALM_SECONDS)
    await stopped(stage, life)
    tracebacks = evidence.logged_tracebacks(*stage.logs)
    return evidence.gathered(stage.place, stage.executions(), tracebacks)


async def stopped(stage: Stage, life: Life) -> None:
    """Ask a server to stop, and complain unless it does so properly."""
    stage.totals.stops += 1
    code = await life.stop()
    if code:
        stage.complaints.append(f"a server that was asked to stop ended with {code}")


async def calm(stage: Stage, life: Life, resources: Resources) -> None:
    """Let a server that has served for long come to rest, and look at what it has not let go of."""
    await _ended(stage)
    await resources.given_back(stage.complaints)
    await stopped(stage, life)


async def _ended(stage: Stage) -> None:
    await until(lambda: evidence.unfinished(stage.place) == 0, _END_SECONDS)


async def _check(stage: Stage) -> None:
    """Ask jobstore itself as well what is wrong with the store's file, beside its server."""
    if stage.shared is not None:
        return
    report = await check(stage.store, lambda *_: None)
    stage.complaints += [f"jobstore check: {problem}" for problem in report.problems]


async def _drain(stage: Stage, life: Life, unread: list[int]) -> None:
    """Read every result that is held, those included that an operator gives back first."""
    reader = Customer(stage.seed, -1, stage.ledger, stage.work)
    client = Client(life.url)
    try:
        await _restore(stage, reader, client, unread)
        held = f"SELECT id, path FROM job WHERE result = '{Result.HELD}'"
        for job_id, path in evidence.rows(stage.place, held):
            if path in stage.ledger.sent:
                stage.ledger.accept(job_id, stage.ledger.sent[path])
                await reader.read_to_end(client, job_id)
    except BrokenError:
        stage.complaints.append("a connection broke that nobody had cut")
    finally:
        client.close()


async def _restore(stage: Stage, reader: Customer, client: Client, unread: list[int]) -> None:
    kept = {job_id for (job_id,) in evidence.rows(stage.place, "SELECT job_id FROM request")}
    for job_id in kept & set(unread):
        await reader.restore(client, job_id)
