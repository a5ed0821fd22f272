"""Who is let in, what they see, what they may change, and where their credentials go."""

import asyncio
import json
import logging
import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler

from jobstore.live import owned_store
from jobstore.model.account import Role
from jobstore.model.errors import NotOpen, StoreError
from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Request
from jobstore.model.passwords import digest, hashed, new_token
from jobstore.server import Server
from jobstore.web.access import Access
from jobstore.web.failures import (
    FIRST_DELAY,
    FORGIVEN_SECONDS,
    FREE_BY_ADDRESS,
    LONGEST_DELAY,
    Failures,
)
from jobstore.web.logins import REMEMBERED_SECONDS, WAITING, WAITING_BY_SOURCE
from jobstore.web.proxies import Proxies
from tests.accounts import PASSWORD, People, basic
from tests.client import GATED, ORDINARY, Client
from tests.commands import start
from tests.conftest import Serve, Start, running
from tests.kinetica import TYPES, Kinetica
from tests.loop import turns
from tests.peers import Origin, Services
from tests.stores import on_disk, opened, rows
from trials.clients import Answer
from trials.sockets import connected, lines_of

ANYWHERE = {"host": "0.0.0.0", "port": 0}
DEFINITIONS = "/_jobs/definitions"
DRAFT = {"name": "daily", "path": "/Imports/daily", "target": "/import"}
SECRET = b"pass:word of alice"

Meet = Callable[..., Awaitable[People]]


@pytest.fixture
async def meet(serve: Serve) -> AsyncIterator[Meet]:
    """Give a function that starts a server, as `serve` does, for people to have accounts at."""
    async with AsyncExitStack() as stack:

        async def start_for(**sections: Any) -> People:
            return People(await serve(**sections), stack)

        yield start_for


@pytest.fixture
async def gated(meet: Meet) -> People:
    """Give the people of a server whose work goes on when it is told to."""
    return await meet(target=GATED)


@pytest.fixture
async def ordinary(meet: Meet) -> People:
    """Give the people of a server with an ordinary application behind it."""
    return await meet(target=ORDINARY)


def is_unauthorized(answer: Answer) -> bool:
    """Tell whether an answer asks for credentials, in whichever words."""
    challenges = [each.split()[0] for each in answer.headers.getall("WWW-Authenticate", [])]
    return answer.status == 401 and challenges == ["Basic", "Bearer"]


def value(answer: Answer) -> Any:
    """Give the JSON value of an answer without an error."""
    assert answer.status < 300, answer
    return json.loads(answer.body)


async def owner_of(server: Server, job_id: int) -> str:
    return (await server.store.history.job(job_id)).owner


async def defined(client: Client, **members: Any) -> dict[str, Any]:
    """Put a definition in, and return it as the server has it."""
    made: dict[str, Any] = value(await client("POST", DEFINITIONS, json={**DRAFT, **members}))
    return made


# --- without any account ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "name"),
    [
        (None, ""),
        (basic("root", ""), "root"),
        (basic("alice", "whatever"), "alice"),
        ("basic " + b64encode("jürgen:ü".encode("latin-1")).decode(), "jürgen"),
        ("Basic ???", ""),
        ("Bearer jobstore_abc", ""),
        ("nonsense", ""),
    ],
)
async def test_without_any_account_credentials_name_their_user_and_no_more(
    gated: People, authorization: str | None, name: str
) -> None:
    client = await gated.client(authorization)
    assert await owner_of(gated.server, await client.submit("/wait/a")) == name


async def test_without_any_account_nothing_is_hidden(ordinary: People) -> None:
    alice, bob = [await ordinary.client(basic(name)) for name in ("alice", "bob")]
    job_id = await alice.done("/echo")
    assert value(await bob("GET", "/_api/job/done")) == [str(job_id)]
    assert (await bob("PUT", f"/_api/job/{job_id}")).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_without_any_account_another_address_is_refused(serve: Serve, host: str) -> None:
    with pytest.raises(NotOpen, match="jobstore user add"):
        await serve(server={"host": host, "port": 0})


async def test_without_any_account_another_address_is_served_if_that_is_wanted(
    meet: Meet,
) -> None:
    people = await meet(server={**ANYWHERE, "open": True})
    anybody = await people.client()
    assert (await anybody("GET", "/_api/version")).status == 200


def test_the_command_refuses_another_address_unless_told_or_somebody_has_an_account(
    store_path: Path,
) -> None:
    process = start("serve", "--store", store_path, "--host", "0.0.0.0", "--port", 0)
    out, complaint = process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert (
        complaint.decode().splitlines()[-1].startswith("jobstore: refusing to listen on 0.0.0.0: ")
    )
    assert b"Traceback" not in complaint


async def test_the_command_serves_another_address_when_told_so(
    server_process: Start, http: ClientSession
) -> None:
    server = await server_process("--host", "0.0.0.0", "--open")
    assert (await Client(http, server.url)("GET", "/_api/version")).status == 200


async def with_alice(path: Path) -> None:
    """Make a store in which somebody has an account."""
    async with owned_store(path) as store:
        await store.accounts.add("alice", Role.USER, hashed(PASSWORD))


async def test_with_an_account_another_address_is_served(
    store_path: Path, serve: Serve, http: ClientSession
) -> None:
    await with_alice(store_path)
    client = Client(http, (await serve(server=ANYWHERE)).url)
    assert is_unauthorized(await client("GET", "/_api/version"))
    alice = {"Authorization": basic("alice")}
    assert (await client("GET", "/_api/version", headers=alice)).status == 200


