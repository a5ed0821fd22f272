"""What is no request that can be served: one plain answer, one line in the log, no repetition."""

import asyncio
import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from jobstore.cli.logs import start_logging
from jobstore.config.sections import LogSection
from jobstore.model.message import loggable
from tests.conftest import Serve
from tests.peers import OK, Origin, Services
from tests.stores import states
from trials.sockets import connected, say, status_of

LAST = b"Host: localhost\r\nConnection: close\r\n"
JOB = b"x-arango-async: store\r\n"

REFUSED = {
    "a tunnel": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
    "a tunnel as a job": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + JOB + b"\r\n", 501),
    "a tunnel, asked for by Prefer": (
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nPrefer: respond-async\r\n\r\n",
        501,
    ),
    "gzip, chunked": (
        b"POST / HTTP/1.1\r\n" + LAST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "gzip, chunked, as a job": (
        b"POST / HTTP/1.1\r\n" + LAST + JOB + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "gzip": (b"POST / HTTP/1.1\r\n" + LAST + b"Transfer-Encoding: gzip\r\n\r\nabc", 400),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\n" + LAST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505),
    "HTTP/2 in words": (b"GET / HTTP/2.0\r\n" + LAST + b"\r\n", 505),
    "HTTP/0.9 with headers": (b"GET /\r\nHost: localhost\r\n\r\n", 505),
    "HTTP/0.9 in words": (b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
    "an Expect that is no text": (b"GET / HTTP/1.1\r\n" + LAST + b"Expect: \xff\r\n\r\n", 417),
    "one to an API": (b"GET /_jobs HTTP/1.1\r\n" + LAST + b"Expect: \xff\r\n\r\n", 417),
    "an unknown Expect": (b"GET /_jobs HTTP/1.1\r\n" + LAST + b"Expect: a\r\n\r\n", 417),
    "a fragment": (b"GET /a#b HTTP/1.1\r\n" + LAST + b"\r\n", 400),
    "a path that is no text": (b"GET /\xff HTTP/1.1\r\n" + LAST + b"\r\n", 400),
    "an address that is none": (b"GET https://[]:@/ HTTP/1.1\r\n" + LAST + b"\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}
SECRET = {
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: swordfish\x01\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nCookie: swordfish\r\n swordfish\r\n\r\n",
    "a name that is none": b"GET / HTTP/1.1\r\nHost: localhost\r\nswordfish\xff: a\r\n\r\n",
    "a line without a name": b"GET / HTTP/1.1\r\nHost: localhost\r\nswordfish\r\n\r\n",
    "too long a field": b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: "
    + b"swordfish" * 8000
    + b"\r\n\r\n",
    "too long a path": b"GET /" + b"swordfish" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    + b"X: swordfish\r\n" * 1001
    + b"\r\n",
    "too long a head": b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    + (b"X: " + b"swordfish" * 7000 + b"\r\n") * 3,
    "an unknown method": b"SWORDFISH / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no URL": b"GET swordfish HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a URL without a port": b"GET http://a:swordfish/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /swordfish HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: swordfish\r\nHost: swordfish\r\n\r\n",
    "an impossible length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: swordfish\r\n\r\n",
    "a chunk that is none": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nswordfish\r\n"
    ),
}


@pytest.fixture
async def front(serve: Serve, services: Services) -> tuple[str, Origin]:
    """Give the URL of a server, and the origin behind it."""
    origin = Origin(OK)
    return (await serve(target={"upstream": await services.listen(origin.talk)})).url, origin


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_served_is_refused_plainly_and_goes_nowhere(
    front: tuple[str, Origin],
    store_path: Path,
    caplog: pytest.LogCaptureFixture,
    request_: bytes,
    status: int,
) -> None:
    caplog.set_level(logging.INFO)
    url, origin = front
    caplog.clear()
    answer = await say(url, request_)
    assert len(re.findall(rb"HTTP/1\.[01] [0-9]{3} ", answer)) == 1
    assert status_of(answer) == status
    assert (origin.heads, states(store_path)) == ([], {})
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)


@pytest.mark.parametrize("request_", SECRET.values(), ids=SECRET.keys())
async def test_nothing_of_a_malformed_request_is_logged_or_repeated(
    front: tuple[str, Origin], caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    caplog.set_level(logging.INFO)
    url, _ = front
    caplog.clear()
    answer = await say(url, request_)
    assert status_of(answer) in {400, 431}
    assert b"swordfish" not in answer.lower()
    (record,) = caplog.records
    assert "swordfish" not in record.getMessage().lower()
    assert (record.levelname, record.exc_info) == ("INFO", None)


async def test_a_chunk_that_is_none_in_the_middle_of_an_upload_is_refused_and_not_repeated(
    front: tuple[str, Origin], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = front
    async with connected(url) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + JOB
        )
        await client.send(b"\r\n3\r\nabc\r\n")
        await client.send(b"swordfish\r\n")
        answer = await client.rest()
    assert status_of(answer) == 400
    assert not [each for each in caplog.records if each.exc_info or "swordfish" in each.message]


async def test_what_a_broken_answer_costs_is_one_line_of_the_log(
    serve: Serve, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    origin = Origin(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nswordfish\r\n"
    )
    server = await serve(target={"upstream": await services.listen(origin.talk)})
    caplog.set_level(logging.INFO)
    caplog.clear()
    async with connected(server.url) as client:
        await client.send(b"GET / HTTP/1.1\r\n" + LAST + b"\r\n")
        with suppress(ConnectionError):
            await client.rest()
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)


async def test_a_websocket_cannot_be_a_job(front: tuple[str, Origin], store_path: Path) -> None:
    url, _ = front
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
    answer = await say(url, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + upgrade + JOB + b"\r\n")
    assert (status_of(answer), states(store_path)) == (501, {})


async def test_the_offer_of_another_protocol_is_no_obstacle_to_a_job(
    front: tuple[str, Origin],
) -> None:
    url, _ = front
    upgrade = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: a\r\n"
    answer = await say(url, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + upgrade + JOB + b"\r\n")
    assert status_of(answer) == 202


async def test_the_server_as_a_whole_says_what_it_allows(front: tuple[str, Origin]) -> None:
    url, origin = front
    answer = await say(url, b"OPTIONS * HTTP/1.1\r\n" + LAST + b"\r\n")
    assert (status_of(answer), b"\r\nAllow: GET, " in answer, origin.heads) == (204, True, [])


async def test_bodies_do_not_count_for_the_heads_that_follow_them(serve: Serve) -> None:
    post = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
    async with connected((await serve(http={"head_size": "1KiB"})).url) as client:
        for _ in range(3):
            await client.send(post + JOB + b"Expect: 100-continue\r\n\r\n")
            assert " 100 " in (await client.head())[0]  # so that the body comes by itself
            await client.send(bytes(9000))
            assert " 202 " in (await client.head())[0]


async def test_a_request_before_garbage_is_answered(front: tuple[str, Origin]) -> None:
    url, _ = front
    async with connected(url) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.head()
        await client.send(b"\x01\x02")
        assert status_of((await client.rest()).removeprefix(b"ok")) == 400


async def test_a_request_before_too_long_a_head_is_answered_first(serve: Serve) -> None:
    server = await serve(target={"app": "tests.gates:create_app"}, http={"head_size": "1KiB"})
    async with connected(server.url) as client:
        await client.send(b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (
            status_of(await say(server.url, b"GET /when/a/started HTTP/1.1\r\n" + LAST + b"\r\n"))
            == 200
        )
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 2000)
        await say(server.url, b"POST /let/a HTTP/1.1\r\n" + LAST + b"\r\n")
        answers = await client.rest()
    assert re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answers) == [b"200", b"431"]


# --- lines of the log ---------------------------------------------------------------------------


def test_a_clients_words_are_cut_and_escaped_for_the_log() -> None:
    assert loggable("a\r\nERROR forged\x1b[31m\udcff") == r"a\r\nERROR forged\x1b[31m\xff"
    assert loggable("\ud800") == "\ufffd"
    assert loggable("a" * 1000) == "a" * 500 + "…"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_message_is_longer_than_a_line_or_two_thousand_characters(
    form: Literal["text", "json"],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    start_logging(LogSection(format=form))
    logging.getLogger("jobstore.test").warning("%s\n\x1b[2J%s", "a\r\nb", "c" * 3000)
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line
    assert len(line) < 2200


@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, 431),
        (b"GET / HTTP/1.1\r\n: nothing\r\n\r\n", 400),
    ],
    ids=["too long a head", "a field without a name"],
)
async def test_a_client_that_is_still_sending_is_told_why_it_is_refused(
    serve: Serve, beginning: bytes, status: int
) -> None:
    server = await serve()
    async with connected(server.url) as client:
        await client.send(beginning)
        refused = asyncio.create_task(client.rest())
        for _ in range(64):
            await client.send(b"x" * 65_536)
        assert status_of(await refused) == status
