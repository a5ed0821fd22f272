"""What operations do side by side on PostgreSQL is what they do one after the other.

There is no second set of statements for many: those for one are rewritten. So whatever operations
do in a batch, all tables are the same afterwards, and everybody is told the same.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobstore.model.errors import JobNotFound
from jobstore.model.job import Claim, Dialect, Failure, Policy, Replay
from jobstore.model.message import Request
from jobstore.store import ending, events, jobs, results, schema, submitting
from jobstore.store.ending import CapturedResponse
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import packing
from jobstore.store.postgresql.abreast import MANY
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.node_writer import NodeWriter
from jobstore.store.transaction import Operation, Transaction
from jobstore.store.writer import Turn
from tests.databases import SCHEMA, Databases
from tests.depth import DEEP
from tests.engines import Place, execute, rows
from tests.stores import StandingClock, submission
from tests.tables import TABLES

BOOT: Final = 1


class Turned(NamedTuple):
    """An operation, and in which turn it goes: see `Writer.queue`.

    Args:
        of: the job that it is about; 0 if it makes one.
        ends: whether it ends the job.
    """

    turn: Turn
    operation: Operation[Any]
    of: int = 0
    ends: bool = False


TEXTS: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
)
IDS: Final = st.integers(1, 12)


def submitted(account: int, path: str, body: bytes, priority: int, timeout: float | None) -> Turned:
    made = submission("POST", f"/{path}", body=body, priority=priority)
    policy = Policy(timeout=timeout, replay=None if timeout is None else Replay.ALWAYS)
    job = replace(made, account=account, dialect=Dialect.NATIVE, policy=policy, owner=path)
    claimed = BOOT if account else None
    return Turned(Turn.CHANGE, lambda tx: submitting.submit(tx, job, body, frozenset(), claimed))


def claim_of(job_id: int) -> Claim:
    request = Request(method="GET", path="/")
    return Claim(job_id=job_id, attempt=1, boot=BOOT, target="/", request=request)


def finished(job_id: int, status: int, body: bytes, reason: str) -> Turned:
    answer = CapturedResponse(status, reason, (("A", reason),), body)
    return Turned(
        Turn.CHANGE, lambda tx: ending.finish(tx, claim_of(job_id), answer), job_id, ends=True
    )


def failed(job_id: int, detail: str) -> Turned:
    failure = Failure.TIMEOUT
    return Turned(
        Turn.CHANGE,
        lambda tx: ending.fail(tx, claim_of(job_id), failure, detail),
        job_id,
        ends=True,
    )


def taken(job_id: int) -> Turned:
    def take(tx: Transaction) -> object:
        kept = jobs.kept(tx, job_id, None)
        return (results.take(tx, job_id), kept.status, kept.content, kept.headers)

    return Turned(Turn.TAKE, take, job_id)


def noted(job_id: int, detail: str) -> Turned:
    def note(tx: Transaction) -> None:
        if tx.execute(jobs.GET_JOB, job_id=job_id).fetchone() is None:
            raise JobNotFound(job_id)
        events.note(tx, job_id, "noted", detail)

    return Turned(Turn.CHANGE, note, job_id)


def operations(*timeouts: float | None) -> st.SearchStrategy[Turned]:
    """Give operations; jobs with wishes and such without get their ids by two statements."""
    number, body = st.integers(0, 2), st.binary(max_size=9)
    limits = st.sampled_from(timeouts)
    return st.one_of(
        st.builds(submitted, number, TEXTS, body, st.integers(-3, 3), limits),
        st.builds(finished, IDS, st.integers(100, 599), body, TEXTS),
        st.builds(failed, IDS, TEXTS),
        st.builds(taken, IDS),
        st.builds(noted, IDS, TEXTS),
    )


def possible(batch: Sequence[Turned], there: int) -> list[Turned]:
    """Leave out what never comes: what ends or takes a job twice at once, or one just made.

    Whoever ends or takes it says so in memory, where the next one is refused.

    Args:
        there: how many jobs there are.
    """
    only: set[tuple[Turn, int]] = set()
    kept = []
    for each in batch:
        once = each.ends or each.turn is Turn.TAKE
        if each.of <= there and not (once and (each.turn, each.of) in only):
            kept.append(each)
            only.update([(each.turn, each.of)] if once else [])
    return kept


async def done(place: Place, batches: Sequence[Sequence[Turned]], *, abreast: bool) -> list[Any]:
    """Run batches of operations; return what everybody is told, and all tables."""
    told, there = [], 0
    execute(place, "INSERT INTO boot (started_at, pid, version) VALUES (0, 0, '')")
    async with DatabaseConnection(place.url, SCHEMA) as connection:
        writer = NodeWriter(connection, StandingClock(), OwnBoot())
        for drawn in batches:
            batch = possible(drawn, there)
            there += sum(not each.of for each in batch)
            # One after the other, in the order of the turns that they have side by side.
            order = batch if abreast else sorted(batch, key=lambda each: each.turn)
            posted = {
                id(each): writer.post(each.operation, abreast=each.turn if abreast else Turn.ALONE)
                for each in order
            }
            outcomes = await asyncio.gather(*posted.values(), return_exceptions=True)
            by_operation = dict(zip(posted, outcomes, strict=True))
            told += [str(by_operation[id(each)]) for each in batch]
        await writer.close()
    return [told, *(sorted(rows(place, f"TABLE {name}"), key=str) for name in _TABLES)]


_TABLES: Final = ("counter", "account_usage", "day", *(each.name for each in TABLES))


@settings(
    max_examples=400 if DEEP else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batches=st.one_of(
        [
            st.lists(st.lists(operations(*timeouts), min_size=least, max_size=most), max_size=4)
            for timeouts in ([None], [0.1, 1e300])
            for least, most in ((0, 12), (MANY, 2 * MANY))  # of so many, two parties are made
        ]
    )
)
def test_what_is_done_side_by_side_is_what_is_done_one_after_the_other(
    postgresql: Databases, tmp_path: Path, batches: list[list[Turned]]
) -> None:
    try:
        one, other = Place(tmp_path / "one"), Place(tmp_path / "other")
        abreast = asyncio.run(done(one, batches, abreast=True))
        alone = asyncio.run(done(other, batches, abreast=False))
        assert abreast == alone
    finally:
        postgresql.release()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("BIGINT", [1, None, -(2**63), 2**63 - 1, True]),
        ("BIGINT", [7]),
        ("BIGINT", [None, None]),
        ("BIGINT", [2, 1, 3]),
        ("TEXT", ["", None, "a\\,{}\"'", "ö€😀", " "]),
        ("TEXT", ["ö", "ö", "ö"]),
        ("TEXT", ["ö", "a"]),
        ("BYTEA", [b"", None, bytes(range(256))]),
        ("BYTEA", [b"\0", b""]),
        ("DOUBLE PRECISION", [0.1, None, -0.0, 1e308, 3]),
        ("DOUBLE PRECISION", [0.5, 0.25]),
    ],
)
async def test_a_list_that_is_packed_is_the_list_that_the_database_has(
    postgresql: Databases, tmp_path: Path, kind: str, values: list[Any]
) -> None:
    types = {
        "BIGINT": schema.JOB.c.priority.type,
        "TEXT": schema.JOB.c.path.type,
        "BYTEA": schema.CHUNK.c.data.type,
        "DOUBLE PRECISION": schema.JOB.c.timeout.type,
    }
    try:
        async with DatabaseConnection(Place(tmp_path / "jobs").url, SCHEMA) as connection:
            link = await connection.link()
            sent = packing.packed(types[kind], values)
            cursor = await link.execute(f"SELECT unnest(%s::{kind}[])".encode(), [sent])
            assert [value for (value,) in await cursor.fetchall()] == values
    finally:
        postgresql.release()