async def test_removing_the_last_account_does_not_open_another_address(
    store_path: Path, meet: Meet
) -> None:
    await with_alice(store_path)
    people = await meet(server=ANYWHERE)
    alice, nobody = await people.client(basic("alice")), await people.client()
    assert (await alice("GET", "/_api/version")).status == 200
    await people.server.store.accounts.remove("alice")
    for client in (alice, nobody):
        for path in ("/_api/version", "/_api/job/done", DEFINITIONS):
            assert is_unauthorized(await client("GET", path))


async def test_removing_the_last_account_opens_no_other_address_to_its_jobs_either(
    store_path: Path, meet: Meet
) -> None:
    await with_alice(store_path)
    people = await meet(server=ANYWHERE)
    await people.server.store.accounts.remove("alice")
    asking = Request(method="GET", path="/_api/job/done")
    job_id = await people.server.store.submit(
        Submission(request=asking, target="/_api/job", dialect=Dialect.ARANGO, owner="alice")
    )
    admin = await people.add("admin", Role.ADMIN)
    assert (await admin.fetched(job_id)).status == 401


# --- with accounts ------------------------------------------------------------------------------


STRANGERS = {
    "no header": None,
    "an empty one": "",
    "a wrong password": basic("alice", "wrong horse"),
    "no password": basic("alice", ""),
    "an unknown user": basic("mallory"),
    "a name of another case": basic("Alice"),
    "no colon": "Basic " + b64encode(b"alice").decode(),
    "no base64": "Basic alice:" + PASSWORD,
    "broken base64": basic("alice")[:-3],
    "bytes": "Basic " + b64encode(bytes(range(128, 256))).decode(),
    "nothing": "Basic",
    "the password's hash as password": "hash",
    "a token that is none": "Bearer jobstore_abc",
    "an empty token": "Bearer ",
    "a very long token": "Bearer " + "x" * 7000,
    "a name as token": "Bearer alice",
    "a password that is too long": basic("alice", "x" * 4000),
    "another scheme": 'Digest username="alice"',
}


@pytest.mark.parametrize("kind", STRANGERS)
async def test_strangers_are_asked_for_credentials(gated: People, kind: str) -> None:
    await gated.add("alice", Role.ADMIN)
    authorization = STRANGERS[kind]
    if authorization == "hash":
        account = gated.server.store.accounts.snapshot().accounts["alice"]
        authorization = basic("alice", account.password)
    stranger = await gated.client(authorization)
    assert is_unauthorized(await stranger("GET", "/started"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/started"),
        ("POST", "/wait/a"),
        ("OPTIONS", "/wait/a"),
        ("GET", "/_api/job/done"),
        ("PUT", "/_api/job/1"),
        ("DELETE", "/_db/_system/_admin/job/all"),
        ("GET", DEFINITIONS),
        ("POST", DEFINITIONS),
        ("POST", "/_jobs/1/report"),
        ("POST", "/get/job"),
        ("POST", "/show/system/status"),
        ("GET", "/rest/jobs/list-running"),
        ("GET", "/api/job-execution/x/status"),
        ("GET", "/no/such/path"),
    ],
)
async def test_nothing_is_answered_to_strangers(gated: People, method: str, path: str) -> None:
    alice, stranger = await gated.add("alice"), await gated.client()
    assert is_unauthorized(await stranger(method, path))
    assert json.loads((await alice("GET", "/started")).body) == []


@pytest.mark.parametrize(
    "asking", [{"x-arango-async": "store"}, {"x-arango-async": "true"}, {"Prefer": "respond-async"}]
)
async def test_strangers_submit_no_jobs(gated: People, asking: dict[str, str]) -> None:
    await gated.add("alice")
    stranger = await gated.client()
    assert is_unauthorized(await stranger("POST", "/wait/a", headers=asking, data=b"x"))
    assert await gated.server.store.results.pending(10) == []


async def test_a_password_or_a_token_opens_the_door(ordinary: People) -> None:
    alice = await ordinary.add("alice")
    token, _ = await ordinary.token("alice")
    for authorization in (basic("alice"), f"Bearer {token}", f"bearer  {token}"):
        client = await ordinary.client(authorization)
        job_id = await client.submit("/echo")
        assert await owner_of(ordinary.server, job_id) == "alice"
    assert (await alice("GET", "/echo")).status == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_password_is_read_in_either_encoding_that_clients_send(
    ordinary: People, encoding: str
) -> None:
    password = "Größenwahn"
    await ordinary.add("alice", password=password)
    pair = f"alice:{password}".encode(encoding)
    client = await ordinary.client("Basic " + b64encode(pair).decode())
    assert (await client("GET", "/echo")).status == 200


async def test_a_password_is_the_same_however_its_accents_are_composed(ordinary: People) -> None:
    await ordinary.add("alice", password="Ame\u0301lie et moi")
    client = await ordinary.client(basic("alice", "Am\u00e9lie et moi"))
    assert (await client("GET", "/echo")).status == 200


async def test_what_another_process_has_just_made_opens_the_door(
    ordinary: People, store_path: Path
) -> None:
    alice, token = await ordinary.with_token("alice"), new_token()
    holder, bob = await ordinary.client(f"Bearer {token}"), await ordinary.client(basic("bob"))
    password = hashed(PASSWORD)
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        assert (await alice("GET", "/echo")).status == 200  # so that the server has just looked
        made = "INSERT INTO token (account, label, digest, created_at) VALUES ('alice', '', ?, 1)"
        connection.execute(made, [digest(token)])
        assert (await holder("GET", "/echo")).status == 200
        made = "INSERT INTO account (name, role, password, created_at, changed_at)"
        connection.execute(f"{made} VALUES ('bob', 'user', ?, 1, 1)", [password])
        assert (await bob("GET", "/echo")).status == 200


