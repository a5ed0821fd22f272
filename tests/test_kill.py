"""A server that is killed again and again loses nothing that it has acknowledged."""

import asyncio
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientError, ClientSession

from tests.commands import said
from tests.conftest import ServerProcess
from tests.jobs import Answer, call, ended, fetched
from tests.witness import WITNESS

KILLS: Final = 25
CLIENTS: Final = 6
LARGE: Final = 1_500_000  # bytes: some chunks, in two commits
SEED: Final = 20261122

Start = Callable[..., Awaitable[ServerProcess]]


@dataclass
class Ledger:
    """What clients know for certain, kept outside of the server.

    Args:
        accepted: what was answered 202, and the digest of the body that is to come back.
        read: how often each result was read to its end.
        fetching: whose result was asked for, whatever became of the answer.
        deleting: whose deletion was asked for, whatever became of the answer.
    """

    accepted: dict[int, bytes] = field(default_factory=dict)
    read: Counter[int] = field(default_factory=Counter)
    fetching: set[int] = field(default_factory=set)
    deleting: set[int] = field(default_factory=set)
    _answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def answered(self) -> None:
        """Note that some client has got an answer."""
        self._answers.release()

    async def until(self, answers: int) -> None:
        """Wait for so many more answers."""
        for _ in range(answers):
            await self._answers.acquire()


class Client:
    """Somebody who submits, fetches, cancels and deletes."""

    def __init__(self, http: ClientSession, ledger: Ledger, number: int) -> None:
        self._http = http
        self._ledger = ledger
        self._random = random.Random(f"{SEED}/{number}")
        self._mine: list[int] = []

    async def run(self, url: str) -> None:
        """Go on until the server is gone."""
        acts = (self._submit, self._fetch, self._cancel, self._delete)
        try:
            while True:
                (act,) = self._random.choices(acts, (6, 5, 1, 1))
                if act == self._submit or self._mine:
                    await act(url)
                    self._ledger.answered()
        except (ClientError, OSError):
            return

    async def _submit(self, url: str) -> None:
        method = self._random.choice(("GET", "PUT", "POST", "POST"))
        size = 0 if method == "GET" else self._random.choice((0, 10, 1000, 1000, LARGE))
        body = self._random.randbytes(size)
        headers = {"x-arango-async": "store"}
        answer = await call(self._http, method, url + "/work", data=BytesIO(body), headers=headers)
        assert answer.status == 202, answer
        job_id = int(answer.headers["x-arango-async-id"])
        assert job_id not in self._ledger.accepted
        self._ledger.accepted[job_id] = digest(body)
        self._mine.append(job_id)

    async def _fetch(self, url: str) -> None:
        job_id = self._random.choice(self._mine)
        self._ledger.fetching.add(job_id)
        note(self._ledger, job_id, await call(self._http, "PUT", f"{url}/_api/job/{job_id}"))

    async def _cancel(self, url: str) -> None:
        job_id = self._random.choice(self._mine)
        await call(self._http, "PUT", f"{url}/_api/job/{job_id}/cancel")

    async def _delete(self, url: str) -> None:
        job_id = self._random.choice(self._mine)
        self._ledger.deleting.add(job_id)
        await call(self._http, "DELETE", f"{url}/_api/job/{job_id}")


def digest(body: bytes) -> bytes:
    """Tell bodies apart without keeping them."""
    return hashlib.sha256(body).digest()


def note(ledger: Ledger, job_id: int, answer: Answer) -> None:
    """Note a fetch that was answered to its end."""
    assert answer.status in {200, 204, 404, 410, 503}, answer
    if "x-arango-async-id" in answer.headers:
        ledger.read[job_id] += 1
    if answer.status == 200:
        assert digest(answer.body) == ledger.accepted[job_id]


def rows(store: Path, statement: str) -> list[Any]:
    """Ask the store with SQLite's own tools."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.timeout(400)
async def test_nothing_acknowledged_is_lost_and_nothing_is_given_out_twice(
    server_process: Start, store_path: Path, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = store_path.with_name("witness")
    monkeypatch.setenv(WITNESS, str(witness))
    ledger = Ledger()
    clients = [Client(http, ledger, number) for number in range(CLIENTS)]
    moments = random.Random(SEED)
    for _ in range(KILLS):
        server = await server_process("--app", "tests.witness:create_app")
        running = asyncio.gather(*(client.run(server.url) for client in clients))
        await ledger.until(moments.randint(1, 60))
        await server.kill()
        await running

    server = await server_process("--app", "tests.witness:create_app")
    await every_result_is_where_it_belongs(server, store_path, http, ledger)
    assert await server.terminate() == 0
    nothing_ran_twice_that_must_not(store_path, witness)
    assert "ok" in await asyncio.to_thread(said, "check", "--store", store_path)
    assert rows(store_path, "SELECT count(*) FROM body WHERE job_id IS NULL") == [(0,)]
    every_timeline_is_legal(store_path)


async def every_result_is_where_it_belongs(
    server: ServerProcess, store_path: Path, http: ClientSession, ledger: Ledger
) -> None:
    """Fetch what can be fetched; whatever cannot has gone to its reader or was deleted."""
    assert len(ledger.accepted) > KILLS
    assert max(ledger.read.values()) == 1
    for job_id in ledger.accepted:
        await ended(http, server.url, job_id)
    results = dict(rows(store_path, "SELECT id, result FROM job"))
    for job_id in ledger.accepted:
        match results[job_id]:
            case "held":
                assert not ledger.read[job_id]
                note(ledger, job_id, await fetched(http, server.url, job_id))
            case "taken" if not ledger.read[job_id]:  # the server died with the answer in hand
                assert job_id in ledger.fetching
                await asyncio.to_thread(said, "restore", job_id, "--store", store_path)
                note(ledger, job_id, await fetched(http, server.url, job_id))
            case "taken":
                continue
            case result:
                assert (result, job_id in ledger.deleting) == ("deleted", True)
    assert max(ledger.read.values()) == 1


def nothing_ran_twice_that_must_not(store_path: Path, witness: Path) -> None:
    """Hold what ran, as the application saw it, against what the store says of it."""
    attempts = [line.split() for line in witness.read_text().splitlines()]
    assert len({(job, attempt) for job, attempt, _ in attempts}) == len(attempts)
    times = Counter(int(job) for job, _, method in attempts if method == "POST")
    assert max(times.values()) == 1
    seen = {int(job) for job, _, _ in attempts}
    done = {job for (job,) in rows(store_path, "SELECT id FROM job WHERE state = 'done'")}
    assert done <= seen


def every_timeline_is_legal(store_path: Path) -> None:
    """Look for jobs whose times contradict what became of them."""
    impossible = """
        SELECT id FROM job
        WHERE finished_at IS NULL
           OR coalesce(started_at, submitted_at) < submitted_at
           OR finished_at < coalesce(started_at, submitted_at)
           OR fetched_at < finished_at
    """
    assert rows(store_path, impossible) == []
