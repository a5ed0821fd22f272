"""Stores for tests: on real files, with a clock that stands still until somebody moves it."""

import asyncio
import atexit
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from psycopg.errors import LockNotAvailable

from jobstore.live import Delivery, Limits, Over, Store, owned_store, shared_store
from jobstore.live.joining import joined_store
from jobstore.model import clock as real_clock
from jobstore.model.clock import SECOND, Clock
from jobstore.model.job import Claim, Dialect, Failure, Order, Submission
from jobstore.model.message import Body, Headers, Request, Response, chunks
from jobstore.store.history import History
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.reading import Searcher
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.opening import open_history
from jobstore.store.writer import Writer
from tests import databases, engines
from tests.loop import turns

START: Final = 1_800_000_000 * SECOND
HELLO: Final = Response(status=200, headers=(("Content-Type", "text/plain"),), body=b"hello")

# How many jobs are in each state of each machine, and what the store keeps of that.
COUNTED: Final = (
    "SELECT 'job', state, count(*) FROM job GROUP BY state"
    " UNION ALL SELECT 'result', result, count(*) FROM job GROUP BY result"
)
KEPT_COUNTERS: Final = "SELECT machine, state, count FROM counter WHERE count <> 0"
# How many jobs of each account wait, and how many bytes are kept of its bodies; likewise.
USED: Final = (
    "SELECT account, sum(queued), sum(size) FROM ("
    "SELECT account, CASE state WHEN 'queued' THEN 1 ELSE 0 END AS queued, 0 AS size FROM job"
    " UNION ALL SELECT account, 0, length(content) FROM job JOIN request ON job_id = id"
    " UNION ALL SELECT account, 0, length(content) FROM job JOIN response ON job_id = id"
    " UNION ALL SELECT account, 0, size FROM job JOIN body ON job_id = job.id"
    ") AS used GROUP BY account HAVING sum(queued) <> 0 OR sum(size) <> 0"
)
KEPT_USAGE: Final = "SELECT * FROM account_usage WHERE queued <> 0 OR stored <> 0"
# What was done on each day; likewise, while all jobs are there and have the times that were theirs.
DONE: Final = (
    "SELECT day, sum(submitted), sum(done), sum(failed), sum(cancelled), sum(error), sum(took),"
    " max(took) FROM ("
    "SELECT submitted_at / 86400000000 AS day, 1 AS submitted, 0 AS done, 0 AS failed,"
    " 0 AS cancelled, 0 AS error, 0 AS took FROM job"
    " UNION ALL SELECT finished_at / 86400000000, 0,"
    " CASE state WHEN 'done' THEN 1 ELSE 0 END,"
    " CASE state WHEN 'failed' THEN 1 ELSE 0 END,"
    " CASE state WHEN 'cancelled' THEN 1 ELSE 0 END,"
    " CASE WHEN state = 'failed' OR (state = 'done' AND status >= 400) THEN 1 ELSE 0 END,"
    " CASE WHEN state <> 'cancelled' AND finished_at > started_at"
    " THEN finished_at - started_at ELSE 0 END"
    " FROM job WHERE finished_at IS NOT NULL"
    ") AS each GROUP BY day"
)
KEPT_DAYS: Final = "SELECT * FROM day"
# How many jobs there ever were.
_EVER: Final = {
    "file": "SELECT total(seq) FROM sqlite_sequence WHERE name = 'job'",
    "postgresql": "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM job_id_seq",
}


def _miscounted(engine: str) -> tuple[str, ...]:
    """Ask for what is kept but is not there, or is there but not kept."""
    all_there = (
        f"(SELECT count(*) FROM job) = ({_EVER[engine]})"
        " AND NOT EXISTS (SELECT 1 FROM event WHERE event = 'redated')"
    )
    kept = (
        (COUNTED, KEPT_COUNTERS, "true"),
        (USED, KEPT_USAGE, "true"),
        (DONE, KEPT_DAYS, all_there),
    )
    return tuple(
        f"SELECT * FROM (SELECT * FROM ({one}) AS one EXCEPT SELECT * FROM ({other}) AS other)"
        f" AS different WHERE {comparable}"
        for there, kept, comparable in kept
        for one, other in ((there, kept), (kept, there))
    )


# Nothing, in a sound store.
MISCOUNTED: Final = {engine: _miscounted(engine) for engine in engines.ENGINES}

_ORDERS: Final[WeakKeyDictionary[Store, asyncio.Queue[Order]]] = WeakKeyDictionary()

T = TypeVar("T")


class StandingClock:
    """A clock that stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        """Tell the time at which it stands."""
        return self.now

    def move(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.now += int(seconds * SECOND)


class SettableClock(StandingClock):
    """A clock on the wall that is moved on, and set as well, beside one that nobody sets."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0

    def set(self, seconds: float) -> None:
        """Put the clock on the wall forward, or back."""
        self._ahead += int(seconds * SECOND)
        self.move(seconds)

    def steady(self) -> int:
        """Tell the time by the clock that nobody sets."""
        return self.now - self._ahead