async def test_a_revoked_token_is_of_no_use_and_others_still_are(ordinary: People) -> None:
    await ordinary.add("alice")
    (first, number), (second, _) = await ordinary.token("alice"), await ordinary.token("alice")
    clients = [await ordinary.client(f"Bearer {token}") for token in (first, second)]
    assert [(await client("GET", "/echo")).status for client in clients] == [200, 200]
    await ordinary.server.store.accounts.revoke_token(number)
    assert [(await client("GET", "/echo")).status for client in clients] == [401, 200]


async def test_a_new_password_replaces_the_old_one_at_once(ordinary: People) -> None:
    old = await ordinary.add("alice")
    new = await ordinary.client(basic("alice", "battery staple"))
    assert (await old("GET", "/echo")).status == 200
    await ordinary.server.store.accounts.set_password("alice", hashed("battery staple"))
    assert is_unauthorized(await old("GET", "/echo"))
    assert (await new("GET", "/echo")).status == 200


async def test_a_new_role_is_in_force_at_once(ordinary: People) -> None:
    alice, bob = await ordinary.add("alice"), await ordinary.with_token("bob")
    job_id = await bob.done("/echo")
    assert (await alice("GET", f"/_api/job/{job_id}")).status == 404
    await ordinary.server.store.accounts.set_role("alice", Role.ADMIN)
    assert (await alice("GET", f"/_api/job/{job_id}")).status == 200


async def test_a_removed_account_is_out_at_once_with_its_tokens(ordinary: People) -> None:
    clients = [await ordinary.add("alice"), await ordinary.with_token("bob")]
    await ordinary.with_token("admin", Role.ADMIN)
    assert [(await client("GET", "/echo")).status for client in clients] == [200, 200]
    for name in ("alice", "bob"):
        await ordinary.server.store.accounts.remove(name)
    assert [(await client("GET", "/echo")).status for client in clients] == [401, 401]


async def test_what_cannot_be_read_does_not_pass_for_no_accounts(
    ordinary: People, store_path: Path
) -> None:
    alice, stranger = await ordinary.with_token("alice"), await ordinary.client()
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE token RENAME TO lost")
        connection.execute("UPDATE revision SET number = number + 1 WHERE of = 'accounts'")
        assert (await stranger("GET", "/echo")).status == 503
        assert (await alice("GET", "/echo")).status == 503
        connection.execute("ALTER TABLE lost RENAME TO token")
    assert (await alice("GET", "/echo")).status == 200


