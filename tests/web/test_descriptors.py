"""Connections that only wait: they have a deadline, and give way when descriptors run short."""

import resource
import subprocess
import sys
from asyncio import selector_events
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import ClientSession, web

from jobstore.model.errors import BodyStalled
from jobstore.web import intake
from tests.client import Client
from tests.conftest import Serve
from tests.peers import Services
from trials.serving import ServerProcess
from trials.sockets import connected

LIMIT = 160
OUTCOMES = {
    "idle": b"",
    "half a head": b"GET /_jobs HTTP/1.1\r\nHost: localhost\r\nX-",
    "half a body": b"POST /_jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    "half a job": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
    b"x-arango-async: store\r\n\r\n{",
    "kept alive": b"GET /_jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


FEW = ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh"]
TAKING_ALL = """
import os, sys
from contextlib import suppress
from jobstore.web import late

sys.path.append("{}")
with late.reserve():
    with suppress(OSError):
        while True:
            os.dup(0)
    late.load("late_module")
"""

LOADING = """
import asyncio, sys
from jobstore.web import late

sys.path.append("{}")
with late.reserve():
    asyncio.run(late.loaded("late_module"))
assert sys.getswitchinterval() == 0.005
"""
MANY = ["sh", "-c", 'ulimit -S -n "$(ulimit -H -n)" && exec "$@"', "sh"]


class ShortServer(ServerProcess):
    """A real server that may have few descriptors."""

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [*FEW, *super().command]


@pytest.fixture
async def short(store_path: Path) -> AsyncIterator[ShortServer]:
    """Give a server that may have few descriptors."""
    server = ShortServer(store_path)
    await server.start()
    yield server
    await server.kill()


@pytest.mark.parametrize("sent", OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_others_are_served_while_very_many_connections_only_wait(
    short: ShortServer, http: ClientSession, sent: bytes
) -> None:
    began = monotonic()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with AsyncExitStack() as stack:
        for _ in range(min(LIMIT + 60, soft // 2)):
            waiting = await stack.enter_async_context(connected(short.url))
            waiting.writer.write(sent)
        client = Client(http, short.url)
        for _ in range(3):
            job_id = await client.done("/echo")
            assert (await client.fetched(job_id)).status == 200
    lasted = monotonic() - began
    code = await short.terminate()
    about = [line for line in short.output if "ulimit -n" in line or "out of system" in line]
    assert 1 <= len(about) <= lasted + 2
    assert (code, "".join(short.output).count("Traceback")) == (0, 0), "".join(short.output)[:6000]


def test_what_is_loaded_late_is_loaded_though_no_descriptor_is_left(tmp_path: Path) -> None:
    (tmp_path / "late_module.py").write_text("import late_too")
    (tmp_path / "late_too.py").write_text("print('loaded')")
    command = [*FEW, sys.executable, "-c", TAKING_ALL.format(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"loaded\n"


@pytest.mark.parametrize(("limited", "where"), [(MANY, b"beside\n"), (FEW, b"on the loop\n")])
def test_only_who_needs_it_waits_for_what_is_loaded_late_while_descriptors_are_left(
    tmp_path: Path, limited: list[str], where: bytes
) -> None:
    (tmp_path / "late_module.py").write_text(
        "import sys, threading\n"
        "is_loop = threading.current_thread() is threading.main_thread()\n"
        "print('on the loop' if is_loop else 'beside')\n"
        "assert is_loop or sys.getswitchinterval() < 0.005"
    )
    command = [*limited, sys.executable, "-c", LOADING.format(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == where


@pytest.mark.parametrize("sent", [b"", OUTCOMES["half a head"], OUTCOMES["kept alive"]])
async def test_a_connection_that_waits_for_too_long_is_closed(serve: Serve, sent: bytes) -> None:
    server = await serve(server={"port": 0, "keep_alive": "300ms"})
    async with connected(server.url) as client:
        await client.send(sent)
        await client.rest()  # to its end


async def test_who_waits_for_an_answer_may_wait_for_longer_than_that(
    serve: Serve, http: ClientSession
) -> None:
    gated = {"app": "tests.gates:create_app"}
    server = await serve(server={"port": 0, "keep_alive": "50ms"}, target=gated)
    client = Client(http, server.url)
    job_id = await client.submit("/wait/a")
    async with connected(server.url) as idle, connected(server.url) as waiting:
        await waiting.send(
            f"GET /_jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode()
        )
        await idle.rest()
        await client.let("a")
        assert (await waiting.head())[0] == "HTTP/1.1 200 OK"


async def test_a_body_that_stops_arriving_is_waited_for_no_longer(services: Services) -> None:
    async def read(request: web.Request) -> web.Response:
        try:
            size = sum([len(piece) async for piece in intake.pieces(request, 0.2)])
        except BodyStalled as error:
            return web.Response(status=408, text=str(error))
        return web.Response(text=f"{size}")

    app = web.Application()
    app.router.add_post("/", read)
    url = await services.application(app)
    async with connected(url) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        await client.send(b"half")
        assert (await client.head())[0] == "HTTP/1.1 408 Request Timeout"
    async with connected(url) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        await client.send(b"all of it")
        assert (await client.head())[0] == "HTTP/1.1 200 OK"


def test_aiohttp_has_what_tells_who_waits() -> None:
    assert {"_waiter", "_next_keepalive_close_time", "_current_request"} <= set(
        web.RequestHandler.__slots__
    )
    source = Path(selector_events.__file__).read_text("utf-8")
    assert "socket.accept() out of system resource" in source
