"""Where somebody else moves the log into the file, such as Litestream, the server does not."""

# ruff: noqa: ASYNC240 - a test looks at files

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.store.sqlite.pages import wal_pages
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.stores import check_sound, states

pytestmark = pytest.mark.file

BODY = bytes(200_000)
JOBS = 60  # whose bodies fill 3,000 pages: the server itself moves 1,000


@contextmanager
def replicating(path: Path) -> Iterator[sqlite3.Connection]:
    """Read as Litestream does: all the time, so that nobody else can start the log anew."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM job").fetchone()
        yield connection


async def filled(client: Client) -> list[int]:
    return [await client.done("/echo", "POST", data=BODY) for _ in range(JOBS)]


async def test_the_log_is_left_to_somebody_else(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, store={"checkpoints": "external"})
    client = Client(http, server.url)
    before = store_path.read_bytes()
    with replicating(store_path) as replica:
        ids = await filled(client)
        await server.store.file.checkpoint()
        assert store_path.read_bytes() == before
        assert wal_pages(store_path) > 2 * JOBS * len(BODY) // 4096
        replica.execute("COMMIT")
        busy, log, moved = replica.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert (busy, log) == (0, moved)
    assert (await client.fetched(ids[0])).body == BODY
    assert len(states(store_path)) == JOBS
    check_sound(store_path)


async def test_the_server_moves_it_unless_that_is_said(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    before = store_path.stat().st_size
    await filled(Client(http, server.url))
    await server.store.file.checkpoint()
    assert store_path.stat().st_size > before + JOBS * len(BODY)
