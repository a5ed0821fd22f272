import asyncio
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, insert, select, text, update

from jobstore.live import CapturedResponse
from jobstore.model.errors import JobNotFound, ResultNotRestorable
from jobstore.model.job import Claim, Failure
from jobstore.model.lifecycle import (
    AFTER_THE_END,
    AWAITED,
    ENDED,
    INITIAL_RESULTS,
    INITIAL_STATES,
    JOB,
    RESULT,
    Event,
    Result,
    State,
)
from jobstore.model.message import Request
from jobstore.model.retry import AttemptEnded
from jobstore.model.rotation import Turns
from jobstore.store import (
    claiming,
    deleting,
    ending,
    holding,
    recovery,
    results,
    retention,
    schema,
    submitting,
)
from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.postgresql.abreast import walk
from jobstore.store.postgresql.journeys import Journeys
from jobstore.store.postgresql.link import Link
from jobstore.store.postgresql.links import connect
from jobstore.store.postgresql.transaction import NodeTransaction, Shared
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.transaction import FileTransaction
from jobstore.store.transaction import Operation, Transaction
from tests.databases import SCHEMA
from tests.engines import ENGINES, Place, named
from tests.job_rows import a_job
from tests.stores import MISCOUNTED, START, execute, prepare

BOOT: Final = 1
NOW: Final = START + 9
WANTED: Final = claiming.Wanted("/", BOOT, 1, lambda _: b"", lambda _: None)
ANSWER: Final = CapturedResponse(200, None, (), b"answer")

Standing = tuple[State, Result]
T = TypeVar("T")


def after(event: Event, state: State, result: Result) -> Standing:
    """Say where a job stands after an event, by the tables; where it stood if there is no entry."""
    states, results = JOB.get(event, {state: state}), RESULT.get(event, {result: result})
    if event in AFTER_THE_END and state not in ENDED:
        return state, result
    if state in states and result in results:
        return states[state], results[result]
    return state, result


def reachable() -> set[Standing]:
    """Follow every event from every beginning."""
    found: set[Standing] = set()
    ahead = {(state, result) for state in INITIAL_STATES for result in INITIAL_RESULTS}
    while ahead:
        found |= ahead
        ahead = {after(event, *standing) for event in Event for standing in ahead} - found
    return found


STANDINGS: Final = sorted(reachable())


# --- the tables ---------------------------------------------------------------------------------


def test_every_state_and_every_result_can_be_reached() -> None:
    assert {state for state, _ in STANDINGS} == set(State)
    assert {result for _, result in STANDINGS} == set(Result)


def test_every_event_changes_something_somewhere() -> None:
    for event in Event:
        assert any(after(event, *standing) != standing for standing in STANDINGS), event


def test_ended_work_never_moves_again() -> None:
    assert not [event for event in JOB for state in ENDED if state in JOB[event]]


def test_a_result_that_is_gone_for_good_never_comes_back() -> None:
    for event, moves in RESULT.items():
        for result in (Result.EXPIRED, Result.UNWANTED):
            assert moves.get(result, result) in {result, Result.DELETED}, event


def test_only_who_restores_a_deleted_result_brings_it_back() -> None:
    back = {event for event, moves in RESULT.items() if Result.DELETED in moves}
    assert {event for event in back if RESULT[event][Result.DELETED] is Result.HELD} == {
        Event.RESTORE
    }


def test_a_result_is_there_exactly_when_the_work_has_ended() -> None:
    for state, result in STANDINGS:
        if result is Result.NONE:
            assert state not in ENDED
        if result in {Result.HELD, Result.TAKEN, Result.EXPIRED}:
            assert state in ENDED


# --- the tables and the store -------------------------------------------------------------------


class Undone(ABC):
    """Transactions on one of the engines, each of which is undone."""

    @abstractmethod
    def run(self, operation: Operation[T], look: Operation[object] = lambda _: None) -> T:
        """Do something.

        Args:
            look: called when what was counted meanwhile is written down.
        """


class UndoneInFile(Undone):
    """Those of a file."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    def run(self, operation: Operation[T], look: Operation[object] = lambda _: None) -> T:
        """Do something."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            tx = FileTransaction(self._file, NOW, Changes())
            value = operation(tx)
            tx.write_tally()
            look(tx)
        finally:
            self._file.execute("ROLLBACK")
        return value


