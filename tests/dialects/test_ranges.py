"""A part of what is kept, and how much there is, for who looks without taking."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from tests.client import Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import execute, rows

LARGE = bytes(range(256)) * 4096  # 1 MiB: four chunks of the store
SMALL = b"0123456789"


async def give(request: web.Request) -> web.Response:
    """Give as much as is asked for, with validators."""
    body = await request.read() or (LARGE if "large" in request.query else SMALL)
    headers = {"ETag": '"e1"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    if "weak" in request.query:
        headers["ETag"] = 'W/"e1"'
    return web.Response(body=body, headers={**headers, "Content-Digest": "sha-256=:x=:"})


@pytest.fixture
async def client(serve: Serve, services: Services, http: ClientSession) -> Client:
    """Give a client of a server in front of what gives a lot."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/", give)
    return Client(http, (await serve(target={"upstream": await services.application(app)})).url)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=7-", 7, 10),
        ("bytes=7-99", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("BYTES = 2 - 4", 2, 5),
    ],
)
async def test_a_part_of_a_small_answer(client: Client, asked: str, start: int, end: int) -> None:
    job_id = await client.done("/")
    part = await client("GET", f"/_jobs/{job_id}/response", headers={"Range": asked})
    assert (part.status, part.body) == (206, SMALL[start:end])
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"
    assert part.headers["Content-Length"] == str(end - start)
    assert part.headers["ETag"] == '"e1"'
    assert "Content-Digest" not in part.headers


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=262143-262144", 262143, 262145),
        ("bytes=300000-800000", 300000, 800001),
        ("bytes=262144-524287", 262144, 524288),
        ("bytes=-5", 2**20 - 5, 2**20),
        ("bytes=1048575-", 2**20 - 1, 2**20),
    ],
)
async def test_a_part_of_a_large_message(
    client: Client, side: str, asked: str, start: int, end: int
) -> None:
    job_id = await client.done("/?large", "POST", data=LARGE)
    part = await client("GET", f"/_jobs/{job_id}/{side}", headers={"Range": asked})
    assert (part.status, part.body) == (206, LARGE[start:end])
    assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"


async def test_no_more_is_read_than_what_the_part_lies_in(client: Client, store_path: Path) -> None:
    job_id = await client.done("/?large")
    execute(store_path, "DELETE FROM chunk WHERE seq <> 2")
    assert rows(store_path, "SELECT seq FROM chunk") == [(2,)]
    path = f"/_jobs/{job_id}/response"
    part = await client("GET", path, headers={"Range": "bytes=524288-600000"})
    assert (part.status, part.body) == (206, LARGE[524288:600001])
    measured = await client("HEAD", path)
    assert (measured.status, measured.headers["Content-Length"]) == (200, str(len(LARGE)))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999-"])
async def test_where_there_are_no_such_bytes_that_is_said(client: Client, asked: str) -> None:
    job_id = await client.done("/")
    answer = await client("GET", f"/_jobs/{job_id}/response", headers={"Range": asked})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")
    assert b"expected a range within 10 bytes" in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,4-5"},
        {"Range": "bytes=5-2"},
        {"Range": "bytes=a-b"},
        {"Range": "bytes=-"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=" + "9" * 50 + "-"},
        {"Range": "bytes=0-1", "If-Range": '"e2"'},
        {"Range": "bytes=0-1", "If-Range": 'W/"e1"'},
        {"Range": "bytes=0-1", "If-Range": "Sun, 06 Nov 1994 08:49:38 GMT"},
        {"Range": "bytes=0-1", "If-Range": ""},
    ],
    ids=str,
)
async def test_who_asks_for_something_else_gets_all(
    client: Client, headers: dict[str, str]
) -> None:
    job_id = await client.done("/")
    answer = await client("GET", f"/_jobs/{job_id}/response", headers=headers)
    assert (answer.status, answer.body) == (200, SMALL)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("condition", ['"e1"', "Sun, 06 Nov 1994 08:49:37 GMT"])
async def test_a_client_that_has_a_part_of_the_same_gets_another(
    client: Client, condition: str
) -> None:
    job_id = await client.done("/")
    headers = {"Range": "bytes=8-", "If-Range": condition}
    answer = await client("GET", f"/_jobs/{job_id}/response", headers=headers)
    assert (answer.status, answer.body) == (206, b"89")


async def test_a_weak_validator_is_no_ground_for_a_part(client: Client) -> None:
    job_id = await client.done("/?weak")
    headers = {"Range": "bytes=8-", "If-Range": 'W/"e1"'}
    assert (await client("GET", f"/_jobs/{job_id}/response", headers=headers)).status == 200


@pytest.mark.parametrize(("query", "size"), [("", len(SMALL)), ("?large", len(LARGE))])
@pytest.mark.parametrize(
    "asked", [{}, {"Range": "bytes=0-1"}, {"Range": "bytes=99999999-"}], ids=str
)
async def test_head_tells_how_much_there_is(
    client: Client, query: str, size: int, asked: dict[str, str]
) -> None:
    job_id = await client.done(f"/{query}")
    path = f"/_jobs/{job_id}/response"
    whole, measured = await client("GET", path), await client("HEAD", path, headers=asked)
    assert (measured.status, measured.body) == (200, b"")
    assert measured.headers["Content-Length"] == str(size)
    assert _without_date(measured.headers) == _without_date(whole.headers)


def _without_date(headers: Any) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers.items() if name != "Date")


async def test_head_of_a_request_and_of_nothing(client: Client) -> None:
    job_id = await client.done("/", "POST", data=b"asked")
    assert (await client("HEAD", f"/_jobs/{job_id}/request")).headers["Content-Length"] == "5"
    missing = await client("HEAD", "/_jobs/999/response")
    assert (missing.status, missing.body) == (404, b"")


async def test_an_empty_message_has_no_parts(client: Client) -> None:
    job_id = await client.done("/")
    path = f"/_jobs/{job_id}/request"
    assert (await client("HEAD", path)).headers["Content-Length"] == "0"
    assert (await client("GET", path, headers={"Range": "bytes=0-"})).status == 416
    assert (await client("GET", path, headers={"Range": "bytes=-5"})).status == 200
