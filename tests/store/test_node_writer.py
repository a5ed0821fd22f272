"""What becomes of a batch when the connection breaks, or the database says nothing.

Between the writer and a real PostgreSQL stands a proxy that knows a COMMIT when it sees one.
"""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TypeVar

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus
from sqlalchemy import Double, Integer, bindparam, func, literal_column, select

from jobstore.model.errors import NodeBusy, StoreAway, StoreError, StoreUnsure
from jobstore.model.job import Claim
from jobstore.store import ending, results, submitting, waited
from jobstore.store.ending import CapturedResponse
from jobstore.store.expressions import Statement
from jobstore.store.facts import Accepted, Changes, Queued, Taken
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import node_writer
from jobstore.store.postgresql.abreast import MANY
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.journeys import Journeys
from jobstore.store.postgresql.links import connect
from jobstore.store.postgresql.node_writer import NodeWriter
from jobstore.store.postgresql.points import REVISIONS
from jobstore.store.transaction import Operation, Outcome, Transaction
from jobstore.store.writer import Turn, nothing
from tests.databases import SCHEMA
from tests.engines import Place, execute, rows
from tests.loop import HeldClock, turns
from tests.stores import START, StandingClock, submission
from trials.services import listening
from trials.sockets import hang_up

T = TypeVar("T")

BOOT = 1
# With what PostgreSQL ends its answer, in a transaction or not.
READY = b"Z\0\0\0\5"
# How long the writer of a test is patient, in seconds: long for a database on a busy machine.
PATIENT, IMPATIENT = 60.0, 0.5
# Longer than a test may take, but for a tenth of it.
LONG = 20.0
IMPOSSIBLE = Statement(select(literal_column("1 / 0", Integer)))
SLOW = Statement(select(func.pg_sleep(bindparam("seconds", type_=Double()))))


# As long as in production, where the clock is held and moved.
FIVE, STEP = 5.0, 0.02


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HeldClock:
    """Give the monotonic clock of this process."""
    clock = HeldClock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class At(Enum):
    """What the proxy does when a COMMIT comes by."""

    PASS = "passes it on"
    LOSE = "breaks the connection before the database has it"
    LOSE_ANSWER = "breaks the connection when the database has done it"
    LOSE_ANSWER_AND_WAY = "does that, and lets nobody through any more"