class UndoneInDatabase(Undone):
    """Those of a node."""

    def __init__(self, runner: asyncio.Runner, link: Link) -> None:
        self._runner = runner
        self._link = link
        self._journeys = Journeys(link)

    def run(self, operation: Operation[T], look: Operation[object] = lambda _: None) -> T:
        """Do something."""
        return self._runner.run(self._run(operation, look))

    async def _run(self, operation: Operation[T], look: Operation[object]) -> T:
        await self._link.execute("BEGIN")
        try:
            async with self._journeys.using(lambda: None) as journeys:
                shared = Shared(journeys, BOOT, NOW, Changes())
                way, looking = (
                    partial(each, NodeTransaction(shared)) for each in (operation, look)
                )
                (value,) = await walk(journeys, [way], shared.left, shared.foreseen)
                shared.send_tally()
                await walk(journeys, [looking], shared.left, shared.foreseen)
        finally:
            await self._link.execute("ROLLBACK")
        return cast("T", value)


@pytest.fixture(scope="module", params=ENGINES)
def undone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undone]:
    """Give a way to work on a store that is empty again afterwards."""
    with named(tmp_path_factory.mktemp("lifecycle") / "jobs.db", request.param) as path:
        prepare(path)
        execute(path, "INSERT INTO boot (started_at, pid, version, ended_at) VALUES (0, 1, '', 1)")
        if isinstance(path, Place):
            with asyncio.Runner() as runner:
                link = runner.run(connect(path.url, SCHEMA, {}))
                yield UndoneInDatabase(runner, link)
                runner.run(link.close())
            return
        with closing(sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)) as connection:
            yield UndoneInFile(connection)


_ROW_OF_JOB: Final = a_job("", "", purgeable_at=None)
PUT: Final = Statement(insert(schema.JOB).values({each: bindparam(each) for each in _ROW_OF_JOB}))
DELIVER: Final = Statement(
    update(schema.JOB)
    .where(schema.JOB.c.id == bindparam("job_id"))
    .values(reader=bindparam("reader"))
)
ROW: Final = Statement(
    select(*schema.columns(schema.JOB)).where(schema.JOB.c.id == bindparam("job_id"))
)


def put(tx: Transaction, state: State, result: Result) -> int:
    """Put a job into a store, claimed once and standing where it is told."""
    is_ended, is_taken = state in ENDED, result is Result.TAKEN
    times = {
        "started_at": START + 1,
        "finished_at": START + 2 if is_ended else None,
        "fetched_at": START + 3 if is_taken else None,
        "purgeable_at": START + 3 if is_ended and result not in AWAITED else None,
    }
    job_id = tx.insert(PUT, **a_job(state, result, **times))
    tx.execute(submitting.PUT_REQUEST, job_id=job_id, headers="[]", secrets=None, content=b"")
    if tx.shared and is_taken:
        tx.execute(DELIVER, job_id=job_id, reader=BOOT)
    tx.tally.came(0, state, result, 0, START)
    if is_ended and result in {Result.HELD, Result.TAKEN, Result.DELETED}:
        tx.execute(ending.PUT_RESPONSE, job_id=job_id, reason=None, headers="[]", content=b"answer")
    return job_id


def claim_of(job_id: int) -> Claim:
    request = Request(method="GET", path="/")
    return Claim(job_id=job_id, attempt=1, boot=BOOT, target="/", request=request)


HAPPEN: Final[Mapping[Event, Callable[[Transaction, int], object]]] = {
    Event.CLAIM: lambda tx, _: claiming.claim(tx, WANTED, Turns(), None),
    Event.FINISH: lambda tx, job_id: ending.finish(tx, claim_of(job_id), ANSWER),
    Event.FAIL: lambda tx, job_id: ending.fail(tx, claim_of(job_id), Failure.TIMEOUT, "too slow"),
    Event.CANCEL: lambda tx, job_id: recovery.cancel_orphans(tx, [job_id], "cancelled"),
    Event.RECOVER: lambda tx, job_id: recovery.recover(tx, [job_id], "killed"),
    Event.RETRY: lambda tx, job_id: ending.retry(
        tx, claim_of(job_id), NOW, AttemptEnded(status=503)
    ),
    Event.HOLD: lambda tx, job_id: holding.hold(
        tx, claim_of(job_id), "/", AttemptEnded(detail="refused"), sent=False
    ),
    Event.GIVE_UP: lambda tx, job_id: holding.give_up(tx, "/", [job_id], "it has waited for 1 s"),
    Event.TAKE: results.take,
    Event.GIVE_BACK: lambda tx, job_id: results.give_back(tx, job_id, 1, "broken"),
    Event.RESTORE: results.restore,
    Event.DELETE: lambda tx, job_id: deleting.discard(tx, job_id, None),
    Event.EXPIRE: lambda tx, _: deleting.expire_step(
        tx,
        since=0,
        before=START + 9,
        restored_since=START + 9,
        busy="[]",
        scope=None,
        limit=1,
    ),
}