class CountingClock:
    """A clock that moves on whenever somebody looks: each transaction has a time of its own."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> int:
        """Tell a later time than ever before."""
        self.looks += 1
        return START + self.looks


@cache
def _empty() -> Path:
    """Make an empty store, of which each test gets a copy: making one takes 60 ms."""
    folder = Path(tempfile.mkdtemp(prefix="jobstore-tests-"))
    atexit.register(shutil.rmtree, folder)
    migrate(folder / "empty.db")
    return folder / "empty.db"


def prepare(path: Path) -> None:
    """Put an empty store in place, as the first start of a server makes it, if none is there."""
    if isinstance(path, engines.Place):
        assert path.url  # it is made when it is asked for
    elif path.parent.is_dir() and not os.path.lexists(path):
        shutil.copy(_empty(), path)  # with its mode


def owned(
    path: Path,
    limits: Limits | None = None,
    clock: Clock = real_clock.now,
    steady: Clock = real_clock.steady,
) -> AbstractAsyncContextManager[Store]:
    """Open a store as a server does, on whatever engine it is."""
    prepare(path)
    if isinstance(path, engines.Place):
        return joined_store(path.database, limits, clock, steady)
    return owned_store(path, limits, clock, steady)


def beside(
    path: Path, limits: Limits | None = None, clock: Clock = real_clock.now
) -> AbstractAsyncContextManager[Store]:
    """Open a store beside its server: as a command does, or another node."""
    if isinstance(path, engines.Place):
        return joined_store(path.database, limits, clock, clock)
    return shared_store(path, limits, clock)


def connected(path: Path) -> AbstractAsyncContextManager[Searcher]:
    """Connect to a store for reading."""
    if isinstance(path, engines.Place):
        return DatabaseConnection(path.url, databases.SCHEMA, read_only=True)
    return sqlite.reader(path)


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[History]:
    """Open a store for reading only, beside its server or without one."""
    if isinstance(path, engines.Place):
        async with connected(path) as reader:
            yield History(reader)
        return
    async with open_history(path) as history:
        yield history


@asynccontextmanager
async def opened(
    path: Path,
    limits: Limits | None = None,
    clock: Clock | None = None,
    steady: Clock | None = None,
) -> AsyncIterator[Store]:
    """Own a store while the context lasts, and see that it is sound afterwards.

    Unless another steady clock is given, time passes and the clock is never set.
    """
    clock = clock or StandingClock()
    async with owned(path, limits, clock, steady or clock) as store:
        yield store
    check_sound(path)


def check_sound(path: Path) -> None:
    """See that a store's file is whole and that what is counted in it is there.

    A server may change it meanwhile, so that each comparison is a single statement.
    """
    engine = engines.engine(path)
    if engine == "file":
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert rows(path, "PRAGMA foreign_key_check") == []
    for statement in MISCOUNTED[engine]:
        assert rows(path, statement) == []


def counted(path: Path) -> dict[tuple[str, str], int]:
    """Count the jobs of a store in each state of each machine."""
    found = rows(path, COUNTED)
    return {(machine, state): count for machine, state, count in found}


def kept_counters(path: Path) -> dict[tuple[str, str], int]:
    """Read the counters that a store keeps, without those at zero."""
    found = rows(path, KEPT_COUNTERS)
    return {(machine, state): count for machine, state, count in found}


def rows(path: Path, statement: str, *values: object) -> list[Any]:
    """Read from a store's file as any stranger may, beside its server or without one."""
    if isinstance(path, engines.Place):
        return engines.rows(path, statement, *values)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return connection.execute(statement, values).fetchall()


def columns(path: Path, table: str) -> list[str]:
    """Name the columns of a table or view of a store."""
    if isinstance(path, engines.Place):
        return engines.columns(path, table)
    with closing(sqlite3.connect(path)) as connection:
        return [column[0] for column in connection.execute(f"SELECT * FROM {table}").description]


def copy_job(path: Path, job_id: int, count: int) -> None:
    """Put so many copies of a job into a store."""
    names = ", ".join(f'"{name}"' for name in columns(path, "job") if name != "id")
    execute(
        path,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        f" INSERT INTO job ({names}) SELECT {names} FROM job, n WHERE id = {job_id}",
    )


def leave_out_ids(path: Path, up_to: int) -> None:
    """Let the ids of jobs go on after this one."""
    if isinstance(path, engines.Place):
        rows(path, "SELECT setval('job_id_seq', ?)", up_to)
    else:
        execute(path, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'job'", up_to)


def execute(path: Path, statement: str, *values: object) -> None:
    """Change a store past all of its code, while nobody else uses it."""
    if isinstance(path, engines.Place):
        engines.execute(path, statement, *values)
        return
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, values)


