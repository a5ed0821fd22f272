"""The store's rules as a machine that does anything in any order, against a model of few lines."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobstore.live import Store
from jobstore.model.errors import JobNotFound, ResultNotRestorable
from jobstore.model.job import Cancellation, Claim, Failure
from tests.depth import DEEP
from tests.engines import Place, server
from tests.loop import turns
from tests.stores import (
    StandingClock,
    counted,
    fail,
    finish,
    kept_counters,
    orders_of,
    owned,
    power_cut,
    rows,
    states,
    stopped,
    submission,
    taken,
)

SLOTS: Final = 2

T = TypeVar("T")


@dataclass
class Known:
    """What the model knows of a job.

    Args:
        method: by which it may run again or not.
        state: where its work stands.
        result: where its result stands.
        asked: whether its cancellation was asked for while it ran.
        has_answer: whether there is something that a reader can be given.
    """

    method: str
    state: str = "queued"
    result: str = "none"
    asked: bool = False
    has_answer: bool = False

    @property
    def asked_for(self) -> bool:
        """Whether somebody may still ask for its result."""
        return self.result in {"none", "held"}

    @property
    def is_restorable(self) -> bool:
        """Whether an operator may have its result held again."""
        return self.has_answer and self.result in {"taken", "deleted"}

    def end(self, state: str) -> None:
        """End its work; what fails or is cancelled needs no target's answer."""
        self.state = state
        self.has_answer = state != "done" or self.result == "none"
        self.result = "held" if self.result == "none" else self.result