def happen(tx: Transaction, event: Event, job_id: int) -> None:
    try:
        HAPPEN[event](tx, job_id)
    except (JobNotFound, ResultNotRestorable):
        return  # whether anything has changed is what the test looks at


def row(tx: Transaction, job_id: int) -> dict[str, Any]:
    names = [column.name for column in schema.columns(schema.JOB)]
    return dict(zip(names, tx.execute(ROW, job_id=job_id).fetchone(), strict=True))


@pytest.mark.parametrize(("state", "result"), STANDINGS)
@pytest.mark.parametrize("event", Event)
def test_an_event_does_to_a_stored_job_what_the_tables_say_and_else_nothing(
    undone: Undone, event: Event, state: State, result: Result
) -> None:
    def happens(tx: Transaction) -> None:
        job_id = put(tx, state, result)
        before = row(tx, job_id)
        happen(tx, event, job_id)
        found = row(tx, job_id)
        assert (found["state"], found["result"]) == after(event, state, result)
        if after(event, state, result) == (state, result):
            assert found == before

    undone.run(happens)


@pytest.mark.parametrize(("state", "result"), STANDINGS)
def test_a_client_cancels_what_waits_asks_what_runs_to_stop_and_finds_only_what_is_awaited(
    undone: Undone, state: State, result: Result
) -> None:
    def cancels(tx: Transaction) -> None:
        job_id = put(tx, state, result)
        before = row(tx, job_id)
        if result not in AWAITED:
            with pytest.raises(JobNotFound):
                ending.cancel(tx, job_id)
            assert row(tx, job_id) == before
            return
        assert ending.cancel(tx, job_id) == state
        found = row(tx, job_id)
        match state:
            case State.QUEUED:
                assert (found["state"], found["result"]) == (State.CANCELLED, Result.HELD)
            case State.RUNNING:
                assert found == {**before, "cancel_asked_at": tx.now}
            case _:
                assert found == before

    undone.run(cancels)


WAITING: Final = Statement(text("SELECT count(*) FROM job WHERE state = 'queued'"))


@settings(deadline=None)  # how long it takes is not the question
@given(
    st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 2)), max_size=30), st.integers(0, 2)
)
def test_whatever_happens_to_some_jobs_what_is_kept_of_them_equals_what_is_counted(
    undone: Undone, events: list[tuple[Event, int]], forgotten: int
) -> None:
    def happens(tx: Transaction) -> None:
        jobs = [put(tx, State.QUEUED, result) for result in (*INITIAL_RESULTS, Result.NONE)]
        for event, number in events:
            if event is Event.CANCEL and row(tx, jobs[number])["state"] == State.QUEUED:
                with suppress(JobNotFound):
                    ending.cancel(tx, jobs[number])
            else:
                happen(tx, event, jobs[number])
        waiting = tx.execute(WAITING).fetchone()[0]
        assert len(jobs) + tx.changes.queued == waiting
        retention.purge_step(tx, START + 10, 2)
        retention.forget(tx, jobs[:forgotten], START + 10, START + 10)

    def counts(tx: Transaction) -> None:
        for statement in MISCOUNTED["postgresql" if tx.shared else "file"]:
            assert tx.execute(Statement(text(statement))).fetchall() == []

    undone.run(happens, counts)


# --- the tables and their page ------------------------------------------------------------------

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "life-of-a-job.md"


def diagram(initial: tuple[str, ...], table: Mapping[Event, Mapping[Any, Any]]) -> list[str]:
    """Write a machine as the transitions of a mermaid state diagram."""
    edges: dict[tuple[str, str], list[str]] = {("[*]", state): ["submit"] for state in initial}
    for event, moves in table.items():
        for old, new in moves.items():
            if old != new:
                edges.setdefault((old, new), []).append(event)
    left = {old for old, _ in edges}
    last = dict.fromkeys(new for _, new in edges if new not in left)
    lines = [f"{old} --> {new}: {', '.join(events)}" for (old, new), events in edges.items()]
    return lines + [f"{state} --> [*]" for state in last]


def test_the_diagrams_of_the_page_show_the_tables() -> None:
    found = re.findall(r"```mermaid\s+stateDiagram-v2\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown = [[line.strip() for line in block.splitlines() if "-->" in line] for block in found]
    assert shown == [diagram(INITIAL_STATES, JOB), diagram(INITIAL_RESULTS, RESULT)]
