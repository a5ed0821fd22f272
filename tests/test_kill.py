"""The acceptance test: kill the server again and again, at any moment, under load."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from aiohttp import ClientError, ClientSession, DummyCookieJar

from jobstore.clock import SECOND, now
from jobstore.job import Failure
from jobstore.lifecycle import ENDED, Result, State
from tests import counted
from tests.conftest import ServerProcess
from tests.ledger import Customer, Ledger
from tests.stores import check_sound, opened, rows

KILLS: Final = 26
CUSTOMERS: Final = 8
MOST_ANSWERS: Final = 40  # that are seen before a kill

# Few slots, so that jobs wait as well; and a janitor who purges all the time what was fetched.
SETTINGS: Final = {
    "JOBSTORE_EXECUTOR__CONCURRENCY": "4",
    "JOBSTORE_RETENTION__UNFETCHED": "never",
    "JOBSTORE_RETENTION__FETCHED": "0s",
    "JOBSTORE_RETENTION__HISTORY": "never",
    "JOBSTORE_RETENTION__INTERVAL": "20ms",
}
MAX_ATTEMPTS: Final = 3


class Row(NamedTuple):
    """A job as it stands in the store at the end."""

    id: int
    state: str
    result: str
    method: str
    path: str
    attempt: int
    status: int
    failure: str | None
    submitted_at: int
    started_at: int | None
    finished_at: int
    fetched_at: int | None


Jobs = Mapping[int, Row]


@pytest.fixture
def chance() -> random.Random:
    """Give a source of chance, which a failing test shows."""
    seed = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"KILL_SEED={seed}")  # noqa: T201 - shown if the test fails
    return random.Random(seed)


async def load_until_killed(server: ServerProcess, ledger: Ledger, chance: random.Random) -> None:
    """Let customers ask for anything, and kill the server when they have seen some answers."""
    left = chance.randrange(MOST_ANSWERS)

    def answered() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            server.process.kill()

    async def custom(http: ClientSession) -> None:
        with suppress(ClientError, OSError):
            await Customer(ledger, chance, http, server.url, answered).go_on()

    if left == 0:
        server.process.kill()
    async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as http:
        await asyncio.gather(*(custom(http) for _ in range(CUSTOMERS)))
    await server.process.wait()


async def settled(path: Path, http: ClientSession, url: str) -> None:
    """Wait until all work has ended."""
    unfinished = "SELECT sum(count) FROM counter WHERE state IN ('queued', 'running')"
    while rows(path, unfinished) != [(0,)]:
        async with http.get(f"{url}/_api/job/pending") as answer:
            await answer.read()


# --- what has to be true at the end -------------------------------------------------------------


def check_no_job_is_lost(ledger: Ledger, jobs: Jobs) -> None:
    """See that each job that was answered 202 is there, has ended, and went where it was told."""
    latest = max(ledger.stamps, default=0) * SECOND
    for job_id, sent in ledger.accepted.items():
        job = jobs[job_id]
        assert (job.method, job.path) == (sent.method, sent.path)
        assert job.state in set(ENDED)
        match job.result:
            case Result.TAKEN:
                assert job_id in ledger.fetches, job
            case Result.DELETED:
                assert job_id in ledger.deletes, job
            case Result.EXPIRED:
                assert job.finished_at < latest, job
            case _:
                raise AssertionError(job)
    stored = Counter(job.path for job in jobs.values())
    assert all(stored[path] == 1 for path in ledger.unnamed)
    assert set(stored.values()) == {1}, "no submission became two jobs"
    assert not ledger.missed


def check_no_result_was_given_twice(ledger: Ledger, jobs: Jobs) -> None:
    """See that nobody read a result to its end that somebody else had read or will read."""
    assert set(ledger.whole.values()) == {1}
    assert all(jobs[job_id].result == Result.TAKEN for job_id in ledger.whole)


def check_results(ledger: Ledger, jobs: Jobs) -> None:
    """See that each result is the target's answer, or says why there is none."""
    for job_id, (status, right) in ledger.answers.items():
        job = jobs[job_id]
        assert job.status == status
        match job.state:
            case State.DONE:
                assert right, job
            case State.CANCELLED:
                assert status == 410
                assert job_id in ledger.cancels
            case _:
                assert (status, job.failure) == (503, Failure.INTERRUPTED)
                assert job.method == "POST" or job.attempt == MAX_ATTEMPTS, job


def check_executions(record: Path, jobs: Jobs) -> None:
    """See that each attempt was sent once, and what may not be repeated was not."""
    lines = record.read_text().splitlines()
    times = Counter(tuple(int(number) for number in line.split()) for line in lines)
    assert set(times.values()) == {1}, "no attempt was sent twice"
    executed = Counter(job_id for job_id, _ in times)
    for job_id, attempt in times:
        assert attempt <= jobs[job_id].attempt
    for job in jobs.values():
        assert executed[job.id] <= (1 if job.method == "POST" else job.attempt), job
        if job.state == State.DONE:
            assert executed[job.id] > 0, job


def check_times(path: Path, jobs: Jobs) -> None:
    """See that each job's history tells what happened in an order in which it can happen."""
    for job in jobs.values():
        times = [job.submitted_at, job.started_at, job.finished_at, job.fetched_at]
        known = [moment for moment in times if moment is not None]
        assert known == sorted(known), job
    recovered = rows(path, "SELECT job_id, at FROM event WHERE event = 'recovered'")
    for job_id, at in recovered:
        job = jobs[job_id]
        assert job.submitted_at <= at <= job.finished_at
        assert job.attempt > 1 or job.state == State.CANCELLED


@pytest.mark.timeout(300)
async def test_a_server_that_is_killed_at_any_moment_loses_no_job_and_gives_no_result_twice(
    server_process: Callable[..., Awaitable[ServerProcess]],
    store_path: Path,
    http: ClientSession,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = store_path.with_name("record")
    for name, value in {**SETTINGS, counted.RECORD: str(record)}.items():
        monkeypatch.setenv(name, value)
    ledger = Ledger()
    server = await server_process("--app", "tests.counted:create_app")
    for _ in range(KILLS):
        await load_until_killed(server, ledger, chance)
        await server.start()
    await settled(store_path, http, server.url)
    customer = Customer(ledger, chance, http, server.url, lambda: None)
    held = {job_id for (job_id,) in rows(store_path, "SELECT id FROM job WHERE result = 'held'")}
    for job_id in sorted(held & ledger.accepted.keys()):
        assert await customer.fetch(job_id) in {200, 410, 503}
    assert await server.terminate() == 0

    killed = "SELECT count(*) FROM boot WHERE ended_at IS NULL"
    assert rows(store_path, killed) == [(KILLS,)]
    check_sound(store_path)
    select = f"SELECT {', '.join(Row._fields)} FROM job"  # noqa: S608 - names of columns
    jobs = {row[0]: Row(*row) for row in rows(store_path, select)}
    check_no_job_is_lost(ledger, jobs)
    check_no_result_was_given_twice(ledger, jobs)
    check_results(ledger, jobs)
    check_executions(record, jobs)
    check_times(store_path, jobs)
    async with opened(store_path, clock=now) as store:
        await store.results.expire(now() + SECOND)
        await store.upkeep.purge(now() + SECOND)
        await store.upkeep.sweep()
    assert rows(store_path, "SELECT * FROM body") == rows(store_path, "SELECT 1 FROM chunk") == []
