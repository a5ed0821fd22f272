"""Two nodes before one service: a client need not know which of them it talks to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import Client
from tests.conftest import running
from tests.engines import Place
from tests.gates import create_app
from tests.peers import Services
from tests.stores import rows


@dataclass(frozen=True, slots=True)
class Pair:
    """Clients of two nodes, and of the service behind both."""

    one: Client
    other: Client
    service: Client


@asynccontextmanager
async def paired(
    database: Place, services: Services, http: ClientSession
) -> AsyncIterator[tuple[Pair, People]]:
    """Start two nodes before one service whose work ends when it is told to."""
    url = await services.application(create_app())
    target = {"upstream": url}
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                running(database, target=target, store={"name": name, "lease": "1s"})
            )
            for name in ("one", "other")
        ]
        one, other = (Client(http, node.url) for node in nodes)
        yield Pair(one, other, Client(http, url)), People(nodes[0], stack)


@pytest.fixture
async def pair(
    database: Place, services: Services, http: ClientSession
) -> AsyncIterator[tuple[Pair, People]]:
    """Give two nodes before one service."""
    async with paired(database, services, http) as both:
        yield both


Both = tuple[Pair, People]


async def test_who_waits_at_the_other_node_gets_the_result_when_it_is_there(pair: Both) -> None:
    nodes, _ = pair
    job_id = await nodes.one.submit("/wait/a")
    waiting = asyncio.create_task(
        nodes.other("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=600"})
    )
    await nodes.service.when("a", "started")
    await nodes.service.let("a")
    answer = await waiting
    assert (answer.status, answer.headers["x-arango-async-id"]) == (200, str(job_id))


async def test_a_job_is_followed_at_the_other_node_to_its_end(pair: Both) -> None:
    nodes, _ = pair
    job_id = await nodes.one.submit("/wait/a")
    following = asyncio.create_task(nodes.other("GET", f"/_jobs/{job_id}/events"))
    await nodes.service.when("a", "started")
    await nodes.service.let("a")
    told = (await following).body.decode()
    assert [line for line in told.splitlines() if line.startswith("event: ")] == [
        "event: submitted",
        "event: started",
        "event: done",
        "event: end",
    ]


async def test_a_job_is_cancelled_at_the_other_node(pair: Both) -> None:
    nodes, _ = pair
    job_id = await nodes.one.submit("/wait/a")
    await nodes.service.when("a", "started")
    assert (await nodes.other("PUT", f"/_api/job/{job_id}/cancel")).status == 200
    await nodes.service.when("a", "cancelled")
    await nodes.one.ended(job_id)


async def test_a_key_is_known_at_every_node(pair: Both) -> None:
    nodes, _ = pair
    headers = {"Idempotency-Key": '"order-17"', "x-arango-async": "store"}
    answers = await asyncio.gather(
        *(
            node("POST", "/wait/a", headers=headers, data=b"{}")
            for node in (nodes.one, nodes.other) * 4
        )
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.headers["x-arango-async-id"] for answer in answers}) == 1


async def test_an_account_that_is_made_at_one_node_may_submit_at_the_other(
    pair: Both, database: Place
) -> None:
    nodes, people = pair
    await people.with_token("root", Role.ADMIN)
    alice = await people.with_token("alice")
    elsewhere = Client(alice.http, nodes.other.url)
    while (await nodes.other("GET", "/_jobs")).status != 401:  # as long as it knows no account
        pass
    while (await elsewhere("GET", "/_jobs")).status == 401:
        pass
    job_id = await elsewhere.submit("/wait/a")
    assert (await alice("GET", f"/_jobs/{job_id}")).status == 200
    await people.server.store.accounts.remove("alice")
    while (await elsewhere("GET", "/_jobs")).status != 401:
        pass
    assert rows(database, "SELECT owner FROM job") == [("alice",)]


async def test_the_history_is_one(pair: Both) -> None:
    nodes, _ = pair
    for node in (nodes.one, nodes.other):
        await node.submit("/wait/a")
    lists = [json.loads((await node("GET", "/_jobs")).body) for node in (nodes.one, nodes.other)]
    ids = [[job["id"] for job in listed["jobs"]] for listed in lists]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2
