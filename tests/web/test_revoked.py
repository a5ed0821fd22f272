"""What an operator takes from an account ends, also where it was open already."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.live import shared_store
from jobstore.model.account import Role
from jobstore.model.passwords import hashed
from tests.accounts import People
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.gates import create_app
from tests.loop import turns
from tests.peers import Services
from tests.stores import rows, states
from trials.clients import Answer
from trials.sockets import connected

Taking = Callable[[People, Path], Awaitable[None]]


@pytest.fixture
async def people(serve: Serve) -> AsyncIterator[People]:
    """Give the accounts at a server whose jobs go on only when told to."""
    async with AsyncExitStack() as stack:
        yield People(await serve(target=GATED), stack)


async def waiting(
    people: People, job_id: int, asking: Awaitable[Answer]
) -> "asyncio.Future[Answer]":
    """Begin to ask for something that is not there yet; return when the server knows of it."""
    asked = asyncio.ensure_future(asking)
    while not people.server.store.waits.watched(job_id):
        await turns(1)
    return asked


async def revoked(people: People, _: Path) -> None:
    await people.server.store.accounts.revoke_token(2)  # the first one is alice's


async def removed(people: People, _: Path) -> None:
    await people.server.store.accounts.remove("bob")


async def removed_by_a_command(_: People, path: Path) -> None:
    async with shared_store(path) as command:
        await command.accounts.remove("bob")


async def removed_and_added_again(people: People, _: Path) -> None:
    await people.server.store.accounts.remove("bob")
    await people.server.store.accounts.add("bob", Role.USER, hashed("another one"))


TAKINGS = [revoked, removed, removed_by_a_command, removed_and_added_again]


@pytest.mark.parametrize("take_away", TAKINGS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/_api/job/{}"), ("POST", "/_jobs/{}/take"), ("GET", "/_jobs/{}")],
    ids=["ArangoDB", "take", "look"],
)
async def test_who_waits_for_a_result_is_sent_away_when_the_login_is_taken_away(
    people: People, store_path: Path, take_away: Taking, method: str, path: str
) -> None:
    await people.with_token("alice", Role.ADMIN)
    bob = await people.with_token("bob")
    job_id = await bob.submit("/wait/a")
    asking = bob(method, path.format(job_id), headers={"Prefer": "wait=600"})
    asked = await waiting(people, job_id, asking)
    await take_away(people, store_path)
    answer = await asked
    assert (answer.status, states(store_path)[job_id][1]) == (401, "none")


async def test_an_event_stream_ends_when_the_login_is_taken_away(
    people: People,
) -> None:
    await people.with_token("alice", Role.ADMIN)
    bob = await people.with_token("bob")
    job_id = await bob.submit("/wait/a")
    following = bob("GET", f"/_jobs/{job_id}/events")
    followed = await waiting(people, job_id, following)
    await people.server.store.accounts.remove("bob")
    answer = await followed
    assert answer.status == 200
    assert b"event: end" not in answer.body
    assert people.server.store.waits.watched(job_id) == 0


async def test_an_open_question_is_answered_by_what_its_sender_may_now(
    people: People, store_path: Path
) -> None:
    await people.with_token("root", Role.ADMIN)
    alice = await people.with_token("alice", Role.ADMIN)
    bob = await people.with_token("bob")
    job_id = await bob.submit("/wait/a")
    patient = {"headers": {"Prefer": "wait=600"}}
    asked = await waiting(people, job_id, alice("PUT", f"/_api/job/{job_id}", **patient))
    await people.server.store.accounts.set_role("alice", Role.USER)
    answer = await asked
    assert answer.status == 404, "it is bob's"
    assert states(store_path)[job_id][1] == "none"


async def test_a_reader_by_now_takes_nothing(people: People, store_path: Path) -> None:
    alice = await people.with_token("alice", Role.ADMIN)
    bob = await people.with_token("bob")
    job_id = await bob.submit("/wait/a")
    await bob.when("a", "started")
    patient = {"headers": {"Prefer": "wait=600"}}
    asked = await waiting(people, job_id, bob("PUT", f"/_api/job/{job_id}", **patient))
    await people.server.store.accounts.set_role("bob", Role.READER)
    await alice.let("a")
    assert (await asked).status == 403
    assert states(store_path) == {job_id: ("done", "held")}


async def test_another_ones_account_is_no_reason_to_send_anybody_away(
    people: People, store_path: Path
) -> None:
    await people.with_token("carol")
    alice = await people.add("alice")
    bob = await people.with_token("bob")
    for asker in (alice, bob):
        job_id = await asker.submit(f"/wait/{job_name(asker)}")
        patient = {"headers": {"Prefer": "wait=600"}}
        asked = await waiting(people, job_id, asker("PUT", f"/_api/job/{job_id}", **patient))
        await people.server.store.accounts.set_role("carol", Role.READER)
        await people.server.store.accounts.set_role("carol", Role.USER)
        await asker.let(job_name(asker))
        assert (await asked).status == 200
    assert [result for _, result in states(store_path).values()] == ["taken", "taken"]


def job_name(client: Client) -> str:
    return f"of{id(client)}"


async def test_who_needed_no_account_waits_no_longer_when_there_is_one(
    people: People, http: ClientSession
) -> None:
    anybody = Client(http, people.server.url)
    job_id = await anybody.submit("/wait/a")
    patient = {"headers": {"Prefer": "wait=600"}}
    asked = await waiting(people, job_id, anybody("PUT", f"/_api/job/{job_id}", **patient))
    await people.add("alice", Role.ADMIN)
    assert (await asked).status == 401


async def test_a_submission_that_waits_for_its_result_is_only_told_that_it_was_accepted(
    people: People, store_path: Path
) -> None:
    await people.with_token("alice", Role.ADMIN)
    bob = await people.with_token("bob")
    patient = {"headers": {"Prefer": "respond-async, wait=600"}}
    asked = await waiting(people, 1, bob("GET", "/wait/a", **patient))
    await people.server.store.accounts.remove("bob")
    assert (await asked).status == 202
    assert states(store_path)[1][1] == "none"


@pytest.mark.parametrize("kind", ["upstream", "in process"])
async def test_a_request_that_passes_through_is_not_answered_when_the_login_is_taken_away(
    serve: Serve, services: Services, kind: str
) -> None:
    target = {"upstream": await services.application(create_app())} if kind == "upstream" else GATED
    async with AsyncExitStack() as stack:
        people = People(await serve(target=target), stack)
        alice = await people.with_token("alice", Role.ADMIN)
        bob = await people.with_token("bob")
        await bob("GET", "/started")  # whose connection to the service is used again
        asked = asyncio.ensure_future(bob("GET", "/wait/a"))
        await alice.when("a", "started")
        await people.server.store.accounts.remove("bob")
        await alice.let("a")
        assert (await asked).status == 401


@pytest.mark.parametrize("size", [1000, 300_000])
async def test_a_body_that_arrives_after_the_login_was_taken_away_becomes_no_job(
    people: People, store_path: Path, size: int
) -> None:
    await people.with_token("alice", Role.ADMIN)
    await people.with_token("bob")
    token, _ = await people.token("bob")
    async with connected(people.server.url) as bob:
        head = f"POST /wait/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += f"x-arango-async: store\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
        await bob.send(head.encode())
        assert await bob.head() == ["HTTP/1.1 100 Continue"]
        await people.server.store.accounts.remove("bob")
        await bob.send(bytes(size))
        assert (await bob.head())[0] == "HTTP/1.1 401 Unauthorized"
    assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]
