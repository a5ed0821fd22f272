"""WebSockets, and any other protocol that a service switches to: passed on, both ways."""

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError, web
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosedError
from yarl import URL

from jobstore.embedding import setup
from tests.accounts import People
from tests.conftest import Serve, running
from tests.loop import turns
from tests.peers import Origin, Services
from tests.sockets_app import CLOSE_CODES, ENDED, create_app
from tests.stores import states
from trials.services import answering
from trials.sockets import ask, connected, message, say, status_of

MEBIBYTE = 1 << 20
CHAT = b"GET /talk HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat/1\r\n\r\n"


@pytest.fixture(params=["upstream", "in process"])
async def url(request: pytest.FixtureRequest, serve: Serve, services: Services) -> str:
    """Serve in front of WebSockets that are on a socket, or in process."""
    if request.param == "upstream":
        target = {"upstream": await services.application(create_app())}
    else:
        target = {"app": "tests.sockets_app:create_app"}
    return (await serve(target=target)).url


# --- WebSockets ---------------------------------------------------------------------------------


async def test_messages_go_both_ways_whatever_is_in_them(url: str, http: ClientSession) -> None:
    large = bytes(range(256)) * 4096 * 5
    async with http.ws_connect(f"{url}/echo", max_msg_size=0) as socket:
        await socket.send_str("häh?")
        assert await socket.receive_str() == "häh?"
        await socket.send_bytes(large)
        assert await socket.receive_bytes() == large


async def test_many_messages_keep_their_order(url: str, http: ClientSession) -> None:
    async with http.ws_connect(f"{url}/echo") as socket:
        for number in range(500):
            await socket.send_str(str(number))
        assert [int(await socket.receive_str()) for _ in range(500)] == list(range(500))


async def test_the_subprotocol_is_agreed_upon_by_both_ends(url: str, http: ClientSession) -> None:
    async with http.ws_connect(f"{url}/echo", protocols=("other", "chat")) as socket:
        assert socket.protocol == "chat"


async def test_who_ends_it_says_why(url: str, http: ClientSession) -> None:
    async with http.ws_connect(f"{url}/echo") as socket:
        await socket.send_str("bye")
        last = await socket.receive()
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, 4000, "as you wish")


async def test_a_client_that_ends_it_is_heard(
    services: Services, serve: Serve, http: ClientSession
) -> None:
    app = create_app()
    server = await serve(target={"upstream": await services.application(app)})
    async with http.ws_connect(f"{server.url}/echo") as socket:
        await socket.close(code=4321)
    await app[ENDED].wait()
    assert app[CLOSE_CODES] == [4321]


async def test_a_refusal_is_the_answer(url: str, http: ClientSession) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await http.ws_connect(f"{url}/refuse")
    assert refused.value.status == 403
    assert refused.value.headers is not None
    assert refused.value.headers["X-Why"] == "because"


async def test_after_a_refusal_the_connection_goes_on(url: str) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    async with connected(url) as client:
        for _ in range(2):
            await client.send(b"GET /refuse HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\r\n")
            assert (await client.head())[0] == "HTTP/1.1 403 Forbidden"
            assert await client.reader.readexactly(7) == b"not you"