def states(path: Path) -> dict[int, tuple[str, str]]:
    """Read the state and the result of every job."""
    found = rows(path, "SELECT id, state, result FROM job ORDER BY id")
    return {job_id: (state, result) for job_id, state, result in found}


def timeline(path: Path, job_id: int) -> list[str]:
    """Read what happened to a job, in order."""
    # What has happened at the same time comes in the order in which a file's view has it.
    place = (
        "CASE event WHEN 'submitted' THEN 1 WHEN 'started' THEN 2 WHEN 'fetched' THEN 4"
        " WHEN 'done' THEN 3 WHEN 'failed' THEN 3 WHEN 'cancelled' THEN 3 ELSE 5 END"
    )
    found = rows(path, f"SELECT event FROM timeline WHERE job_id = ? ORDER BY at, {place}", job_id)
    return [event for (event,) in found]


def submission(
    method: str = "GET",
    path: str = "/work",
    *,
    headers: Headers = (),
    body: Body = b"",
    target: str = "/",
    wanted: bool = True,
    priority: int = 0,
) -> Submission:
    """Make a submission that is ordinary but for what is given."""
    return Submission(
        request=Request(method=method, path=path, headers=headers, body=body),
        target=target,
        dialect=Dialect.ARANGO,
        wanted=wanted,
        priority=priority,
    )


def writer_of(store: Store) -> Writer:
    """Return a store's writer, which no other code may use."""
    return store._writer  # noqa: SLF001 - as said


async def orders_of(store: Store, capacities: Mapping[str, int]) -> AsyncIterator[Order]:
    """Let a store hand out work, and give its orders as they come, each to one who asks here."""
    orders = _ORDERS.setdefault(store, asyncio.Queue())
    store.work(capacities, orders.put_nowait)
    while True:
        yield await orders.get()


async def next_claim(orders: AsyncIterator[Order]) -> Claim:
    """Wait for the next order, which has to be a claim."""
    order = await anext(orders)
    assert isinstance(order, Claim)
    return order


async def finish(store: Store, claim: Claim, response: Response = HELLO) -> None:
    """End a job as the executor does when its target has answered."""
    capture = await store.attempts.captured(response)
    try:
        await _over(partial(store.attempts.finish, claim, capture))
    finally:
        store.attempts.release(capture)


async def fail(store: Store, claim: Claim, failure: Failure, detail: str) -> None:
    """End a job without an answer."""
    await _over(partial(store.attempts.fail, claim, failure, detail))


async def stopped(store: Store, claim: Claim, detail: str) -> None:
    """End a job whose cancellation has taken effect."""
    await _over(partial(store.attempts.stopped, claim, detail))


async def _over(end: Callable[[Over], None]) -> None:
    """Wait until the end of an attempt is stored."""
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def over(error: Exception | None) -> None:
        if stored.done():  # nobody waits any more
            return
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)

    end(over)
    await stored


async def finished(store: Store, response: Response = HELLO, *, wanted: bool = True) -> int:
    """Take a job through to its end, and return its id."""
    job_id = await store.submit(submission(wanted=wanted))
    await finish(store, await next_claim(orders_of(store, {"/": 1})), response)
    return job_id


async def taken(store: Store, job_id: int) -> tuple[Delivery | None, bytes]:
    """Take a result and read it to its end."""
    async with store.results.take(job_id) as delivery:
        response = delivery.response if delivery else None
        return delivery, await content(response.body if response else b"")


async def content(body: Body) -> bytes:
    """Read a body to its end."""
    return b"".join([chunk async for chunk in chunks(body)])


def on_disk(path: Path) -> bytes:
    """Read all that stands in a store's files, byte for byte."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def power_cut(path: Path, name: str = "cut.db") -> Path:
    """Name a store as a power cut leaves it: the files as they stand on the disk.

    In a database, nothing of the server can be committed any more, since another node has seen that
    it was silent.

    Args:
        name: of the copy.
    """
    if isinstance(path, engines.Place):
        execute(path, "UPDATE boot SET ended_at = started_at, died = 1 WHERE ended_at IS NULL")
        return path
    cut = path.with_name(name)
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{cut}{suffix}")
    return cut


@asynccontextmanager
async def held_up(path: Path) -> AsyncIterator[None]:
    """Hold what each commit begins with, so that the store's commit stays in flight meanwhile."""
    if isinstance(path, engines.Place):
        with engines.connected(path) as link:
            await _locked(link)
            yield
            link.execute("ROLLBACK")
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def _locked(link: databases.Link) -> None:
    """Lock the rows of all starts; a node that has them needs the loop to come to its commit."""
    while True:
        link.execute("BEGIN")
        try:
            link.execute("SELECT FROM boot FOR UPDATE NOWAIT")
        except LockNotAvailable:
            link.execute("ROLLBACK")
            await turns(1)
        else:
            return


async def begun(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start something and let it come as far as it can without waiting for the disk."""
    task = asyncio.create_task(coroutine)
    await turns(10)
    return task
