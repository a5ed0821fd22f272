import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from jobstore.live.subscribers import Subscribers
from jobstore.model.errors import (
    JobNotFound,
    StoreAtLimit,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreFailing,
    StoreFull,
)
from jobstore.store.facts import Changed, Fact
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.transaction import Operation, Outcome, Transaction
from tests.loop import turns
from tests.stores import CountingClock, held_up, rows

pytestmark = pytest.mark.file


@dataclass
class Desk:
    """A writer on a table of words, and what it says to SQLite."""

    writer: FileWriter
    path: Path
    said: list[str] = field(default_factory=list)

    def commits(self) -> int:
        """Count the transactions that were committed."""
        return self.said.count("COMMIT")

    def words(self) -> list[str]:
        """Read what has been written."""
        return [word for (word,) in rows(self.path, "SELECT word FROM word ORDER BY rowid")]

    def hear(self) -> list[list[Fact]]:
        """Keep what is told of each batch that has changed anything."""
        told: list[list[Fact]] = []
        self.writer.committed = lambda changes: told.append(changes.facts)
        return told

    async def limit(self, pages: int) -> None:
        """Let the file grow to so many pages and no further."""
        await self.writer.call(lambda file: file.execute(f"PRAGMA max_page_count = {pages}"))


@pytest.fixture
async def desk(store_path: Path) -> AsyncIterator[Desk]:
    with sqlite.connect(store_path, "rwc") as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE word (word TEXT NOT NULL UNIQUE) STRICT")
    file.close()
    async with sqlite.writer(store_path) as connection:
        desk = Desk(FileWriter(connection, store_path, CountingClock()), store_path)
        await connection.set_trace_callback(desk.said.append)
        yield desk
        await desk.writer.drained()


def write(word: str) -> Operation[int]:
    """Make the operation that writes a word and returns its transaction's time."""

    def operation(tx: Transaction) -> int:
        connection_of(tx).execute("INSERT INTO word VALUES (?)", (word,))
        return tx.now

    return operation


async def set_out() -> None:
    """Let a commit set out: what comes in the same two turns of the loop would still join it."""
    await turns(3)


async def test_an_operation_that_comes_alone_is_committed_alone(desk: Desk) -> None:
    for word in ("one", "two", "three"):
        await desk.writer.run(write(word))
    assert desk.commits() == 3


async def test_operations_that_come_while_a_commit_is_in_flight_share_the_next(desk: Desk) -> None:
    async with held_up(desk.path):
        first = desk.writer.post(write("first"))
        await set_out()
        rest = [desk.writer.post(write(f"word {number}")) for number in range(100)]
    await asyncio.gather(first, *rest)
    assert desk.commits() == 2


async def test_operations_that_share_a_transaction_share_its_now(desk: Desk) -> None:
    times = await asyncio.gather(*(desk.writer.run(write(word)) for word in "abc"))
    assert len(set(times)) == 1
    assert await desk.writer.run(write("d")) > times[0]


async def test_operations_happen_in_the_order_in_which_they_came(desk: Desk) -> None:
    words = [f"word {number}" for number in range(50)]
    for word in words[:-1]:
        desk.writer.post(write(word))
    await desk.writer.run(write(words[-1]))
    assert desk.words() == words


async def test_the_value_of_an_operation_is_there_only_after_its_commit(desk: Desk) -> None:
    await desk.writer.run(write("word"))
    assert desk.words() == ["word"]


