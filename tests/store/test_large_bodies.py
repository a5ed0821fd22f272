"""Bodies of every size, both ways: byte for byte, and never whole in the server's memory."""

import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore import demo
from jobstore.config import DEMO
from tests.client import Client
from tests.conftest import Serve, Start
from tests.peers import Services
from tests.stores import check_sound, rows
from trials.process import peak_memory

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
PIECE = bytes(range(256)) * 251  # of no round size, so that no boundary falls together with another
SIZES = [
    0,
    1,
    256 * KIBIBYTE - 1,
    256 * KIBIBYTE,
    256 * KIBIBYTE + 1,
    512 * KIBIBYTE,
    MEBIBYTE - 1,
    MEBIBYTE,
    MEBIBYTE + 1,
    2 * MEBIBYTE,
    5 * MEBIBYTE + 12345,
]


def content(size: int) -> bytes:
    return (PIECE * (size // len(PIECE) + 1))[:size]


async def pieces(size: int) -> AsyncIterator[bytes]:
    while size:
        yield PIECE[:size]
        size -= min(size, len(PIECE))


@pytest.fixture(params=["upstream", "in process"])
async def client(
    request: pytest.FixtureRequest, serve: Serve, services: Services, http: ClientSession
) -> Client:
    """Give a client of a server in front of the demo, on a socket or in process."""
    if request.param == "in process":
        return Client(http, (await serve(target={"app": DEMO})).url)
    upstream = await services.application(demo.create_app())
    return Client(http, (await serve(target={"upstream": upstream})).url)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_any_size_goes_to_the_target_and_back_byte_for_byte(
    client: Client, store_path: Path, *, chunked: bool
) -> None:
    for size in SIZES:
        body = pieces(size) if chunked else BytesIO(content(size))
        job_id = await client.submit("/echo", "POST", data=body)
        answer = await client.fetched(job_id)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(size))
        assert answer.body == content(size)
    check_sound(store_path)


async def test_only_a_body_above_the_limit_is_kept_in_chunks_apart(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(store={"inline_limit": "1KiB"})).url)
    for size in (0, KIBIBYTE, KIBIBYTE + 1, MEBIBYTE + 1):
        await client.done("/echo", "POST", data=BytesIO(content(size)))
    assert rows(store_path, "SELECT side, size FROM body ORDER BY size, side") == [
        ("request", KIBIBYTE + 1),
        ("response", KIBIBYTE + 1),
        ("request", MEBIBYTE + 1),
        ("response", MEBIBYTE + 1),
    ]
    assert rows(store_path, "SELECT max(length(data)) FROM chunk") == [(256 * KIBIBYTE,)]
    inline = "SELECT length(content) FROM request WHERE content IS NOT NULL ORDER BY job_id"
    assert rows(store_path, inline) == [(0,), (KIBIBYTE,)]


async def test_a_body_of_64_mebibytes_passes_through_a_server_that_does_not_grow_by_it(
    server_process: Start, http: ClientSession
) -> None:
    server = await server_process()
    client = Client(http, server.url)
    await client.fetched(await client.submit("/echo", "POST", data=BytesIO(content(MEBIBYTE))))
    before = peak_memory(server.process.pid)
    job_id = await client.done("/echo", "POST", data=pieces(64 * MEBIBYTE))
    received = hashlib.sha256()
    async with http.put(f"{server.url}/_api/job/{job_id}") as response:
        async for chunk in response.content.iter_any():
            received.update(chunk)
    assert received.digest() == await digest(pieces(64 * MEBIBYTE))
    assert peak_memory(server.process.pid) - before < 48 * MEBIBYTE


async def digest(body: AsyncIterator[bytes]) -> bytes:
    sent = hashlib.sha256()
    async for piece in body:
        sent.update(piece)
    return sent.digest()