class StoreMachine(RuleBasedStateMachine):
    """Submit, run, cancel, read, lose and clean up jobs, and pull the plug now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = StandingClock()
        self.known: dict[int, Known] = {}
        self.claims: dict[int, Claim] = {}
        self.starts = 0
        self.started = False
        self.path = self.first_path()

    def first_path(self) -> Path:
        """Name a store that does not exist yet."""
        return Path(self.folder.name) / "0.db"

    @initialize()
    def start(self) -> None:
        """Open the store, as a server does."""
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the store work until something is done, and what follows from it."""
        return self.runner.run(self._soon(coroutine))

    async def _soon(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(100):  # what hangs has failed
            value = await coroutine
            await self._claim()
            return value

    async def _start(self) -> None:
        self.stack = AsyncExitStack()
        store = owned(self.path, clock=self.clock, steady=self.clock)
        self.store: Store = await self.stack.enter_async_context(store)
        self.started = True
        await self._recover()
        self.orders = orders_of(self.store, {"/": SLOTS})

    async def _recover(self) -> None:
        """Decide about orphans as the executor does."""
        for orphan in await self.store.upkeep.orphans():
            known, ids = self.known[orphan.job_id], [orphan.job_id]
            if known.asked:
                await self.store.upkeep.cancel_orphans(ids, "cancelled")
                known.end("cancelled")
            elif known.method == "GET":
                await self.store.upkeep.recover(ids, "killed")
                known.state = "queued"
            else:
                await self.store.upkeep.fail_orphans(ids, "killed")
                known.end("failed")

    async def _claim(self) -> None:
        """Take the orders that must come now: the oldest that wait, as many as there are slots."""
        waiting = [job_id for job_id, known in self.known.items() if known.state == "queued"]
        for job_id in sorted(waiting)[: SLOTS - len(self.claims)]:
            order = await anext(self.orders)
            while isinstance(order, Cancellation):
                order = await anext(self.orders)
            assert isinstance(order, Claim)
            assert order.job_id == job_id
            self.claims[job_id] = order
            self.known[job_id].state = "running"

    def teardown(self) -> None:
        """Close the store in the end."""
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    # --- what happens ---------------------------------------------------------------------------

    @rule(method=st.sampled_from(["GET", "POST"]), wanted=st.booleans())
    def submit(self, method: str, wanted: bool) -> None:
        """Take a job in."""

        async def submit() -> None:
            job_id = await self.store.submit(submission(method, wanted=wanted))
            self.known[job_id] = Known(method, result="none" if wanted else "unwanted")

        self.run(submit())

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=st.sampled_from(["done", "failed", "cancelled"]))
    def end(self, data: st.DataObject, end: str) -> None:
        """End a job that runs, in one way or another."""
        job_id = data.draw(st.sampled_from(sorted(self.claims)))
        claim = self.claims.pop(job_id)
        match end:
            case "done":
                ending = finish(self.store, claim)
            case "failed":
                ending = fail(self.store, claim, Failure.BROKEN, "broken")
            case _:
                ending = stopped(self.store, claim, "stopped")
        self.known[job_id].end(end)
        self.run(ending)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a job, if there is one to cancel."""
        job_id, known = self._any(data)
        found = self._asked(self.store.cancel(job_id))
        assert found == (known.state if known.asked_for else None)
        if known.asked_for and known.state == "queued":
            known.end("cancelled")
        elif known.asked_for and known.state == "running":
            known.asked = True
        self.run(turns(1))

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Take a result, which one reader can."""
        job_id, known = self._any(data)
        delivered = self._asked(taken(self.store, job_id))
        assert (delivered is not None) == known.asked_for
        assert bool(delivered and delivered[0]) == (known.result == "held")
        known.result = "taken" if known.result == "held" else known.result

    @rule(data=st.data())
    def break_off(self, data: st.DataObject) -> None:
        """Take a result and lose the connection half-way: it is held again."""
        job_id, known = self._any(data)

        async def broken() -> None:
            with suppress(ConnectionResetError, JobNotFound):
                async with self.store.results.take(job_id):
                    raise ConnectionResetError

        self.run(broken())
        assert states(self.path)[job_id][1] == known.result

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Hold a result again that was taken or deleted."""
        job_id, known = self._any(data)
        try:
            self.run(self.store.results.restore(job_id))
        except ResultNotRestorable:
            assert not known.is_restorable
        else:
            assert known.is_restorable
            known.result = "held"

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a result, with its target's answer; its work goes on."""
        job_id, known = self._any(data)
        with suppress(JobNotFound):
            self.run(self.store.results.delete(job_id))
            assert known.asked_for
            known.result = "deleted"
            known.has_answer = known.has_answer and known.state != "done"

    @rule(seconds=st.integers(0, 3))
    def expire(self, seconds: int) -> None:
        """Let what was finished before now expire, after a while."""
        self.clock.move(seconds)
        before = self.clock.now
        ended = rows(self.path, "SELECT id FROM job WHERE finished_at < ?", before)
        self.run(self.store.results.expire(before))
        for (job_id,) in ended:
            known = self.known[job_id]
            known.result = "expired" if known.result == "held" else known.result

    @rule()
    def pull_the_plug(self) -> None:
        """Go on with what is there if the power fails at this moment."""
        self.starts += 1
        after = power_cut(self.path, f"{self.starts}.db")
        self.runner.run(self.stack.aclose())
        self.path, self.claims = after, {}
        self.run(self._start())

    # --- what holds -----------------------------------------------------------------------------

    @invariant()
    def the_store_knows_what_the_model_knows(self) -> None:
        """Compare every job's state and result."""
        if self.started:
            expected = {job: (one.state, one.result) for job, one in self.known.items()}
            assert states(self.path) == expected

    @invariant()
    def counters_equal_counts(self) -> None:
        """Compare what is counted with what is there."""
        if self.started:
            assert counted(self.path) == kept_counters(self.path)

    def _any(self, data: st.DataObject) -> tuple[int, Known]:
        """Draw a job; where there is none, submit one."""
        if not self.known:
            self.submit("GET", wanted=True)
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        return job_id, self.known[job_id]

    def _asked(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """Ask for something, and give None if nobody may ask for it any more."""
        try:
            return self.runner.run(coroutine)
        except JobNotFound:
            return None


class DatabaseMachine(StoreMachine):
    """The same on PostgreSQL, where each run has a database of its own."""

    def first_path(self) -> Path:
        """Name a store that does not exist yet."""
        return Place(super().first_path())

    def teardown(self) -> None:
        """Close the store in the end."""
        super().teardown()
        server().release()


LONG: Final = settings(
    max_examples=100 if DEEP else 10,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStore = StoreMachine.TestCase
TestStore.settings = LONG


TestDatabase = pytest.mark.timeout(3600)(  # a hundred databases, if it goes deep
    pytest.mark.usefixtures("postgresql")(DatabaseMachine.TestCase)
)
TestDatabase.settings = settings(LONG, max_examples=100 if DEEP else 3)