async def test_who_fails_when_told_hurts_nobody_else(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    def fail(_: Outcome) -> None:
        raise KeyError("its own mistake")

    desk.writer.queue(write("one"), fail)
    desk.writer.queue(write("two"), lambda outcome: told.append(outcome.error))
    await desk.writer.run(write("three"))
    assert told == [None]
    assert desk.words() == ["one", "two", "three"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_who_is_told_is_not_called_in_the_name_of_whoever_came_first(desk: Desk) -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")
    told: list[str] = []
    name.set("somebody")
    desk.writer.queue(write("one"), lambda _: told.append(name.get()))
    await desk.writer.run(write("two"))
    assert told == ["nobody"]


async def test_an_operation_that_fails_fails_alone(desk: Desk) -> None:
    def fail(tx: Transaction) -> None:
        connection_of(tx).execute("INSERT INTO word VALUES ('half done')")
        raise KeyError("its own mistake")

    operations: list[Operation[object]] = [write("before"), fail, write("before"), write("after")]
    posted = [desk.writer.post(operation) for operation in operations]
    before, failed, twice, after = await asyncio.gather(*posted, return_exceptions=True)
    assert isinstance(before, int)
    assert isinstance(failed, KeyError)
    assert isinstance(twice, StoreError)
    assert isinstance(after, int)
    assert desk.words() == ["before", "after"]


async def test_a_refusal_that_has_changed_nothing_costs_the_others_no_commit(desk: Desk) -> None:
    def refuse(_: Transaction) -> None:
        raise JobNotFound(7)

    async with held_up(desk.path):
        posted: list[asyncio.Future[object]] = [desk.writer.post(write("first"))]
        await set_out()
        posted += [desk.writer.post(write("one")), desk.writer.post(refuse)]
        posted += [desk.writer.post(write("two"))]
    *_, refused, _ = await asyncio.gather(*posted, return_exceptions=True)
    assert isinstance(refused, JobNotFound)
    assert desk.words() == ["first", "one", "two"]
    assert desk.commits() == 2


# --- what a batch has changed ---------------------------------------------------------------------


def tell(word: str) -> Operation[int]:
    """Make an operation that writes a word, and tells that a job of that length has changed."""

    def operation(tx: Transaction) -> int:
        tx.tell(Changed(len(word)))
        return write(word)(tx)

    return operation


def fail_after(word: str) -> Operation[None]:
    """Make an operation that does the same, and fails then."""

    def operation(tx: Transaction) -> None:
        tell(word)(tx)
        raise KeyError("its own mistake")

    return operation


async def test_a_refusal_holds_on_to_nothing_of_those_that_shared_its_batch(desk: Desk) -> None:
    told: list[Outcome] = []

    class Content:
        """Something that a result may hold."""

    def refuse(_: Transaction) -> None:
        raise JobNotFound(7)

    gc.disable()
    try:
        desk.writer.queue(lambda _: Content(), told.append)
        desk.writer.queue(refuse, told.append)
        await desk.writer.drained()
        (kept, refused), told = told, []
        content = weakref.ref(kept.value)
        del kept
        assert content() is None
        assert isinstance(refused.error, JobNotFound)
    finally:
        gc.enable()


async def test_the_facts_of_a_batch_are_told_in_the_order_of_its_operations(desk: Desk) -> None:
    told = desk.hear()
    desk.writer.post(tell("1"))
    desk.writer.post(tell("22"))
    await desk.writer.run(tell("333"))
    assert told == [[Changed(1), Changed(2), Changed(3)]]


async def test_what_failed_has_told_nothing_and_what_came_with_it_is_told_once(desk: Desk) -> None:
    told = desk.hear()
    desk.writer.post(tell("1"))
    failed = desk.writer.post(fail_after("22"))
    await desk.writer.run(tell("333"))
    assert isinstance(failed.exception(), KeyError)
    assert told == [[Changed(1), Changed(3)]]
    assert desk.words() == ["1", "333"]


async def test_an_operation_sees_what_those_before_it_in_its_batch_have_told(desk: Desk) -> None:
    def seen(tx: Transaction) -> int:
        tx.changes.queued += 1
        return tx.changes.queued

    def refuse(tx: Transaction) -> None:
        seen(tx)
        raise KeyError("its own mistake")

    together = [desk.writer.post(seen) for _ in range(3)]
    assert await asyncio.gather(*together) == [1, 2, 3]
    alone = [desk.writer.post(each) for each in (seen, refuse, seen)]
    first, _, last = await asyncio.gather(*alone, return_exceptions=True)
    assert (first, last) == (1, 2)


async def test_a_refusal_that_had_told_something_is_undone_with_it(desk: Desk) -> None:
    def refuse(tx: Transaction) -> None:
        tx.tell(Changed(9))
        raise JobNotFound(7)

    told = desk.hear()
    desk.writer.post(tell("1"))
    refused = desk.writer.post(refuse)
    await desk.writer.run(tell("22"))
    assert isinstance(refused.exception(), JobNotFound)
    assert told == [[Changed(1), Changed(2)]]


async def test_a_subscriber_that_fails_hurts_none_of_the_others(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise KeyError("a subscriber's own mistake")

    heard: list[object] = []
    subscribers = Subscribers()
    subscribers.subscribe(Changed, fail, heard.append)
    subscribers.settle(fail)
    subscribers.settle(lambda changes: heard.append(len(changes.facts)))
    desk.writer.committed = subscribers.committed
    first, second = await desk.writer.run(tell("1")), await desk.writer.run(tell("22"))
    assert first < second
    assert heard == [Changed(1), 1, Changed(2), 1]
    assert caplog.text.count("a component failed") == 4


async def test_a_clock_that_fails_refuses_what_comes_and_stops_nothing(desk: Desk) -> None:
    hours = iter([1, None, 3])

    def clock() -> int:
        hour = next(hours)
        if hour is None:
            raise OSError("no time")
        return hour

    async with sqlite.writer(desk.path) as connection:
        writer = FileWriter(connection, desk.path, clock)
        assert await writer.run(write("one")) == 1
        with pytest.raises(OSError, match="no time"):
            await writer.run(write("two"))
        assert await writer.run(write("three")) == 3
    assert desk.words() == ["one", "three"]


async def test_an_operation_happens_even_if_whoever_waited_for_it_has_gone(desk: Desk) -> None:
    told = desk.hear()
    desk.writer.post(tell("word")).cancel()
    await desk.writer.drained()
    assert desk.words() == ["word"]
    assert told == [[Changed(4)]]


async def test_a_writer_is_idle_once_it_is_drained(desk: Desk) -> None:
    assert desk.writer.idle
    desk.writer.post(write("one"))
    assert not desk.writer.idle
    desk.writer.post(write("two"))
    await desk.writer.drained()
    assert desk.writer.idle
    assert desk.words() == ["one", "two"]


async def test_only_what_may_take_long_leaves_the_loops_thread(desk: Desk) -> None:
    def where(_: Transaction) -> int:
        return threading.get_ident()

    assert await desk.writer.run(where) == threading.get_ident()
    assert await desk.writer.run(where, off_loop=True) != threading.get_ident()
    assert await desk.writer.post_until_stored(where, off_loop=True) != threading.get_ident()


async def test_the_loop_goes_on_while_another_process_writes(desk: Desk) -> None:
    async with held_up(desk.path):
        waiting = desk.writer.post(write("word"))
        await turns(100)
        assert not waiting.done()
    await waiting
    assert desk.words() == ["word"]


async def test_a_function_between_transactions_waits_for_the_one_that_runs(desk: Desk) -> None:
    async with held_up(desk.path):
        posted = desk.writer.post(write("word"))
        await set_out()
        counting = asyncio.create_task(
            desk.writer.call(lambda file: file.execute("SELECT count(*) FROM word").fetchone())
        )
        await set_out()
        assert not counting.done()
    await posted
    assert await counting == (1,)


async def long_beside(desk: Desk, words: Sequence[str]) -> list[asyncio.Future[int]]:
    """Write a word in an operation that takes long, and others that come meanwhile; all posted."""
    begun, may_end = threading.Event(), threading.Event()

    def long(tx: Transaction) -> int:
        begun.set()
        may_end.wait()
        return write("long")(tx)

    posted = [desk.writer.post(long, off_loop=True)]
    await asyncio.to_thread(begun.wait)
    posted += [desk.writer.post(write(word)) for word in words]
    may_end.set()
    return posted


async def test_what_comes_during_an_operation_that_takes_long_shares_its_commit(desk: Desk) -> None:
    posted = await long_beside(desk, ["one", "two"])
    posted.append(desk.writer.post(write("as long"), off_loop=True))
    posted.append(desk.writer.post(write("last")))
    told = desk.hear()
    long, *joined, as_long, last = await asyncio.gather(*posted)
    assert long < joined[0] == joined[1] < as_long == last
    assert desk.words() == ["long", "one", "two", "as long", "last"]
    assert (desk.commits(), len(told)) == (2, 2)


async def test_what_joins_and_fails_fails_alone(desk: Desk) -> None:
    await desk.writer.run(write("one"))
    posted = await long_beside(desk, ["one", "two"])
    outcomes = await asyncio.gather(*posted, return_exceptions=True)
    assert [isinstance(each, StoreError) for each in outcomes] == [False, True, False]
    assert desk.words() == ["one", "long", "two"]


async def test_no_transaction_begins_until_a_function_has_ended_whose_caller_is_gone(
    desk: Desk,
) -> None:
    begun, may_end, order = threading.Event(), threading.Event(), []

    def long(_: sqlite3.Connection) -> None:
        begun.set()
        may_end.wait()
        order.append("long")

    calling = asyncio.create_task(desk.writer.call(long))
    await asyncio.to_thread(begun.wait)
    posted = desk.writer.post(lambda _: order.append("posted"))
    for _ in range(2):
        calling.cancel()
        await turns(10)
    may_end.set()
    await posted
    assert calling.cancelled()
    assert order == ["long", "posted"]


# --- what can go wrong with the file ------------------------------------------------------------

LONG: Final = "x" * 100_000


async def test_a_file_without_room_refuses_what_does_not_fit_and_takes_what_does(
    desk: Desk,
) -> None:
    await desk.limit(8)
    large, small = desk.writer.post(write(LONG)), desk.writer.post(write("small"))
    with pytest.raises(StoreFull):
        await large
    await small
    await desk.limit(1000)
    await desk.writer.run(write(LONG))
    assert desk.words() == ["small", LONG]


async def test_what_must_not_get_lost_is_written_as_soon_as_there_is_room(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.limit(8)
    insisting = desk.writer.post_until_stored(write(LONG))
    with pytest.raises(StoreFull):
        await desk.writer.run(write(LONG + "y"))
    assert not insisting.done()
    await desk.limit(1000)
    await insisting
    assert desk.words() == [LONG]
    assert "it is as large as [store] max_size allows; trying again" in caplog.text


async def test_what_must_not_get_lost_but_is_wrong_is_not_tried_again(desk: Desk) -> None:
    await desk.writer.run(write("word"))
    with pytest.raises(StoreError, match="UNIQUE"):
        await desk.writer.post_until_stored(write("word"))


async def test_a_closed_writer_refuses_what_comes_and_touches_its_connection_no_more(
    desk: Desk,
) -> None:
    last = desk.writer.post(write("last"))
    await desk.writer.close()
    assert last.done()
    commits = desk.commits()
    for late in (desk.writer.run(write("late")), desk.writer.call(sqlite3.Connection.commit)):
        with pytest.raises(
            StoreClosed, match=r"^the store: it is closed, since the server is stopping$"
        ):
            await late
    with pytest.raises(StoreClosed):  # and is not tried again
        await desk.writer.post_until_stored(write("late"))
    assert (desk.words(), desk.commits()) == (["last"], commits)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreAtLimit),
        (sqlite3.SQLITE_IOERR_WRITE, StoreFailing),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreFailing),
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy),
        (sqlite3.SQLITE_LOCKED, StoreBusy),
        (sqlite3.SQLITE_CORRUPT, StoreDamaged),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreDamaged),
        (sqlite3.SQLITE_NOTADB, StoreDamaged),
        (sqlite3.SQLITE_IOERR_READ, StoreFailing),
        (sqlite3.SQLITE_CONSTRAINT, StoreError),
    ],
)
async def test_sqlites_errors_are_told_in_the_stores_words(
    desk: Desk, code: int, kind: type[StoreError]
) -> None:
    with pytest.raises(StoreError, match=desk.path.name) as told:
        await desk.writer.run(failing(code))
    assert type(told.value) is kind


async def test_a_lock_that_is_not_released_is_waited_for_once_by_all_who_came_together(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    words = [f"word {number}" for number in range(5)]
    async with held_up(desk.path):
        waiting = [desk.writer.post(write(word)) for word in words]
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in told] == [StoreBusy] * len(words)
    assert desk.said.count("PRAGMA busy_timeout = 20") == 1
    await desk.writer.run(write("after"))
    assert desk.words() == ["after"]


def failing(code: int) -> Callable[[Transaction], None]:
    """Make an operation that fails as SQLite would."""

    def operation(_: Transaction) -> None:
        error = sqlite3.OperationalError("as SQLite says it")
        error.sqlite_errorcode = code
        raise error

    return operation