async def test_websockets_of_another_implementation_are_passed_on_as_well(serve: Serve) -> None:
    async def talk(socket: ServerConnection) -> None:
        async for each in socket:
            await socket.send(each)

    async with serve_websockets(talk, "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        front = await serve(target={"upstream": f"http://127.0.0.1:{port}"})
        async with connect_websocket(front.url.replace("http", "ws", 1) + "/") as socket:
            for each in ("text", b"bytes", "long " * 50_000):
                await socket.send(each)
                assert await socket.recv() == each
            await (await socket.ping())


async def test_a_service_that_speaks_nothing_but_websockets_answers_for_itself(
    serve: Serve,
) -> None:
    async with serve_websockets(lambda _: turns(1), "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        front = await serve(target={"upstream": f"http://127.0.0.1:{port}"})
        head, body = await ask(front.url, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert head[0] == "HTTP/1.1 426 Upgrade Required"
    assert b"WebSocket" in body


async def test_what_is_asked_for_travels_and_what_is_ours_does_not(
    url: str, http: ClientSession
) -> None:
    headers = {"X-Own": "1", "Cookie": "a=1", "Jobstore-Id": "6"}
    async with http.ws_connect(URL(f"{url}/asked?x=%2F", encoded=True), headers=headers) as socket:
        asked = json.loads(await socket.receive_str())
    assert asked["path"] == "/asked?x=%2F"
    seen = asked["headers"]
    assert (seen["x-own"], seen["cookie"], seen["upgrade"]) == ("1", "a=1", "websocket")
    assert "jobstore-id" not in seen


# --- who may ask, and for what ------------------------------------------------------------------


@pytest.mark.parametrize("asking", ["x-arango-async: store", "Prefer: respond-async"])
@pytest.mark.parametrize("protocol", ["websocket", "chat/1"])
async def test_no_job_is_made_of_it_and_that_is_said(
    url: str, store_path: Path, asking: str, protocol: str
) -> None:
    upgrade = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n{asking}\r\n"
    async with connected(url) as client:
        await client.send(f"GET /echo HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
        head = await client.head()
        length = next(int(each.split()[1]) for each in head if each.startswith("Content-Length"))
        body = await client.reader.readexactly(length)
    assert head[0] == "HTTP/1.1 501 Not Implemented"
    assert b"last as long as their connection" in body
    assert states(store_path) == {}


async def test_accounts_decide_and_are_not_sent_on(serve: Serve, services: Services) -> None:
    server = await serve(target={"upstream": await services.application(create_app())})
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice = await people.with_token("alice")
        stranger = await people.client()
        with pytest.raises(WSServerHandshakeError) as refused:
            await stranger.http.ws_connect(f"{server.url}/echo")
        assert refused.value.status == 401
        async with alice.http.ws_connect(f"{server.url}/asked") as socket:
            asked = json.loads(await socket.receive_str())
    assert "authorization" not in asked["headers"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: TLS/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: HTTP/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: a b, \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        message("POST", "/", "Connection: Upgrade, close", "Upgrade: chat", body=b"ok"),
    ],
    ids=["h2c", "TLS", "HTTP/3", "no names", "no Connection", "HTTP/1.0", "with a body"],
)
async def test_what_cannot_be_passed_on_is_an_ordinary_request(
    serve: Serve, services: Services, head: bytes
) -> None:
    service = Origin()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    answer = await say(server.url, head)
    assert status_of(answer) == 200
    assert b"upgrade" not in service.heads[0].lower()


async def test_of_several_protocols_those_that_may_pass_are_offered(
    serve: Serve, services: Services
) -> None:
    service = Origin()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    offer = b"Connection: upgrade, close\r\nUpgrade: h2c, chat/1\r\nUpgrade: irc\r\n\r\n"
    await say(server.url, b"GET / HTTP/1.1\r\nHost: a\r\n" + offer)
    assert b"\r\nUpgrade: chat/1, irc\r\n" in service.heads[0]
    assert b"\r\nConnection: Upgrade\r\n" in service.heads[0]


async def test_what_was_sent_behind_the_offer_is_the_next_request(
    serve: Serve, services: Services
) -> None:
    service = Origin()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    answer = await say(
        server.url, CHAT + b"\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [b"upgrade" in head.lower() for head in service.heads] == [True, False]


async def test_what_was_sent_behind_the_offer_is_passed_on_if_it_is_taken(
    serve: Serve, services: Services
) -> None:
    service = Talk()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\nhello")
        await client.head()
        reader, _ = await service.joined
        assert await reader.readexactly(5) == b"hello"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (SWITCHED.replace(b"chat/1", b"irc"), b"switched to a protocol that was not requested"),
        (b"HTTP/1.1 101 S\r\n\r\n", b"switched to a protocol that was not requested"),
        (SWITCHED[:-2] + b"X: " + b"x" * 5000 + b"\r\n\r\n", b"the head of the target's response"),
        (SWITCHED[:40], b"closed the connection before its response was complete"),
        (b"HTTP/1.1 099 No\r\n\r\n", b""),
    ],
    ids=["another protocol", "none", "too much", "half", "nonsense"],
)
async def test_a_service_that_answers_nonsense_is_a_bad_gateway(
    serve: Serve, services: Services, answer: bytes, reason: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    upstream = await services.listen(talk)
    server = await serve(
        target={"upstream": upstream}, http={"field_size": "2KiB", "head_size": "4KiB"}
    )
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        assert (await client.head())[0] == "HTTP/1.1 502 Bad Gateway"
        client.writer.write_eof()
        assert reason in await client.rest()


async def test_a_handshake_that_is_too_large_is_refused(url: str) -> None:
    answer = await say(url, CHAT + b"X: " + b"x" * 200_000 + b"\r\n\r\n")
    assert status_of(answer) == 431


async def test_where_nobody_answers_that_is_said(serve: Serve, tmp_path: Path) -> None:
    server = await serve(target={"upstream": f"unix:{tmp_path}/nobody"})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        assert (await client.head())[0].startswith("HTTP/1.1 50")


# --- byte for byte ------------------------------------------------------------------------------


class Talk:
    """A service that switches, and then does what a test tells it to."""

    def __init__(self, early: bytes = b"", switched: bytes = SWITCHED) -> None:
        self.early = early
        self.switched = switched
        self.joined: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.get_running_loop().create_future()
        )
        self.over = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Switch to another protocol with the first request."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.switched + self.early)
        self.joined.set_result((reader, writer))
        await self.over.wait()


async def test_what_comes_with_the_switch_is_not_lost(serve: Serve, services: Services) -> None:
    service = Talk(b"hello")
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        assert sorted(await client.head()) == [
            "Connection: Upgrade",
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: chat/1",
        ]
        assert await client.reader.readexactly(5) == b"hello"
        await client.send(b"GET / HTTP/1.1\r\n\r\n\r\n\r\n")  # which is no request any more
        reader, _ = await service.joined
        assert await reader.readexactly(22) == b"GET / HTTP/1.1\r\n\r\n\r\n\r\n"


async def test_each_direction_ends_by_itself(serve: Serve, services: Services) -> None:
    service = Talk()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        await client.head()
        reader, writer = await service.joined
        await client.send(b"all that I have to say")
        client.writer.write_eof()
        assert await reader.read() == b"all that I have to say"
        for _ in range(3):
            writer.write(b"and yet more;")
        writer.write_eof()
        assert await client.rest() == b"and yet more;" * 3


async def test_a_service_may_end_its_direction_first(serve: Serve, services: Services) -> None:
    service = Talk()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        await client.head()
        reader, writer = await service.joined
        writer.write_eof()
        assert await client.rest() == b""
        await client.send(b"I go on")
        client.writer.write_eof()
        assert await reader.read() == b"I go on"


@pytest.mark.parametrize("whose", ["client", "service"])
async def test_what_breaks_on_one_side_breaks_on_the_other(
    serve: Serve, services: Services, whose: str
) -> None:
    service = Talk()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        await client.head()
        reader, writer = await service.joined
        if whose == "client":
            client.vanish()
            with suppress(ConnectionError):
                assert await reader.read() == b""
        else:
            writer.transport.abort()
            with suppress(ConnectionError):
                assert await client.rest() == b""


async def test_a_client_that_stops_sending_and_then_is_gone_is_noticed(
    serve: Serve, services: Services
) -> None:
    service = Talk()
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        await client.head()
        reader, writer = await service.joined
        client.writer.write_eof()
        assert await reader.read() == b""
        client.vanish()
        with pytest.raises(ConnectionError):
            await _keep_asking(writer)


async def _keep_asking(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"is anybody there?")
        await writer.drain()
        await turns(1)


@pytest.mark.parametrize("who", ["client", "service"])
async def test_nobody_gets_more_than_they_read(serve: Serve, services: Services, who: str) -> None:
    service, size = Talk(), 64 * MEBIBYTE
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(CHAT + b"\r\n")
        await client.head()
        reader, writer = await service.joined
        source, sink = (writer, client.reader) if who == "client" else (client.writer, reader)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < size:
                source.write(bytes(MEBIBYTE))
                sent += MEBIBYTE
                await source.drain()
            source.write_eof()

        flooding = asyncio.create_task(flood())
        await turns(2000)
        assert sent < size // 2  # the operating system's buffers are what is full now
        taken = 0
        while data := await sink.read(MEBIBYTE):
            taken += len(data)
        assert taken == size
        await flooding


# --- the end ------------------------------------------------------------------------------------


async def test_a_server_that_stops_closes_both_ends_at_once(
    store_path: Path, services: Services
) -> None:
    service = Talk()
    upstream = await services.listen(service.talk)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(store_path, target={"upstream": upstream}))
        async with connected(server.url) as client:
            await client.send(CHAT + b"\r\n")
            await client.head()
            reader, writer = await service.joined
            writer.write(b"last words")
            assert await client.reader.readexactly(10) == b"last words"
            await stack.aclose()
            assert (await client.rest(), await reader.read()) == (b"", b"")


async def test_both_ends_of_a_websocket_hear_that_the_server_goes_away(
    store_path: Path, services: Services, http: ClientSession
) -> None:
    app = create_app()
    upstream = await services.application(app)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(store_path, target={"upstream": upstream}))
        async with http.ws_connect(f"{server.url}/echo") as socket:
            await socket.send_bytes(bytes(300_000))
            assert await socket.receive_bytes() == bytes(300_000)
            stopping = asyncio.create_task(stack.aclose())
            last = await socket.receive()
            assert (last.type, last.data) == (WSMsgType.CLOSE, 1001)
            await stopping
    await app[ENDED].wait()
    assert app[CLOSE_CODES] == [1001]


