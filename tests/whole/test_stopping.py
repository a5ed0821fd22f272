"""A server that is asked to stop ends, whatever its application does, and tells the truth of it."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Start
from tests.stores import check_sound, rows, states


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSTORE_EXECUTOR__DRAIN", "50ms")
    monkeypatch.setenv("JOBSTORE_EXECUTOR__CANCEL_GRACE", "50ms")


async def begun(client: Client, path: str, method: str = "POST") -> int:
    """Submit a job, and return its id when its handler has started."""
    job_id = await client.submit(path, method)
    await client("GET", "/started")
    return job_id


@pytest.mark.parametrize("path", ["/swallow", "/thread"])
async def test_a_handler_that_does_not_stop_does_not_keep_the_server_from_stopping(
    real_server: Start, store_path: Path, http: ClientSession, path: str
) -> None:
    server = await real_server("--app", "tests.stubborn:create_app")
    job_id = await begun(Client(http, server.url), path)
    assert await server.terminate() == 0
    assert states(store_path) == {job_id: ("running", "none")}
    check_sound(store_path)


@pytest.mark.parametrize("factory", ["with_task", "with_thread", "with_cleanup"])
async def test_what_an_application_leaves_behind_does_not_keep_the_server_from_stopping(
    real_server: Start, store_path: Path, http: ClientSession, factory: str
) -> None:
    server = await real_server("--app", f"tests.stubborn:{factory}")
    assert (await Client(http, server.url)("GET", "/_api/job/pending")).status == 200
    assert await server.terminate() == 0
    assert rows(store_path, "SELECT ended_at IS NOT NULL FROM boot") == [(1,)]


async def test_the_next_start_says_truly_what_became_of_a_job_whose_handler_did_not_stop(
    real_server: Start, store_path: Path, http: ClientSession
) -> None:
    server = await real_server("--app", "tests.stubborn:create_app")
    job_id = await begun(Client(http, server.url), "/swallow")
    assert await server.terminate() == 0
    again = await real_server("--app", "tests.stubborn:create_app")
    await Client(http, again.url).ended(job_id)
    ((state, detail),) = rows(store_path, "SELECT state, detail FROM job")
    assert state == "failed"
    assert "was shut down at" in detail
    assert detail.startswith("interrupted by a shutdown at attempt 1; its ")
    assert "may have taken effect, so jobstore does not send it again" in detail


async def test_a_handler_that_keeps_the_loop_busy_ends_with_the_signals_after_the_first(
    real_server: Start, store_path: Path, http: ClientSession
) -> None:
    server = await real_server("--app", "tests.stubborn:create_app")
    job_id = await Client(http, server.url).submit("/busy", "POST")
    ended = asyncio.create_task(server.process.wait())
    while not ended.done():  # the first one is not heard, and a later one is not taken for it
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait([ended], timeout=0.1)
    assert server.process.returncode == -signal.SIGTERM
    assert states(store_path) == {job_id: ("running", "none")}