async def test_a_store_whose_accounts_were_never_read_does_not_pass_for_one_without(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
            connection.execute("ALTER TABLE token RENAME TO lost")
            for _ in range(2):
                with pytest.raises(StoreError):
                    store.accounts.snapshot()
            connection.execute("ALTER TABLE lost RENAME TO token")


# --- logins -------------------------------------------------------------------------------------


def logins(caplog: pytest.LogCaptureFixture) -> list[str]:
    """List what the log says of logins; each password that was verified is in it."""
    return [
        record.getMessage() for record in caplog.records if vars(record).get("action") == "login"
    ]


async def test_a_password_is_verified_once_and_then_remembered(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alice = await ordinary.add("alice")
    for _ in range(5):
        assert (await alice("GET", "/echo")).status == 200
    assert logins(caplog) == ["login as 'alice' from 127.0.0.1"]


async def test_requests_that_come_together_share_one_verification(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alice = await ordinary.add("alice")
    answers = await asyncio.gather(*(alice("GET", "/echo") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert logins(caplog) == ["login as 'alice' from 127.0.0.1"]


async def test_the_same_wrong_password_is_verified_once_for_requests_that_come_together(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    await ordinary.add("alice")
    mallory = await ordinary.client(basic("alice", "wrong horse"))
    for _ in range(2):  # from now on, each login as alice is held up long enough to be joined
        assert is_unauthorized(await mallory("GET", "/echo"))
    answers = await asyncio.gather(*(mallory("GET", "/echo") for _ in range(20)))
    assert all(is_unauthorized(answer) for answer in answers)
    assert logins(caplog) == ["login as 'alice' from 127.0.0.1 failed"] * 3


async def test_a_client_that_leaves_takes_the_verification_from_nobody(
    store_path: Path, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arrived = asyncio.Semaphore(0)

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        arrived.release()
        return await handler(request)

    async with opened(store_path) as store, AsyncExitStack() as stack:
        await store.accounts.add("alice", Role.USER, hashed(PASSWORD))
        access = Access(store.accounts, anonymous=True)
        stack.push_async_callback(access.close)
        url = await services.application(web.Application(middlewares=[note, access.middleware]))
        asking = (
            f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic('alice')}\r\n\r\n".encode()
        )
        leaving, staying = [await stack.enter_async_context(connected(url)) for _ in range(2)]
        for client in (leaving, staying):
            await client.send(asking)
            await arrived.acquire()
        await leaving.leave()
        assert (await staying.head())[0] == "HTTP/1.1 404 Not Found"
    assert logins(caplog) == ["login as 'alice' from 127.0.0.1"]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_failures_hold_up_the_next_login_until_the_right_password_comes(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alice = await ordinary.add("alice")
    mallory = await ordinary.client(basic("alice", "wrong horse"))
    for client in (mallory, mallory, alice, mallory):
        await client("GET", "/echo")
    held_up = [vars(record)["held_up"] for record in caplog.records if "held_up" in vars(record)]
    assert held_up == [0, FIRST_DELAY, 2 * FIRST_DELAY, 0]


async def test_guesses_of_ever_other_names_hold_up_the_next_one_from_their_address(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    await ordinary.add("alice")
    for n in range(FREE_BY_ADDRESS + 2):
        stranger = await ordinary.client(basic(f"user{n}"))
        assert is_unauthorized(await stranger("GET", "/echo"))
    held_up = [vars(record)["held_up"] for record in caplog.records if "held_up" in vars(record)]
    assert held_up == [0] * (FREE_BY_ADDRESS + 1) + [FIRST_DELAY]


async def test_a_server_stops_while_logins_are_held_up(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack, running(store_path) as server:
        people = People(server, stack)
        await people.add("alice")
        async with connected(server.url) as guessing:
            for _ in range(3):
                await guessing.send(
                    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                    + basic("alice", "wrong horse").encode()
                    + b"\r\n\r\n"
                )
            assert (await guessing.head())[0] == "HTTP/1.1 401 Unauthorized"
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert len(asyncio.all_tasks()) == 1


async def test_failed_logins_are_logged_without_what_was_given(
    ordinary: People, caplog: pytest.LogCaptureFixture
) -> None:
    await ordinary.add("alice")
    for authorization in (
        basic("alice", "wrong horse"),
        basic("eve\n" + "x" * 2000),
        "Bearer jobstore_abc",
    ):
        await (await ordinary.client(authorization))("GET", "/echo")
    assert logins(caplog) == [
        "login as 'alice' from 127.0.0.1 failed",
        f"login as 'eve\\n{'x' * 61}' from 127.0.0.1 failed",
        "a token from 127.0.0.1 is not known",
    ]
    assert not any(
        secret in caplog.text for secret in ("wrong horse", "jobstore_abc", basic("alice")[6:])
    )


async def test_a_flood_from_few_addresses_leaves_room_for_others(meet: Meet) -> None:
    people = await meet(target=ORDINARY)
    await people.add("alice")
    async with AsyncExitStack() as stack:
        for number in range(240):
            connector = TCPConnector(local_addr=(f"127.0.0.{2 + number % 12}", 0))
            flood = await stack.enter_async_context(ClientSession(connector=connector))
            headers = {"Authorization": basic(f"user{number}", "a guess")}
            asking = asyncio.create_task(flood.get(f"{people.server.url}/_jobs", headers=headers))
            stack.callback(asking.cancel)
        await turns(30)  # all of the flood is in front of what comes now
        alice = await people.client(basic("alice"))
        assert (await alice("GET", "/_jobs")).status == 200


def asked_from(address: str, name: str) -> web.Request:
    """Make a request that came through a proxy of this machine."""
    transport = Mock(get_extra_info=lambda key, _=None: {"peername": ("127.0.0.1", 1)}.get(key))
    headers = {"Authorization": basic(name, "a guess"), "X-Forwarded-For": address}
    return make_mocked_request("GET", "/", headers, transport=transport)


async def test_where_too_many_wait_in_all_the_source_that_has_the_most_loses_one(
    store_path: Path,
) -> None:
    async def reached(_: web.Request) -> web.StreamResponse:
        return web.Response()

    async with opened(store_path) as store, AsyncExitStack() as stack:
        await store.accounts.add("alice", Role.USER, hashed(PASSWORD))
        proxies = Proxies([ip_network("127.0.0.1")])
        access = Access(store.accounts, anonymous=True, proxies=proxies)
        stack.push_async_callback(access.close)

        async def login(source: int, name: str) -> int:
            request = asked_from(f"10.0.{source}.1", name)
            return (await access.middleware(request, reached)).status

        sources, each = WAITING // WAITING_BY_SOURCE, WAITING_BY_SOURCE
        flood = [
            asyncio.create_task(login(source, f"user{source}.{n}"))
            for source in range(sources)
            for n in range(each)
        ]
        await turns(1)
        assert await login(7, "beyond") == 429
        late = [asyncio.create_task(login(sources + n, f"late{n}")) for n in range(10)]
        refused, waiting = False, {*flood}
        while not refused:  # a login or two may have been found wrong in the meantime
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused = 429 in {task.result() for task in done}
        assert 429 not in {task.result() for task in late if task.done()}
        for task in (*flood, *late):
            task.cancel()
        await asyncio.gather(*flood, *late, return_exceptions=True)


async def test_the_clients_address_counts_behind_a_trusted_proxy(
    meet: Meet, caplog: pytest.LogCaptureFixture
) -> None:
    people = await meet(server={"port": 0, "trusted_proxies": ["127.0.0.1"]}, target=ORDINARY)
    await people.add("alice")
    stranger = await people.client(basic("eve", "a guess"))
    headers = {"X-Forwarded-For": "6.6.6.6, 198.51.100.7"}
    assert is_unauthorized(await stranger("GET", "/echo", headers=headers))
    assert logins(caplog) == ["login as 'eve' from 198.51.100.7 failed"]


class Time:
    """What time it is, for what counts seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


def test_a_login_is_held_up_for_twice_as_long_after_each_that_failed() -> None:
    failures = Failures(Time())
    held_up = [failures.hold_up("alice", f"10.0.0.{n}") for n in range(9)]
    doubled = [0.0, *(FIRST_DELAY * 2**n for n in range(8))]
    assert held_up == [min(LONGEST_DELAY, delay) for delay in doubled]
    assert held_up[-1] == LONGEST_DELAY


def test_many_guesses_at_once_are_held_up_as_much_as_one_after_the_other() -> None:
    failures = Failures(Time())
    assert [failures.hold_up("alice", "") for _ in range(100)][-1] == LONGEST_DELAY


def test_others_are_not_held_up_by_failures_of_one_name() -> None:
    failures = Failures(Time())
    for _ in range(20):
        failures.hold_up("alice", "10.0.0.1")
    assert failures.hold_up("bob", "10.0.0.1") == 0


def test_an_address_has_some_failures_for_free() -> None:
    failures = Failures(Time())
    held_up = []
    for n in range(FREE_BY_ADDRESS + 3):
        held_up.append(failures.hold_up(f"user{n}", "10.0.0.1"))
        failures.failed("10.0.0.1")
    assert held_up == [0.0] * (FREE_BY_ADDRESS + 1) + [FIRST_DELAY, FIRST_DELAY * 2]
    assert failures.hold_up("somebody", "10.0.0.2") == 0


def test_a_success_forgives_its_name_but_not_its_address() -> None:
    failures = Failures(Time())
    for n in range(FREE_BY_ADDRESS + 1):
        failures.hold_up("alice", "10.0.0.1")
        failures.hold_up(f"user{n}", "10.0.0.1")
        failures.failed("10.0.0.1")
    failures.forgive("alice")
    assert failures.hold_up("alice", "10.0.0.2") == 0
    assert failures.hold_up("carol", "10.0.0.1") == FIRST_DELAY


def test_failures_are_forgiven_after_a_while() -> None:
    time = Time()
    failures = Failures(time)
    for _ in range(5):
        failures.hold_up("alice", "")
    time.now += FORGIVEN_SECONDS + 1
    assert failures.hold_up("alice", "") == 0


def test_a_name_that_looks_like_an_address_is_none() -> None:
    failures = Failures(Time())
    for _ in range(50):
        failures.hold_up("10.0.0.1", "10.9.9.9")
    assert failures.hold_up("alice", "10.0.0.1") == 0


async def test_a_password_that_nobody_used_for_long_is_verified_again(
    store_path: Path, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    time = Time()
    async with opened(store_path) as store, AsyncExitStack() as stack:
        await store.accounts.add("alice", Role.USER, hashed(PASSWORD))
        access = Access(store.accounts, anonymous=True, clock=time)
        stack.push_async_callback(access.close)
        app = web.Application(middlewares=[access.middleware])
        url = await services.application(app)
        session = await stack.enter_async_context(
            ClientSession(headers={"Authorization": basic("alice")})
        )
        alice = Client(session, url)
        for seconds in (0, 0.9, 0.9, 1.1):  # the use of a password keeps it in mind
            time.now += seconds * REMEMBERED_SECONDS
            assert (await alice("GET", "/nothing")).status == 404
    assert logins(caplog) == ["login as 'alice' from 127.0.0.1"] * 2


async def test_too_many_logins_at_once_are_put_off_and_who_is_known_is_not(
    ordinary: People,
) -> None:
    alice = await ordinary.add("alice")
    assert (await alice("GET", "/echo")).status == 200
    guesses = [await ordinary.client(basic("alice", f"guess {n:04}")) for n in range(60)]
    asked = [asyncio.create_task(guess("GET", "/echo")) for guess in guesses]
    done, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert (await alice("GET", "/echo")).status == 200
    while all(task.result().status == 401 for task in done):
        done, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    put_off = next(task.result() for task in done if task.result().status != 401)
    assert (put_off.status, put_off.headers["Retry-After"]) == (429, "1")
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


# --- roles --------------------------------------------------------------------------------------


async def test_users_find_nothing_of_the_jobs_of_others(ordinary: People) -> None:
    alice, bob = await ordinary.with_token("alice"), await ordinary.with_token("bob")
    job_id = await alice.done("/echo")
    for method, path in (("GET", ""), ("PUT", ""), ("PUT", "/cancel"), ("DELETE", "")):
        answer = await bob(method, f"/_api/job/{job_id}{path}")
        assert (answer.status, json.loads(answer.body)["errorNum"]) == (404, 404)
    assert (await alice("PUT", f"/_api/job/{job_id}")).status == 200


async def test_users_can_end_only_their_own_work(gated: People) -> None:
    alice, bob = await gated.with_token("alice"), await gated.with_token("bob")
    job_id = await alice.submit("/wait/a")
    await alice.when("a", "started")
    assert (await bob("PUT", f"/_api/job/{job_id}/cancel")).status == 404
    assert (await bob("DELETE", f"/_api/job/{job_id}")).status == 404
    await alice.let("a")
    assert (await alice.fetched(job_id)).body == b"a is done"


async def test_users_list_their_own_jobs_only(gated: People) -> None:
    alice, bob = await gated.with_token("alice"), await gated.with_token("bob")
    done = [str(await client.done("/started")) for client in (alice, bob)]
    pending = [str(await client.submit("/wait/a")) for client in (alice, bob)]
    for n, client in enumerate((alice, bob)):
        assert value(await client("GET", "/_api/job/done")) == [done[n]]
        assert value(await client("GET", "/_api/job/pending")) == [pending[n]]


@pytest.mark.parametrize("clearing", ["all", "expired?stamp=9999999999"])
async def test_users_clear_their_own_jobs_only(ordinary: People, clearing: str) -> None:
    alice, bob = await ordinary.with_token("alice"), await ordinary.with_token("bob")
    kept, cleared = await alice.done("/echo"), await bob.done("/echo")
    assert (await bob("DELETE", f"/_api/job/{clearing}")).status == 200
    assert (await bob("GET", f"/_api/job/{cleared}")).status == 404
    assert value(await alice("GET", "/_api/job/done")) == [str(kept)]


async def test_admins_see_and_change_the_jobs_of_all(ordinary: People) -> None:
    alice, admin = await ordinary.with_token("alice"), await ordinary.with_token("a", Role.ADMIN)
    taken, deleted, cleared = [await alice.done("/echo") for _ in range(3)]
    assert value(await admin("GET", "/_api/job/done")) == [str(taken), str(deleted), str(cleared)]
    assert (await admin("PUT", f"/_api/job/{taken}")).status == 200
    assert (await admin("DELETE", f"/_api/job/{deleted}")).status == 200
    assert (await admin("DELETE", "/_api/job/all")).status == 200
    assert value(await alice("GET", "/_api/job/done")) == []


async def test_readers_see_the_jobs_of_all_and_change_none(ordinary: People) -> None:
    alice, reader = await ordinary.with_token("alice"), await ordinary.with_token("r", Role.READER)
    job_id = await alice.done("/echo")
    assert value(await reader("GET", "/_api/job/done")) == [str(job_id)]
    assert (await reader("GET", f"/_api/job/{job_id}")).status == 200
    for method, path in (
        ("PUT", f"/_api/job/{job_id}"),
        ("PUT", f"/_api/job/{job_id}/cancel"),
        ("DELETE", f"/_api/job/{job_id}"),
        ("DELETE", "/_api/job/all"),
        ("DELETE", "/_api/job/expired?stamp=9999999999"),
    ):
        answer = await reader(method, path)
        assert (answer.status, json.loads(answer.body)["errorNum"]) == (403, 11)
    assert (await alice("PUT", f"/_api/job/{job_id}")).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_readers_submit_no_jobs(gated: People, method: str) -> None:
    reader = await gated.with_token("reader", Role.READER)
    for asking in ({"x-arango-async": "store"}, {"Prefer": "respond-async"}):
        answer = await reader(method, "/wait/a", headers=asking)
        assert answer.status == 403
    assert await gated.server.store.results.pending(10) == []


async def test_requests_of_readers_go_through_only_if_they_are_safe(ordinary: People) -> None:
    reader = await ordinary.with_token("reader", Role.READER)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await reader(method, "/echo")).status == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await reader(method, "/echo")).status == 403


# --- definitions --------------------------------------------------------------------------------


async def test_users_find_nothing_of_the_definitions_of_others(ordinary: People) -> None:
    alice, bob = await ordinary.with_token("alice"), await ordinary.with_token("bob")
    definition = await defined(alice)
    for reference in (definition["id"], definition["uuid"]):
        one = f"{DEFINITIONS}/{reference}"
        assert (await bob("GET", one)).status == 404
        assert (await bob("PATCH", one, json={"name": "mine"})).status == 404
        assert (await bob("DELETE", one)).status == 404
        assert (await bob("POST", f"{one}/run")).status == 404
    assert value(await bob("GET", DEFINITIONS))["definitions"] == []
    assert value(await alice("GET", DEFINITIONS))["definitions"] == [definition]


async def test_admins_see_and_change_the_definitions_of_all(ordinary: People) -> None:
    alice, admin = await ordinary.with_token("alice"), await ordinary.with_token("a", Role.ADMIN)
    definition = await defined(alice, target="/echo")
    one = f"{DEFINITIONS}/{definition['id']}"
    assert value(await admin("PATCH", one, json={"name": "better"}))["owner"] == "alice"
    job_id = value(await admin("POST", f"{one}/run"))["id"]
    assert await owner_of(ordinary.server, job_id) == "a"
    assert (await admin("DELETE", one)).status == 204


async def test_readers_see_the_definitions_of_all_and_change_none(ordinary: People) -> None:
    alice, reader = await ordinary.with_token("alice"), await ordinary.with_token("r", Role.READER)
    definition = await defined(alice)
    one = f"{DEFINITIONS}/{definition['id']}"
    assert value(await reader("GET", DEFINITIONS))["definitions"] == [definition]
    for method, path in (("POST", f"{one}/run"), ("PATCH", one), ("DELETE", one)):
        assert (await reader(method, path, json={})).status == 403
    assert (await reader("POST", DEFINITIONS, json=DRAFT)).status == 403


# --- Kinetica -----------------------------------------------------------------------------------


async def test_users_find_nothing_of_the_jobs_of_others_in_kineticas_words(gated: People) -> None:
    alice, bob = [Kinetica(await gated.with_token(name)) for name in ("alice", "bob")]
    job_id = await alice.create("/wait/a", job_tag="mine")
    await alice.client.when("a", "started")
    unknown = await bob.refused("/get/job", job_id=job_id + 1, options={})
    told = await bob.refused("/get/job", job_id=job_id, options={})
    assert told == unknown.replace(str(job_id + 1), str(job_id))
    await bob.refused("/get/job", job_id=0, options={"job_tag": "mine"})
    assert await bob.shown(show_async_jobs="true") == []
    of_none = await bob.cancel(job_id + 1)
    assert await bob.cancel(job_id) == [
        said.replace(str(job_id + 1), str(job_id)) for said in of_none
    ]
    assert (await alice.get(job_id))["job_status"] == "RUNNING"


async def test_a_tag_may_be_that_of_another_users_job(gated: People) -> None:
    alice, bob = [Kinetica(await gated.with_token(name)) for name in ("alice", "bob")]
    await alice.create("/wait/a", job_tag="nightly")
    bobs = await bob.create("/wait/b", job_tag="nightly")
    await bob.client.let("b")
    assert (await bob.ended(bobs))["job_status"] == "DONE"
    assert (await bob.get(job_tag="nightly"))["endpoint"] == "/wait/b"
    assert (await alice.get(job_tag="nightly"))["endpoint"] == "/wait/a"


async def test_an_admin_finds_their_own_job_by_its_tag_whoever_used_it_later(
    gated: People,
) -> None:
    alice = Kinetica(await gated.with_token("alice"))
    admin = Kinetica(await gated.with_token("admin", Role.ADMIN))
    await alice.create("/wait/alices", job_tag="nightly")
    assert (await admin.get(job_tag="nightly"))["endpoint"] == "/wait/alices"
    own = await admin.create("/wait/admins", job_tag="nightly")
    assert (await admin.get(job_tag="nightly"))["endpoint"] == "/wait/admins"
    assert await admin.cancel(job_tag="nightly") == ["cancel requested"]
    await admin.ended(own)
    await alice.cancel(job_tag="nightly")
    await alice.create("/wait/later", job_tag="nightly")
    assert (await admin.get(job_tag="nightly"))["endpoint"] == "/wait/admins"
    await admin.client("DELETE", f"/_api/job/{own}")
    await admin.refused("/get/job", options={"job_tag": "nightly"})


async def test_nobody_is_refused_a_tag_that_another_one_uses(gated: People) -> None:
    alice = await gated.with_token("alice")
    admin = await gated.with_token("admin", Role.ADMIN)
    for client in (alice, admin):
        made = await client("POST", "/_jobs", json={"target": "/wait/a", "tag": "nightly"})
        assert made.status == 202
    again = await admin("POST", "/_jobs", json={"target": "/wait/a", "tag": "nightly"})
    assert again.status == 409


@pytest.mark.parametrize("path", [*TYPES, "/get/job/"])
async def test_kineticas_clients_are_asked_for_credentials_in_their_words(
    ordinary: People, path: str
) -> None:
    await ordinary.with_token("alice")
    stranger = await ordinary.client(None)
    answer = await stranger("POST", path, json={})
    assert (answer.status, answer.headers["Content-Type"]) == (401, "application/json")
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    wrapper = json.loads(answer.body)
    assert wrapper.pop("message") == "not authorized to execute this request"
    assert wrapper == {"status": "ERROR", "data_type": "none", "data": "", "data_str": ""}


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-snappy"])
async def test_credentials_are_asked_for_in_the_encoding_of_the_request(
    ordinary: People, content_type: str
) -> None:
    await ordinary.with_token("alice")
    stranger = await ordinary.client(None)
    answer = await stranger("POST", "/get/job", headers={"Content-Type": content_type}, data=b"")
    assert (answer.status, answer.headers["Content-Type"]) == (401, "application/octet-stream")
    assert answer.body.startswith(b"\x0aERROR")
    odd = await stranger("POST", "/get/job", headers={"Content-Type": "image/png"}, data=b"")
    assert (odd.status, json.loads(odd.body)["status"]) == (401, "ERROR")


async def test_the_paths_of_others_ask_for_credentials_as_before(ordinary: People) -> None:
    await ordinary.with_token("alice")
    stranger = await ordinary.client(None)
    for path in ("/_api/job/1", "/echo", "/get/jobs", "/get/job/1"):
        assert is_unauthorized(await stranger("POST", path)), path


async def test_admins_and_readers_see_the_jobs_of_all_in_kineticas_words(gated: People) -> None:
    alice = Kinetica(await gated.with_token("alice"))
    admin = Kinetica(await gated.with_token("admin", Role.ADMIN))
    reader = Kinetica(await gated.with_token("reader", Role.READER))
    job_id = await alice.create("/wait/a")
    for client in (admin, reader):
        assert (await client.get(job_id))["job_status"] == "RUNNING"
        assert [shown for shown, _ in await client.shown()] == [job_id]
    for path, members in (
        ("/create/job", {"endpoint": "/wait/b", "request_encoding": "json", "data_str": ""}),
        ("/admin/alter/jobs", {"job_ids": [job_id], "action": "cancel"}),
    ):
        answer = await reader.client("POST", path, json={**members, "options": {}})
        assert json.loads(answer.body)["status"] == "ERROR"
    assert (await alice.get(job_id))["job_status"] == "RUNNING"
    await admin.cancel(job_id)
    assert (await alice.ended(job_id))["job_status"] == "CANCELLED"


# --- Datameer -----------------------------------------------------------------------------------


async def test_users_find_nothing_of_the_jobs_of_others_in_datameers_words(gated: People) -> None:
    alice, bob = await gated.with_token("alice"), await gated.with_token("bob")
    definition = await defined(alice, target="/wait/a")
    run = f"/rest/job-execution?configuration={definition['id']}"
    execution = value(await alice("POST", run))["job-execution-id"]
    await alice.when("a", "started")
    v1, file = "/rest/job-configuration", definition["file_id"]
    for method, path in (
        ("GET", f"{v1}/job-status/{definition['id']}"),
        ("GET", f"{v1}/job-history/{definition['id']}"),
        ("GET", f"/api/job-execution/{file}/status"),
        ("GET", f"/api/job-execution/{definition['uuid']}/status"),
        ("GET", f"/api/job-execution{definition['path']}/status"),
        ("GET", f"/rest/job-execution/job-details/{execution}"),
        ("POST", run),
        ("POST", run.replace("?", "/sequential?")),
        ("POST", f"/rest/job-execution/job-kill/{execution}"),
        ("DELETE", f"/rest/data/{execution}"),
        ("DELETE", f"/rest/workbook/{definition['id']}"),
    ):
        answer = await bob(method, path)
        assert (answer.status, json.loads(answer.body)["status"]) == (404, "failure"), path
    assert value(await bob("GET", "/rest/jobs/list-running")) == []
    status = value(await alice("GET", f"{v1}/job-status/{definition['id']}"))
    assert status == {"id": execution, "jobStatus": "RUNNING"}


async def test_readers_see_all_in_datameers_words_and_change_nothing(gated: People) -> None:
    alice, reader = await gated.with_token("alice"), await gated.with_token("r", Role.READER)
    definition = await defined(alice, target="/wait/a")
    run = f"/rest/job-execution?configuration={definition['id']}"
    execution = value(await alice("POST", run))["job-execution-id"]
    await alice.when("a", "started")
    listed = value(await reader("GET", "/rest/jobs/list-running"))
    assert [each["id"] for each in listed] == [execution]
    assert value(await reader("GET", f"/rest/job-configuration/job-status/{definition['id']}")) == {
        "id": execution,
        "jobStatus": "RUNNING",
    }
    for method, path in (
        ("POST", run),
        ("POST", f"/rest/job-execution/job-kill/{execution}"),
        ("DELETE", f"/rest/data/{execution}"),
        ("DELETE", f"/rest/workbook/{definition['id']}"),
    ):
        assert (await reader(method, path)).status == 403, path
    await alice.let("a")
    assert (await alice.fetched(execution)).body == b"a is done"


# --- jobs on behalf of their owner --------------------------------------------------------------


async def test_a_job_that_lists_jobs_sees_what_its_owner_sees(ordinary: People) -> None:
    alice, bob = await ordinary.with_token("alice"), await ordinary.with_token("bob")
    admin = await ordinary.with_token("admin", Role.ADMIN)
    mine, theirs = await alice.done("/echo"), await bob.done("/echo")
    for client, seen in ((alice, [mine]), (bob, [theirs]), (admin, [mine, theirs])):
        listing = await client.submit("/_api/job/done")
        assert json.loads((await client.fetched(listing)).body) == [str(each) for each in seen]


async def test_a_job_takes_no_result_that_its_owner_may_not_take(ordinary: People) -> None:
    alice, bob = await ordinary.with_token("alice"), await ordinary.with_token("bob")
    theirs = await alice.done("/echo")
    taking = await bob.submit(f"/_api/job/{theirs}", "PUT")
    assert (await bob.fetched(taking)).status == 404
    assert (await alice("PUT", f"/_api/job/{theirs}")).status == 200


async def test_a_job_cannot_ask_as_somebody_else(ordinary: People) -> None:
    admin = await ordinary.add("admin", Role.ADMIN)
    bob = await ordinary.with_token("bob")
    theirs = await admin.done("/echo")
    definition = await defined(
        bob, target="/_api/job/done", headers={"Authorization": basic("admin")}
    )
    run = value(await bob("POST", f"{DEFINITIONS}/{definition['id']}/run"))
    seen = json.loads((await bob.fetched(run["id"])).body)
    assert str(theirs) not in seen


async def test_a_job_whose_owner_has_no_account_any_more_is_a_strangers(ordinary: People) -> None:
    store = ordinary.server.store
    admin = await ordinary.with_token("admin", Role.ADMIN)
    await admin.done("/echo")
    asking = Request(method="GET", path="/_api/job/done")
    job_id = await store.submit(
        Submission(request=asking, target="/_api/job", dialect=Dialect.ARANGO, owner="gone")
    )
    assert (await admin.fetched(job_id)).status == 401


# --- where credentials go -----------------------------------------------------------------------


def travelled(service: Origin) -> list[str]:
    """List the credentials with which a service was asked."""
    return [
        line.partition(": ")[2]
        for head in service.heads
        for line in lines_of(head)
        if line.lower().startswith("authorization:")
    ]


@pytest.mark.parametrize("told", [False, True])
async def test_a_jobs_credentials_travel_to_the_target_only_if_it_is_told_who_asks(
    meet: Meet,
    services: Services,
    told: bool,
) -> None:
    service = Origin()
    upstream = await services.listen(service.talk)
    people = await meet(target={"upstream": upstream, "forward_credentials": told})
    nobody = await people.client(basic("nobody"))
    await nobody.done("/")
    alice = await people.add("alice")
    await alice.done("/")
    assert travelled(service) == [basic("nobody"), basic("alice")] * told


async def test_credentials_that_do_not_travel_are_not_even_stored(
    meet: Meet, store_path: Path
) -> None:
    people = await meet(target=GATED)
    alice = await people.add("alice", password=SECRET.decode())
    job_id = await alice.submit("/wait/a", "POST", data=b"a body")
    await alice.when("a", "started")
    stored = on_disk(store_path)
    assert b"/wait/a" in stored
    for secret in (SECRET, basic("alice", SECRET.decode())[6:].encode()):
        assert secret not in stored
    headers = rows(store_path, "SELECT headers, secrets FROM request WHERE job_id = ?", job_id)
    assert "authorization" not in str(headers).lower()
    await alice.let("a")


async def test_without_accounts_the_credentials_of_what_goes_through_stay_as_they_are(
    meet: Meet, services: Services
) -> None:
    service = Origin()
    people = await meet(target={"upstream": await services.listen(service.talk)})
    for authorization in (basic("alice"), "Bearer of-the-targets-own"):
        assert (await (await people.client(authorization))("GET", "/")).status == 200
    assert travelled(service) == [basic("alice"), "Bearer of-the-targets-own"]


@pytest.mark.parametrize("told", [False, True])
async def test_with_accounts_the_credentials_of_what_goes_through_travel_only_if_told(
    meet: Meet,
    services: Services,
    told: bool,
) -> None:
    service = Origin()
    upstream = await services.listen(service.talk)
    people = await meet(target={"upstream": upstream}, executor={"forward_credentials": told})
    alice = await people.add("alice")
    assert (await alice("GET", "/")).status == 200
    assert travelled(service) == [basic("alice")] * told


async def test_the_command_may_be_told_to_tell_targets_who_asks(
    server_process: Start, services: Services
) -> None:
    service = Origin()
    upstream = await services.listen(service.talk)
    server = await server_process("--upstream", upstream, "--forward-credentials")
    async with ClientSession(headers={"Authorization": basic("alice")}) as session:
        await Client(session, server.url).done("/")
    assert travelled(service) == [basic("alice")]
