"""What strangers send to be taken apart is bounded: in size, in pieces, and for all together."""

import asyncio
import json
import tracemalloc
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.web import documents
from jobstore.web.documents import PIECES, TooManyPieces
from tests.accounts import People
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from trials.sockets import connected

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a": "' + b",[{" * 300_000 + b'"}',
        b'{"a": "' + b'\\",' * 300_000 + b'"}',
        b'{"a": "' + b"\\\\" * 300_000 + b'", "b": [1, 2]}',
        b'["' + "ü🎉,".encode() * 100_000 + b'"]',
        b"\xef\xbb\xbf[1]",
        b"[" + b"1," * (PIECES - 2) + b"1]",
    ],
)
def test_a_document_of_few_pieces_is_read_however_long_they_are(body: bytes) -> None:
    assert documents.parse(body) == json.loads(body.decode("utf-8-sig"))


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 350_000 + b"{}]",
        b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b"}",
        b"[" + b"1," * 500_000 + b"1]",
        b"[" + b'"",' * 300_000 + b'""]',
        b"[" * MEBIBYTE,
        b'{"a":' * 200_000,
        b'["\\\\", ' + b"[]," * 300_000 + b"1]",
        b'["\\\\\\"", ' + b"[]," * 300_000 + b"1]",
        b"[" + b"1," * PIECES + b"1]",
    ],
)
def test_one_of_many_pieces_is_refused_before_it_takes_room(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooManyPieces):
            documents.parse(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEBIBYTE


@pytest.mark.parametrize(
    "body",
    [
        "[1]".encode("utf-16"),
        '["\\"'.encode("utf-16-le") + "[],".encode("utf-16-le") * 1000,
        "[1]".encode("utf-32"),
        b"\xff",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 9_000,
    ],
)
def test_what_is_no_json_in_utf8_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?!expected at most)"):
        documents.parse(body)


# --- at a server --------------------------------------------------------------------------------


def of_many_fields(count: int) -> bytes:
    """Write a job with so many header fields."""
    fields = {f"x-{number}": "v" for number in range(count)}
    return json.dumps({"target": "/echo", "headers": fields}).encode()


async def test_a_job_with_very_many_header_fields_is_refused_unread(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    assert (await client("POST", "/_jobs", data=of_many_fields(100))).status == 202
    more = await client("POST", "/_jobs", data=of_many_fields(1001))
    assert (more.status, b"headers: expected an object" in more.body) == (400, True)
    many = await client("POST", "/_jobs", data=of_many_fields(20_000))
    assert (many.status, b"at most 10000 members" in many.body) == (400, True)
    assert (await client("POST", "/_jobs", data=BytesIO(of_many_fields(200_000)))).status == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/create/job", {"endpoint": "/echo", "options": {f"{n}": "" for n in range(30_000)}}),
        ("/admin/alter/jobs", {"action": "cancel", "job_ids": [1] * 40_000}),
        ("/_jobs/definitions", {"name": "n", "path": "/n", "target": "/", "x": [0] * 20_000}),
        ("/_jobs", [[]] * 20_000),
        ("/_jobs", {f"member{n}": 0 for n in range(1000)}),
    ],
)
async def test_no_call_takes_many_pieces_apart(
    serve: Serve, http: ClientSession, path: str, body: Any
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    headers = {"Content-Type": "application/json"}
    answer = await client("POST", path, data=json.dumps(body).encode(), headers=headers)
    assert (answer.status, b" at most " in answer.body) == (400, True)


async def test_who_may_not_change_anything_has_nothing_read(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=ORDINARY), stack)
        token = (await people.with_token("eve", Role.READER)) and (await people.token("eve"))[0]
        for path, status in [
            ("/create/job", 400),
            ("/admin/alter/jobs", 400),
            ("/_jobs", 403),
            ("/_jobs/definitions", 403),
            ("/_jobs/1/report", 403),
        ]:
            async with connected(people.server.url) as client:
                head = (
                    f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
                    "Jobstore-Attempt: 1\r\nContent-Length: 50000\r\n\r\n"
                )
                await client.send(head.encode())  # no body follows, and none is waited for
                assert f" {status} " in (await client.head())[0], path


async def test_what_is_read_at_once_is_bounded_for_all_together(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    async with AsyncExitStack() as stack:
        half_sent = [await stack.enter_async_context(connected(server.url)) for _ in range(8)]
        size = 8 * MEBIBYTE
        head = f"POST /create/job HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        body = b'{"data_str": "' + b"x" * (size - 1000)
        sending = [asyncio.create_task(each.send(head.encode() + body)) for each in half_sent]
        refused = [asyncio.create_task(each.head()) for each in half_sent]
        done, waiting = await asyncio.wait(refused, return_when=asyncio.FIRST_COMPLETED)
        assert all(" 400 " in task.result()[0] for task in done)
        assert (await client("POST", "/_jobs", json={"target": "/echo"})).status == 202
        for task in (*waiting, *sending):
            task.cancel()
        await asyncio.gather(*waiting, *sending, return_exceptions=True)
    answer = await client(
        "POST", "/create/job", json={"endpoint": "/echo", "data_str": "x" * 10**6}
    )
    assert answer.status == 200