@dataclass
class Way:
    """A proxy before a database.

    Args:
        url: where the database is.
        at_commit: what it does.
        answers: to how many round trips an answer has come by.
        open: whether anything is passed on.
    """

    url: str
    at_commit: At = At.PASS
    answers: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection on."""
        await self.open.wait()
        parts = conninfo_to_dict(self.url)
        host, port = str(parts["host"]), int(parts.get("port") or 5432)
        if host.startswith("/"):
            above = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            above = await asyncio.open_connection(host, port)
        ways = [
            asyncio.create_task(self._up(reader, above[1])),
            asyncio.create_task(self._down(above[0], writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for each in (above[1], writer):
                hang_up(each, reset=True)

    async def _up(self, reader: asyncio.StreamReader, above: asyncio.StreamWriter) -> None:
        while said := await reader.read(2**16):
            await self.open.wait()
            if b"COMMIT\0" in said and self.at_commit is At.LOSE:
                self.at_commit = At.PASS
                return
            above.write(said)

    async def _down(self, above: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await above.read(2**16):
            self.answers += said.count(READY)
            await self.open.wait()
            if b"COMMIT\0" in said and self.at_commit is not At.PASS:  # its tag
                if self.at_commit is At.LOSE_ANSWER_AND_WAY:
                    self.open.clear()
                self.at_commit = At.PASS
                return
            writer.write(said)


@dataclass
class Node:
    """A writer, and what is told of its batches."""

    way: Way
    writer: NodeWriter
    told: list[Changes] = field(default_factory=list)

    async def submit(self) -> int:
        """Put a job in."""
        return await self.writer.run(submit)

    async def again(self) -> None:
        """Wait until the database can be written."""
        while self.writer.look() is not None:  # it is asked, as health is
            await turns(1)


def submit(tx: Transaction, body: bytes = b"") -> int:
    return submitting.submit(tx, submission(body=body), body, frozenset(), None).job_id


async def side_by_side(
    writer: NodeWriter, operations: Sequence[Operation[object]]
) -> Sequence[object]:
    """Run operations in one batch; return what each is told."""
    posted = [writer.post(each, abreast=Turn.CHANGE) for each in operations]
    return await asyncio.gather(*posted, return_exceptions=True)


async def again(work: Callable[[], Awaitable[T]]) -> T:
    """Try until the database is there, as users do."""
    while True:
        with suppress(StoreAway):
            return await work()


async def ask(journeys: Journeys) -> None:
    journeys.say(b"SELECT 1")
    await journeys.make()


@asynccontextmanager
async def a_way(database: Place) -> AsyncIterator[tuple[Way, str]]:
    """Give a proxy before a database, and the URL that leads through it."""
    way = Way(database.url)
    way.open.set()
    async with listening(way.talk) as url:
        port = url.rpartition(":")[2]
        yield way, make_conninfo(database.url, host="127.0.0.1", port=port, gssencmode="disable")


@asynccontextmanager
async def node(
    database: Place, patience: float = PATIENT, steady: Callable[[], float] = time.monotonic
) -> AsyncIterator[Node]:
    """Write to a database by a proxy, as a node that is alive."""
    execute(database, "INSERT INTO boot (started_at, pid, version) VALUES (?, 0, '')", START)
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA) as connection,
    ):
        own = OwnBoot(BOOT, shared=True)
        writer = NodeWriter(connection, StandingClock(), own, patience, steady)
        made = Node(way, writer)
        writer.committed = made.told.append
        try:
            yield made
        finally:
            way.open.set()
            await writer.close()


def end_sessions(database: Place) -> None:
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    rows(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


def jobs(database: Place) -> list[int]:
    return [job_id for (job_id,) in rows(database, "SELECT id FROM job ORDER BY id")]


async def test_a_commit_that_never_came_is_made_again(database: Place) -> None:
    async with node(database) as one:
        one.way.at_commit = At.LOSE
        job_id = await one.submit()
        assert jobs(database) == [job_id]


async def test_a_commit_whose_answer_got_lost_is_not_made_again(database: Place) -> None:
    async with node(database) as one:
        one.way.at_commit = At.LOSE_ANSWER
        job_id = await one.submit()
        assert jobs(database) == [job_id]
        assert [type(fact) for changes in one.told for fact in changes.facts] == [Accepted, Queued]


async def test_of_many_operations_only_the_one_that_fails_is_undone(database: Place) -> None:
    def fail(tx: Transaction) -> None:
        submit(tx)
        tx.execute(IMPOSSIBLE)

    async with node(database) as one:
        for place in (0, MANY, 2 * MANY - 1):  # in the first party of them, and in the second one
            operations: list[Operation[object]] = [submit] * (2 * MANY)
            operations[place] = fail
            before = len(jobs(database))
            told = await side_by_side(one.writer, operations)
            assert [isinstance(each, StoreError) for each in told].index(True) == place
            assert len(jobs(database)) == before + len(operations) - 1


@pytest.mark.parametrize("place", [0, MANY, 2 * MANY - 1])
async def test_a_connection_that_breaks_between_their_steps_costs_nobody_anything(
    database: Place, place: int
) -> None:
    broken: list[bool] = []

    def break_once(tx: Transaction) -> int:
        job_id = submit(tx)
        if not broken:
            broken.append(True)
            end_sessions(database)
        return job_id

    async with node(database) as one:
        operations: list[Operation[object]] = [submit] * (2 * MANY)
        operations[place] = break_once
        told = await side_by_side(one.writer, operations)
        assert jobs(database) == told


async def test_nothing_is_kept_of_operations_that_were_broken_off(database: Place) -> None:
    class BreakOnce:
        broken = False

        def __call__(self, tx: Transaction) -> int:
            if not self.broken:
                self.broken = True
                end_sessions(database)
            return submit(tx)

    async with node(database) as one:
        breaking = BreakOnce()
        kept = weakref.ref(breaking)
        told = await side_by_side(one.writer, [submit] * MANY + [breaking] + [submit] * MANY)
        assert jobs(database) == told
        del breaking
        await turns(3)
        gc.collect()
        assert kept() is None


async def test_a_session_that_was_ended_costs_nobody_anything(database: Place) -> None:
    async with node(database) as one:
        await one.submit()
        end_sessions(database)
        await one.submit()
        assert len(jobs(database)) == 2


async def test_a_batch_is_tried_once_more_however_long_the_loop_was_held_up(
    database: Place, clock: HeldClock
) -> None:
    held_up: list[bool] = []

    def hold_up(tx: Transaction) -> int:
        job_id = submit(tx)
        if not held_up:
            held_up.append(True)
            clock.skip(2 * PATIENT)
            end_sessions(database)  # as PostgreSQL ends those that say nothing in a transaction
        return job_id

    async with node(database, steady=clock) as one:
        job_id = await one.writer.run(hold_up)
        assert jobs(database) == [job_id]


async def test_a_connection_is_lost_as_well_if_nobody_waited_on_it_just_then(
    database: Place,
) -> None:
    async with DatabaseConnection(database.url, SCHEMA) as connection:
        link = await connection.link()
        async with Journeys(link).using(lambda: None) as journeys:
            end_sessions(database)
            while link.pgconn.status == ConnStatus.OK:  # it has no event
                await turns(1)
            with pytest.raises(psycopg.OperationalError):
                await ask(journeys)


async def test_a_connection_that_breaks_while_much_is_being_sent_is_lost(database: Place) -> None:
    async with node(database) as one:
        await one.submit()
        one.way.open.clear()
        submitting = asyncio.create_task(one.writer.run(lambda tx: submit(tx, bytes(2**25))))
        await turns(100)
        end_sessions(database)
        one.way.open.set()
        await submitting
        assert len(jobs(database)) == 2


async def test_nobody_waits_for_a_database_that_says_nothing(database: Place) -> None:
    async with node(database, IMPATIENT) as one:
        await one.submit()
        one.way.open.clear()
        with pytest.raises(StoreAway):
            await one.submit()
        with pytest.raises(StoreAway):  # at once
            await asyncio.wait_for(one.submit(), IMPATIENT / 2)
        one.way.open.set()
        await one.again()
        await one.submit()
        assert len(jobs(database)) == 2


async def test_who_reads_waits_no_longer_either(database: Place) -> None:
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=IMPATIENT) as connection,
    ):
        await connection.rows(REVISIONS)
        way.open.clear()
        with pytest.raises(StoreAway):
            await connection.rows(REVISIONS)
        with pytest.raises(StoreAway):
            await connection.together([REVISIONS])
        way.open.set()
        (rows,) = await again(lambda: connection.together([REVISIONS]))
        assert rows == await again(lambda: connection.rows(REVISIONS))


async def test_what_nobody_knew_of_a_commit_is_told_when_it_is_known(database: Place) -> None:
    async with node(database, IMPATIENT) as one:
        await one.submit()
        one.told.clear()
        one.way.at_commit = At.LOSE_ANSWER_AND_WAY
        with pytest.raises(StoreUnsure, match="whether it took effect will be known when it is"):
            await one.submit()
        assert [fact for changes in one.told for fact in changes.facts] == []
        one.way.open.set()
        await one.again()
        assert len(jobs(database)) == 2
        assert [type(fact) for changes in one.told for fact in changes.facts] == [Accepted, Queued]


async def test_a_result_is_given_back_whose_reader_was_told_that_nobody_knows(
    database: Place,
) -> None:
    ended = "UPDATE job SET state = 'done', result = 'held', finished_at = ?, status = 200"

    def take(tx: Transaction) -> bool:
        taken = results.take(tx, 1)
        tx.tell(Taken(1, object()))
        return taken

    async with node(database, IMPATIENT) as one:
        await one.submit()
        execute(database, ended, START)
        one.way.at_commit = At.LOSE_ANSWER_AND_WAY
        with pytest.raises(StoreUnsure):
            await one.writer.run(take)
        one.way.open.set()
        await one.again()
        await one.writer.drained()
        assert rows(database, "SELECT result, reader FROM job") == [("held", None)]
        assert Taken not in {type(fact) for changes in one.told for fact in changes.facts}


async def test_an_end_asks_who_waited_for_it_in_the_same_round_trip(database: Place) -> None:
    content = CapturedResponse(200, None, (), b"done")

    def begin(tx: Transaction) -> int:
        made = submission()
        return submitting.submit(tx, made, b"", frozenset(), BOOT).job_id

    async with node(database) as one:
        job_id = await one.writer.run(begin, abreast=Turn.CHANGE)
        asked = submission().request
        claim = Claim(job_id=job_id, attempt=1, target="/", request=asked, boot=BOOT, secrets=False)
        before = one.way.answers
        await one.writer.run(partial(ending.finish, claim=claim, capture=content))
        assert rows(database, "SELECT state FROM job") == [("done",)]
        assert one.way.answers - before == 2  # the other one is the commit


async def test_more_than_can_be_kept_in_memory_is_refused_at_once(
    database: Place,
) -> None:
    refused: list[Outcome] = []

    def told(outcome: Outcome) -> None:
        if isinstance(outcome.error, NodeBusy):
            refused.append(outcome)

    async with node(database) as one:
        one.way.open.clear()
        for _ in range(node_writer.WAITING + 3):
            one.writer.queue(nothing, told, abreast=Turn.CHANGE)
        await turns(1)
        assert len(refused) == 3
        one.way.open.set()
        with suppress(StoreAway):
            await one.writer.drained()


async def test_a_loop_that_had_no_time_to_listen_takes_no_database_for_away(
    database: Place,
) -> None:
    patience = 2 * IMPATIENT  # of which a tenth has to be enough for a busy database to answer
    async with node(database, patience) as one:
        await one.submit()
        for _ in range(3):
            submitting = asyncio.create_task(one.submit())
            await turns(3)
            rows(database, f"SELECT pg_sleep({1.5 * patience})")  # on this very thread
            await submitting
        assert len(jobs(database)) == 4


async def test_a_connection_that_is_being_made_is_not_left_open(database: Place) -> None:
    async with DatabaseConnection(database.url, SCHEMA) as connection:
        await connection.drop()
        with pytest.raises(psycopg.OperationalError):
            await connection.link(0)  # who asks does not wait, but it is being made
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_connection_on_which_nothing_more_is_said_is_given_up_while_it_is_being_made(
    database: Place,
) -> None:
    async with a_way(database) as (way, through):
        connecting = asyncio.create_task(connect(through, SCHEMA, {}, seconds=IMPATIENT))
        while not way.answers:  # since it was accepted
            await turns(1)
        way.open.clear()
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(connecting, 10 * IMPATIENT)
        way.open.set()


@dataclass
class Late:
    """A clock that goes as any does, and can be set forward.

    Args:
        by: how far it was, in seconds.
    """

    by: float = 0.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return time.monotonic() + self.by


async def test_who_waited_for_the_batch_before_has_only_the_rest_of_their_patience(
    database: Place,
) -> None:
    late = Late()

    async with node(database, LONG, late) as one:

        def take_long(_: Transaction) -> None:
            one.writer.queue(submit, told.set_result)
            late.by += 0.9 * LONG

        def silence(_: Changes) -> None:
            one.way.open.clear()

        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        one.writer.committed = silence
        await one.writer.run(take_long)
        outcome = await asyncio.wait_for(told, LONG / 2)
        assert isinstance(outcome.error, StoreAway)


async def test_a_database_that_answered_late_may_not_be_silent_for_long(database: Place) -> None:
    late = Late()

    async with node(database, LONG, late) as one:
        await one.submit()

        def take_long(tx: Transaction) -> None:
            late.by += 0.9 * LONG
            submit(tx)
            one.way.open.clear()

        with pytest.raises(StoreUnsure):
            await asyncio.wait_for(one.writer.run(take_long), LONG / 2)


async def test_a_commit_that_nothing_is_heard_of_is_given_up_in_time(
    database: Place, clock: HeldClock
) -> None:
    async with node(database, FIVE, clock) as one:

        def silence(tx: Transaction) -> None:
            submit(tx)
            one.way.open.clear()

        told = asyncio.create_task(one.writer.run(silence))
        while one.way.open.is_set():
            await turns(1)
        with clock.held():
            took = await clock.until(told, STEP)
        with pytest.raises(StoreUnsure):
            await told
        assert took < FIVE + STEP


async def test_a_commit_that_breaks_off_in_the_last_moment_gives_no_patience_anew(
    database: Place, clock: HeldClock
) -> None:
    waited_before = 0.78 * FIVE

    async with node(database, FIVE, clock) as one:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def take_long(_: Transaction) -> None:
            one.writer.queue(submit, told.set_result)
            clock.skip(waited_before)

        def break_off(_: Changes) -> None:
            one.way.at_commit = At.LOSE_ANSWER_AND_WAY

        one.writer.committed = break_off
        with clock.held():
            await one.writer.run(take_long)
            while one.way.open.is_set():
                await turns(1)
            took = await clock.until(told, STEP)
        assert isinstance(told.result().error, StoreUnsure)
        assert waited_before + took < FIVE + STEP


async def test_what_a_request_has_waited_counts_for_what_it_asks_next(database: Place) -> None:
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=LONG) as connection,
        node(database, LONG) as one,
    ):
        await connection.rows(REVISIONS)
        await one.submit()
        way.open.clear()
        one.way.open.clear()
        for ask in (partial(connection.rows, REVISIONS), partial(connection.together, [REVISIONS])):
            having_waited(LONG)
            with pytest.raises(StoreAway):
                await asyncio.wait_for(ask(), LONG / 2)
        having_waited(LONG)
        with pytest.raises(StoreAway):
            await asyncio.wait_for(one.submit(), LONG / 2)
        way.open.set()


def having_waited(seconds: float) -> waited.Waits:
    """Be a request that has waited for so long a moment ago."""
    request = waited.begin()
    request.note(seconds, before=0)
    return request


async def test_however_many_operations_a_request_has_it_waits_no_longer(
    database: Place, clock: HeldClock
) -> None:
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=FIVE) as connection,
        node(database, FIVE, clock) as one,
    ):
        request = waited.begin()

        def take_long(_: Transaction) -> None:
            clock.skip(0.7 * FIVE)

        with clock.held():
            began = clock()
            await one.writer.run(take_long)
            await one.submit()
            await connection.rows(REVISIONS)  # in time: the database is there
            assert request.before(clock()) == pytest.approx(0.7 * FIVE)
            way.open.clear()
            reading = asyncio.create_task(connection.rows(REVISIONS))
            await clock.until(reading, STEP)
            assert clock() - began < FIVE + STEP
        with pytest.raises(StoreAway):
            await reading
        way.open.set()


def test_what_was_waited_for_is_forgotten_a_second_in_each_second() -> None:
    request = having_waited(LONG)
    now = time.monotonic()
    assert request.before(now + LONG / 2) == pytest.approx(LONG / 2, abs=1)
    assert request.before(now + LONG) == 0


def test_waits_beside_each_other_count_once() -> None:
    request = having_waited(LONG)
    request.note(LONG, before=0)
    assert request.before(time.monotonic()) == pytest.approx(LONG, abs=1)


async def test_once_a_database_was_silent_who_asks_next_does_not_wait_as_long(
    database: Place, clock: HeldClock
) -> None:
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=FIVE) as connection,
    ):
        way.open.clear()
        with clock.held():
            for longest in (FIVE, 0.1 * FIVE, 0.1 * FIVE):
                reading = asyncio.create_task(connection.rows(REVISIONS))
                assert await clock.until(reading, STEP) < longest + 2 * STEP
                with pytest.raises(StoreAway):
                    await reading
        way.open.set()
        assert await again(lambda: connection.rows(REVISIONS))


async def test_nobody_waits_for_what_another_one_has_cancelled(database: Place) -> None:
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=IMPATIENT) as connection,
    ):
        await connection.rows(REVISIONS)
        way.open.clear()
        first = asyncio.create_task(connection.rows(REVISIONS))
        await turns(3)
        first.cancel()
        with pytest.raises(StoreAway):
            await asyncio.wait_for(connection.rows(REVISIONS), 4 * IMPATIENT)
        way.open.set()


async def test_who_waits_in_line_has_no_patience_anew_when_the_line_moves(
    database: Place, clock: HeldClock
) -> None:
    waited_in_line = 0.6 * FIVE
    async with (
        a_way(database) as (way, through),
        DatabaseConnection(through, SCHEMA, patience=FIVE) as connection,
    ):
        with clock.held():
            first = asyncio.create_task(connection.rows(SLOW, seconds=0.1))
            await turns(3)
            second = asyncio.create_task(connection.rows(SLOW, seconds=60))
            await turns(3)
            clock.skip(waited_in_line)
            await first
            way.open.clear()
            took = await clock.until(second, STEP)
        with pytest.raises(StoreAway):
            await second
        assert waited_in_line + took < FIVE + STEP
        way.open.set()
