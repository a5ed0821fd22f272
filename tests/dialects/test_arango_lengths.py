"""Content-Length: 0 on each 204 of ArangoDB's job API, as its own servers send it."""

import asyncio
from pathlib import Path

import pytest

from tests.client import GATED, ORDINARY
from tests.conftest import Serve
from tests.whole.test_embedding import GATE, embedded
from trials.sockets import Connection, connected, message

pytestmark = pytest.mark.file  # the lengths of answers is no affair of the engine

STORE = "x-arango-async: store"


def fields(head: list[str]) -> dict[str, str]:
    """Read the fields of a head; their names in lower case."""
    return dict(line.lower().split(": ", 1) for line in head[1:])


async def asked(client: Connection, method: str, path: str, *fields: str) -> list[str]:
    """Send a request on a connection that is kept alive, and read the head of its answer."""
    await client.send(message(method, path, *fields))
    return await asyncio.wait_for(client.head(), 60)


async def ended(client: Connection, job_id: str) -> None:
    """Wait until a job has ended."""
    while (await asked(client, "GET", f"/_api/job/{job_id}"))[0].split()[1] == "204":
        pass


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("base", ["/_api/job", "/_admin/job", "/_db/_system/_api/job"])
async def test_a_pending_job_is_told_with_a_length_of_zero(
    serve: Serve, method: str, base: str
) -> None:
    async with connected((await serve(target=GATED)).url) as client:
        job_id = fields(await asked(client, "GET", "/wait/it", STORE))["x-arango-async-id"]
        head = await asked(client, method, f"{base}/{job_id}")
        assert head[0] == "HTTP/1.1 204 No Content"
        assert [line for line in head if line.lower().startswith("content-length")] == [
            "Content-Length: 0"
        ]
        # Nothing follows the head: the next answer on this connection is whole.
        assert (await asked(client, "GET", "/_api/job/pending"))[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("version", "connection"), [("1.0", ""), ("1.0", "keep-alive"), ("1.1", "close")]
)
async def test_old_clients_and_those_that_leave_are_told_the_same(
    serve: Serve, version: str, connection: str
) -> None:
    url = (await serve(target=GATED)).url
    async with connected(url) as client:
        job_id = fields(await asked(client, "GET", "/wait/it", STORE))["x-arango-async-id"]
    async with connected(url) as client:
        said = [f"Connection: {connection}"] if connection else []
        await client.send(message("PUT", f"/_api/job/{job_id}", *said, version=version))
        head = await client.head()
        assert head[0] == f"HTTP/{version} 204 No Content"
        assert fields(head)["content-length"] == "0"
        if connection == "keep-alive":
            assert fields(head)["connection"] == "keep-alive"
            assert (await asked(client, "GET", "/_api/job/pending"))[0].endswith("200 OK")
        else:
            assert await client.rest() == b""


async def test_a_result_that_is_a_204_is_delivered_with_it(serve: Serve) -> None:
    async with connected((await serve(target=ORDINARY)).url) as client:
        job_id = fields(await asked(client, "GET", "/status/204", STORE))["x-arango-async-id"]
        await ended(client, job_id)
        head = await asked(client, "PUT", f"/_api/job/{job_id}")
        assert head[0] == "HTTP/1.1 204 No Content"
        assert fields(head)["content-length"] == "0"
        assert fields(head)["x-arango-async-id"] == job_id


async def test_a_job_that_asks_for_a_job_is_told_it_too(serve: Serve) -> None:
    async with connected((await serve(target=[{"prefix": "/", **GATED}])).url) as client:
        job_id = fields(await asked(client, "GET", "/wait/it", STORE))["x-arango-async-id"]
        question = fields(await asked(client, "GET", f"/_api/job/{job_id}", STORE))
        asking = question["x-arango-async-id"]
        await ended(client, asking)
        head = await asked(client, "PUT", f"/_api/job/{asking}")
        assert (head[0], fields(head)["content-length"]) == ("HTTP/1.1 204 No Content", "0")


async def test_an_embedded_application_sends_it_as_well(store_path: Path) -> None:
    async with embedded(store_path) as it, connected(it.client.url) as client:
        job_id = fields(await asked(client, "GET", "/wait", STORE))["x-arango-async-id"]
        for method in ("GET", "PUT"):
            head = await asked(client, method, f"/_api/job/{job_id}")
            assert (head[0], fields(head)["content-length"]) == ("HTTP/1.1 204 No Content", "0")
        assert (await asked(client, "GET", "/_api/job/pending"))[0] == "HTTP/1.1 200 OK"
        it.app[GATE].set()


async def test_other_apis_and_what_passes_through_hold_to_the_standard(serve: Serve) -> None:
    async with connected((await serve(target=ORDINARY)).url) as client:
        assert "content-length" not in fields(await asked(client, "GET", "/status/204"))
        job_id = fields(await asked(client, "GET", "/status/204", STORE))["x-arango-async-id"]
        await ended(client, job_id)
        head = await asked(client, "POST", f"/_jobs/{job_id}/take", "Content-Length: 0")
        assert head[0] == "HTTP/1.1 204 No Content"
        assert "content-length" not in fields(head)
