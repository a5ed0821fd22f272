"""What open pages are told of changes: by one feed, and only of what they may show."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import ClientResponse, ClientSession

from jobstore.live.changes import LISTENERS
from jobstore.model.account import Role
from jobstore.server import Server
from tests.accounts import PASSWORD, People
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.loop import turns


@asynccontextmanager
async def following(client: Client) -> AsyncIterator[ClientResponse]:
    """Follow what pages are told."""
    async with client.http.get(f"{client.url}/_jobs/ui/feed") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield answer


async def told(answer: ClientResponse) -> dict[str, Any]:
    """Give the next message."""
    while not (line := await answer.content.readline()).startswith(b"data:"):
        assert line, "the feed has ended"
    message: dict[str, Any] = json.loads(line.removeprefix(b"data:"))
    return message


async def told_of(answer: ClientResponse, job_id: int) -> dict[str, Any]:
    """Give the first message that names a job."""
    while job_id not in (message := await told(answer))["changed"]:
        pass
    return message


async def left(server: Server, number: int) -> None:
    """Wait until so many follow."""
    async with asyncio.timeout(10):
        while server.store.changes.listeners != number:  # nobody is told of it
            await turns(1)


async def test_all_are_told_which_jobs_change_until_they_leave(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    async with following(client) as one, following(client) as other:
        assert (await told(one))["counters"]["jobs"]["done"] == 0
        job_id = await client.done("/greet/world")
        for answer in (one, other):
            await told_of(answer, job_id)
        assert server.store.changes.listeners == 2
    await client.done("/greet/world")  # what is sent to somebody shows whether they are there
    await left(server, 0)


async def test_a_user_is_told_of_their_own_jobs_and_nobody_is_told_who_is_removed(
    serve: Serve,
) -> None:
    server = await serve(target=ORDINARY)
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        eve = await people.with_token("eve", Role.READER)
        async with following(alice) as own, following(eve) as everything:
            theirs = await bob.done("/greet/bob")
            await told_of(everything, theirs)
            mine = await alice.done("/greet/alice")
            message = await told_of(own, mine)
            assert (message["counters"], message["changed"]) == ({}, [mine])
            await server.store.accounts.remove("alice")
            while await own.content.readline():
                pass
            await told(everything)
        anybody = await people.client()
        answer = await anybody("GET", "/_jobs/ui/feed")
        assert answer.status == 401


async def test_it_ends_with_the_session_of_who_has_the_page_open(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    async with AsyncExitStack() as stack:
        alice = await People(server, stack).with_token("alice")
        client = Client(http, server.url)
        login = {"name": "alice", "password": PASSWORD}
        entered = await client(
            "POST", "/_jobs/ui/login", data=login, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert entered.status == 303, entered
        cookie = {"Cookie": entered.headers["Set-Cookie"].partition(";")[0]}
        async with http.get(f"{server.url}/_jobs/ui/feed", headers=cookie) as answer:
            await told_of(answer, await alice.done("/greet/alice"))
            (session,) = await server.store.sessions.all()
            await server.store.sessions.end(session.id, "root")
            await alice.done("/greet/alice")
            while await answer.content.readline():
                pass


async def test_so_many_are_told_and_no_more(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    async with AsyncExitStack() as stack:
        for _ in range(LISTENERS):
            stack.enter_context(server.store.changes.listening())
        answer = await client("GET", "/_jobs/ui/feed")
        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    async with following(client) as answer_again:
        await told(answer_again)


async def test_who_asks_for_its_head_alone_is_not_kept_waiting(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    head = await Client(http, server.url)("HEAD", "/_jobs/ui/feed")
    assert (head.status, head.headers["Content-Type"]) == (200, "text/event-stream")
    assert server.store.changes.listeners == 0


async def test_it_ends_when_the_server_stops(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    async with following(Client(http, server.url)) as answer:
        await told(answer)
        server.store.changes.dismiss()
        assert await answer.content.read() is not None
    await left(server, 0)
