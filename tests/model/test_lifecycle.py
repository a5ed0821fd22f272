import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.live import CapturedResponse
from jobstore.model.errors import JobNotFound, ResultNotRestorable
from jobstore.model.job import Claim, Failure
from jobstore.model.lifecycle import (
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
from jobstore.store import claiming, ending, recovery, results, retention, submitting
from jobstore.store.facts import Changes
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.transaction import FileTransaction, connection_of
from jobstore.store.transaction import Transaction
from tests.job_rows import a_job, insert
from tests.stores import MISCOUNTED, START, prepare

BOOT: Final = 1
WANTED: Final = claiming.Wanted("/", BOOT, 1, lambda _: b"", lambda _: None)
ANSWER: Final = CapturedResponse(200, None, (), b"answer")

Standing = tuple[State, Result]


def after(event: Event, state: State, result: Result) -> Standing:
    """Say where a job stands after an event, by the tables; where it stood if there is no entry."""
    states, results = JOB.get(event, {state: state}), RESULT.get(event, {result: result})
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
    gone = (Result.DELETED, Result.EXPIRED, Result.UNWANTED)
    for event, moves in RESULT.items():
        for result in gone:
            assert moves.get(result, result) in {result, Result.DELETED}, event
        assert moves.get(Result.DELETED, Result.DELETED) is Result.DELETED, event


def test_a_result_is_there_exactly_when_the_work_has_ended() -> None:
    for state, result in STANDINGS:
        if result is Result.NONE:
            assert state not in ENDED
        if result in {Result.HELD, Result.TAKEN, Result.EXPIRED}:
            assert state in ENDED


# --- the tables and the store -------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Give a connection to a store; each test leaves its file as it was."""
    path: Path = tmp_path_factory.mktemp("lifecycle") / "jobs.db"
    prepare(path)
    with closing(sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)) as connection:
        boot = {"now": START, "pid": 1, "version": "1"}
        connection.execute(recovery.BOOT.sql, recovery.BOOT.bound(boot))
        yield connection


@pytest.fixture
def tx(file: sqlite3.Connection) -> Iterator[Transaction]:
    """Give a transaction that is undone when the test ends."""
    file.execute("BEGIN IMMEDIATE")
    yield FileTransaction(file, START + 9, Changes())
    file.execute("ROLLBACK")


def put(tx: Transaction, state: State, result: Result) -> int:
    """Put a job into a store, claimed once and standing where it is told."""
    is_ended, is_taken = state in ENDED, result is Result.TAKEN
    times = {
        "started_at": START + 1,
        "finished_at": START + 2 if is_ended else None,
        "fetched_at": START + 3 if is_taken else None,
        "purgeable_at": START + 3 if is_ended and result not in AWAITED else None,
    }
    job_id = insert(connection_of(tx), a_job(state, result, **times))
    tx.execute(submitting.PUT_REQUEST, job_id=job_id, headers="[]", secrets=None, content=b"")
    tx.tally.came(0, state, result, 0, START)
    if result in {Result.HELD, Result.TAKEN}:
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
        tx, claim_of(job_id), START + 9, AttemptEnded(status=503)
    ),
    Event.TAKE: results.take,
    Event.GIVE_BACK: lambda tx, job_id: results.give_back(tx, job_id, 1, "broken"),
    Event.RESTORE: results.restore,
    Event.DELETE: lambda tx, job_id: results.discard(tx, job_id, None),
    Event.EXPIRE: lambda tx, _: results.expire_step(
        tx, since=0, before=START + 9, busy="[]", scope=None, limit=1
    ),
}


def happen(tx: Transaction, event: Event, job_id: int) -> None:
    try:
        HAPPEN[event](tx, job_id)
    except (JobNotFound, ResultNotRestorable):
        return  # whether anything has changed is what the test looks at


def row(tx: Transaction, job_id: int) -> dict[str, Any]:
    cursor = connection_of(tx).execute("SELECT * FROM job WHERE id = ?", (job_id,))
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))


@pytest.mark.parametrize(("state", "result"), STANDINGS)
@pytest.mark.parametrize("event", Event)
def test_an_event_does_to_a_stored_job_what_the_tables_say_and_else_nothing(
    tx: Transaction, event: Event, state: State, result: Result
) -> None:
    job_id = put(tx, state, result)
    before = row(tx, job_id)
    happen(tx, event, job_id)
    found = row(tx, job_id)
    assert (found["state"], found["result"]) == after(event, state, result)
    if after(event, state, result) == (state, result):
        assert found == before


@pytest.mark.parametrize(("state", "result"), STANDINGS)
def test_a_client_cancels_what_waits_asks_what_runs_to_stop_and_finds_only_what_is_awaited(
    tx: Transaction, state: State, result: Result
) -> None:
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


@settings(deadline=None)  # how long it takes is not the question
@given(
    st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 2)), max_size=30), st.integers(0, 2)
)
def test_whatever_happens_to_some_jobs_what_is_kept_of_them_equals_what_is_counted(
    file: sqlite3.Connection, events: list[tuple[Event, int]], forgotten: int
) -> None:
    file.execute("BEGIN IMMEDIATE")
    tx = FileTransaction(file, START + 9, Changes())
    jobs = [put(tx, State.QUEUED, result) for result in (*INITIAL_RESULTS, Result.NONE)]
    for event, number in events:
        if event is Event.CANCEL and row(tx, jobs[number])["state"] == State.QUEUED:
            with suppress(JobNotFound):
                ending.cancel(tx, jobs[number])
        else:
            happen(tx, event, jobs[number])
    waiting = file.execute("SELECT count(*) FROM job WHERE state = 'queued'").fetchone()[0]
    assert len(jobs) + tx.changes.queued == waiting
    retention.purge_step(tx, START + 10, 2)
    retention.forget(tx, jobs[:forgotten])
    tx.write_tally()
    miscounted = [row for statement in MISCOUNTED["file"] for row in file.execute(statement)]
    file.execute("ROLLBACK")
    assert miscounted == []


# --- the tables and README.md -------------------------------------------------------------------

README: Final = Path(__file__).parents[2] / "README.md"


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


def test_the_diagrams_of_the_readme_show_the_tables() -> None:
    found = re.findall(r"```mermaid\s+stateDiagram-v2\n(.*?)```", README.read_text(), re.DOTALL)
    shown = [[line.strip() for line in block.splitlines() if "-->" in line] for block in found]
    assert shown == [diagram(INITIAL_STATES, JOB), diagram(INITIAL_RESULTS, RESULT)]