async def test_in_the_middle_of_a_frame_nothing_is_put_between(
    store_path: Path, services: Services
) -> None:
    service = Talk(switched=SWITCHED.replace(b"chat/1", b"websocket"))
    upstream = await services.listen(service.talk)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(store_path, target={"upstream": upstream}))
        async with connected(server.url) as client:
            await client.send(CHAT.replace(b"chat/1", b"websocket") + b"\r\n")
            await client.head()
            reader, writer = await service.joined
            writer.write(b"\x82\x05he")
            assert await client.reader.readexactly(4) == b"\x82\x05he"
            await stack.aclose()
            assert await client.rest() == b""
            to_service = await reader.read()
            mask, masked = to_service[2:6], to_service[6:]
            assert to_service[:2] == b"\x88\x82"
            assert bytes(a ^ b for a, b in zip(masked, mask, strict=False)) == b"\x03\xe9"


async def test_a_websocket_of_an_application_with_jobs_of_its_own_is_its_own(
    tmp_path: Path, http: ClientSession
) -> None:
    app: web.Application = create_app()
    setup(app, tmp_path / "jobs.db", open=True)
    async with answering(app) as at, http.ws_connect(f"{at}/echo") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


async def test_a_websocket_that_its_client_cuts_is_told_to_its_handler(
    serve: Serve, services: Services
) -> None:
    app = create_app()
    server = await serve(target={"upstream": await services.application(app)})
    socket = await connect_websocket(f"{server.url.replace('http', 'ws', 1)}/echo")
    socket.transport.abort()
    await app[ENDED].wait()


async def test_a_websocket_that_its_service_cuts_is_told_to_its_client(
    serve: Serve, services: Services
) -> None:
    server = await serve(target={"upstream": await services.application(create_app())})
    async with connect_websocket(f"{server.url.replace('http', 'ws', 1)}/cut") as socket:
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
