"""The front door: what comes in over a socket, and who answers it."""

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Serve
from trials.sockets import Connection, connected

HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n%b\r\n"
)
GO_ON = ["HTTP/1.1 100 Continue"]
STORE = b"x-arango-async: store\r\n"
JSON = b"Content-Type: application/json\r\n"
JOB = b'{"method": "GET", "target": "/_api/version"}'


async def status(client: Connection) -> str:
    """Read the head of an answer, and tell its status."""
    return (await client.head())[0].split()[1]


@pytest.mark.parametrize(
    ("path", "headers", "body", "answer"),
    [
        pytest.param(b"/echo", STORE, b"body", "202", id="a small job"),
        pytest.param(b"/echo", STORE, bytes(100_000), "202", id="a large job"),
        pytest.param(b"/echo", b"", b"body", "200", id="what passes through"),
        pytest.param(b"/_jobs", JSON, JOB, "202", id="an API of our own"),
    ],
)
async def test_leave_to_send_a_body_is_given_once(
    serve: Serve, path: bytes, headers: bytes, body: bytes, answer: str
) -> None:
    async with connected((await serve()).url) as client:
        await client.send(HEAD % (path, len(body), headers))
        assert await client.head() == GO_ON
        await client.send(body)
        assert await status(client) == answer


async def test_a_client_of_old_is_not_told_to_go_on(serve: Serve) -> None:
    async with connected((await serve()).url) as client:
        head = HEAD % (b"/echo", 4, STORE)
        await client.send(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"body")
        assert await status(client) == "202"


async def test_what_is_too_large_is_refused_before_it_is_sent(serve: Serve) -> None:
    server = await serve(capture={"body_limit": "1KiB"})
    async with connected(server.url) as client:
        await client.send(HEAD % (b"/echo", 10_000, STORE))
        assert await status(client) == "413"


async def test_a_header_makes_a_job_of_a_request_to_an_api_of_our_own(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    held = await client.done("/_api/version")
    listing = await client.done("/_api/job/done")
    assert str(held).encode() in (await client("PUT", f"/_api/job/{listing}")).body


async def test_an_unknown_path_below_one_of_our_own_is_nobody_elses(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    assert (await client("GET", "/_jobs/unknown/path/of/ours")).status == 404
    assert (await client("GET", "/_api/job/unknown/path/of/ours")).status == 400
    assert (await client("GET", "/_api/jobs")).status == 404
