"""The server is killed while it brings a store of the first version up to date."""

import importlib.util
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.store.sqlite.engine import APPLICATION_ID
from trials.chaos.faults.killing import LONGEST, killer
from trials.chaos.ledger import Sent
from trials.chaos.rules import Terms
from trials.chaos.stage import Stage
from trials.chaos.submissions import INLINE
from trials.doomed import Doom, When

_VERSIONS: Final = Path(__file__).parents[4] / "migrations" / "versions"
_MOST_STATEMENTS: Final = 120
_ANSWERS: Final = 60
_EACH: Final = 4
_SIZES: Final = (0, 16, INLINE + 1)
# Numbers that no customer gives.
_OLD: Final = 2 * 10**9


@dataclass(frozen=True, slots=True)
class _Old:
    """A job as the first version left it; times in microseconds since 1970."""

    id: int
    sent: Sent
    state: State
    result: Result
    at: int

    @property
    def row(self) -> tuple[object, ...]:
        begun, ended = self.state is not State.QUEUED, self.state in ENDED
        return (
            *(self.id, self.state, self.result, self.sent.method, self.sent.path),
            *(int(begun), 1 if begun else None, self.at, self.at + 1 if begun else None),
            *(self.at + 2 if ended else None, 200 if ended else None),
            *([self.at + 3] * 2 if self.result is Result.TAKEN else [None] * 2),
        )


@asynccontextmanager
async def migrations(stage: Stage) -> AsyncIterator[None]:
    """Kill it at any statement of the migration, again and again, before it may get on."""
    jobs = list(_jobs(int(time.time() * 1e6) - 10_000_000))
    _write(stage.store, jobs)
    _put_down(stage, jobs)
    for _ in range(stage.lives):
        when, nth = stage.chance.choice(list(When)), stage.chance.randint(1, _MOST_STATEMENTS)
        await stage.doomed(Doom(when, "", nth, stage.chance.randrange(2000)), LONGEST)
    async with stage.life() as life:
        await stage.load(life, _ANSWERS, killer(stage, life))
    yield


def _jobs(now: int) -> Iterator[_Old]:
    """Make up jobs in all the states that matter."""
    stands = (
        (State.QUEUED, Result.NONE),
        (State.RUNNING, Result.NONE),
        (State.DONE, Result.HELD),
        (State.DONE, Result.TAKEN),
    )
    for job_id in range(1, _EACH * len(stands) * len(_SIZES) + 1):
        state, result = stands[job_id % len(stands)]
        method = ("PUT", "POST")[job_id // len(stands) % 2]
        sent = Sent(
            method=method, path=f"/echo?n={_OLD + job_id}", size=_SIZES[job_id % len(_SIZES)]
        )
        yield _Old(job_id, sent, state, result, now + job_id)


def _write(path: Path, jobs: list[_Old]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA auto_vacuum = INCREMENTAL")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("BEGIN")
        for statement in _first_statements():
            file.execute(statement)
        file.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        file.execute("INSERT INTO alembic_version VALUES ('0001')")
        file.execute("INSERT INTO boot (started_at, pid, version) VALUES (?, 7, '0.1.0')", [1])
        for job in jobs:
            _put(file, job)
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.execute("PRAGMA user_version = 1")
        file.execute("COMMIT")


def _first_statements() -> list[str]:
    spec = importlib.util.spec_from_file_location("first", _VERSIONS / "0001_jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.STATEMENTS)


def _put(file: sqlite3.Connection, job: _Old) -> None:
    file.execute(
        "INSERT INTO job (id, state, result, method, path, attempt, boot, submitted_at, started_at,"
        " finished_at, status, fetched_at, purgeable_at, dialect, owner, target, priority,"
        " warnings)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'arango', 'root', '/', 0, 0)",
        job.row,
    )
    inline = _body(file, job, "request")
    file.execute("INSERT INTO request VALUES (?, '[]', NULL, ?)", [job.id, inline])
    if job.state in ENDED:
        inline = _body(file, job, "response")
        file.execute("INSERT INTO response VALUES (?, NULL, '[]', ?)", [job.id, inline])


def _body(file: sqlite3.Connection, job: _Old, side: str) -> bytes | None:
    """Put a large body into its chunks, or give a small one for its row."""
    body = job.sent.body
    if len(body) <= INLINE:
        return body
    statement = "INSERT INTO body (job_id, side, size) VALUES (?, ?, ?)"
    body_id = file.execute(statement, [job.id, side, len(body)]).lastrowid
    for seq in range(-(-len(body) // INLINE)):
        piece = body[seq * INLINE : (seq + 1) * INLINE]
        file.execute("INSERT INTO chunk VALUES (?, ?, ?)", [body_id, seq, piece])
    return None


def _put_down(stage: Stage, jobs: list[_Old]) -> None:
    """Put down in the ledger what became of the jobs before the round."""
    stage.terms = Terms(older=frozenset(job.id for job in jobs if job.state in ENDED))
    for job in jobs:
        stage.ledger.sent[job.sent.path] = job.sent
        stage.ledger.sent_at[job.sent.path] = job.at / 1e6
        stage.ledger.accept(job.id, job.sent)
        stage.ledger.tries[job.id] += job.result is Result.TAKEN
