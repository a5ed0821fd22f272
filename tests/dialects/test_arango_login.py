"""ArangoDB's login with a JSON Web Token, as its clients use it."""

import asyncio
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from arango.client import ArangoClient
from arango.exceptions import JWTAuthError
from arango.job import AsyncJob

from tests.accounts import PASSWORD, People, basic
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import rows
from trials.clients import Answer

pytestmark = pytest.mark.file  # who logs in is no affair of the engine

LOGIN = "/_open/auth"
NO_NAMES = [b"", b"{", b"[]", b"{}", b'{"username": "a"}', b'{"username": 1, "password": ""}']
NO_NAMES += [b'{"username": "\\ud800", "password": ""}', b"NaN", b" " * 100_000]


@pytest.fixture
async def demo(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


@pytest.fixture
async def people(serve: Serve) -> AsyncIterator[People]:
    """Give the people of a server that has the demo behind it."""
    async with AsyncExitStack() as stack:
        yield People(await serve(), stack)


async def log_in(client: Client, name: str) -> str:
    """Log in, and give the token."""
    answer = await client("POST", LOGIN, json={"username": name, "password": "any"})
    given = json.loads(answer.body)
    assert (answer.status, given["must_change_password"]) == (200, False)
    token: str = given["jwt"]
    return token


def error(answer: Answer) -> tuple[int, int, str]:
    """Give the status, ArangoDB's error number and the message of an answer."""
    said = json.loads(answer.body)
    assert (said["error"], said["code"]) == (True, answer.status)
    return answer.status, said["errorNum"], said["errorMessage"]


def bearer(claims: object) -> dict[str, str]:
    """Write a header with a token that says something, signed by nobody."""
    part = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return {"Authorization": f"bearer e30.{part}.c2ln"}


async def test_python_arango_works_with_a_token(serve: Serve) -> None:
    server = await serve()

    def talk() -> None:
        with closing(ArangoClient(hosts=server.url)) as client:
            login = {"username": "alice", "password": "any", "auth_method": "jwt"}
            db = client.db("_system", **login, verify=True)
            assert db.version() == "2.1.0"
            job = db.begin_async_execution(return_result=True).version()
            assert isinstance(job, AsyncJob)
            while job.status() != "done":
                pass
            assert job.result() == "2.1.0"

    await asyncio.to_thread(talk)


@pytest.mark.parametrize("name", ["root", "alice", "jürgen", "a", "ab", "abc", ""])
async def test_a_token_names_its_holder(demo: Client, store_path: Path, name: str) -> None:
    token = await log_in(demo, name)
    await demo.submit("/echo", headers={"Authorization": f"bearer {token}"})
    assert rows(store_path, "SELECT owner FROM job") == [(name,)]


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "root"])
async def test_a_token_can_be_read_without_padding_and_lasts_for_long(
    demo: Client, name: str
) -> None:
    claims = json.loads(b64decode((await log_in(demo, name)).split(".")[1]))
    assert (claims["preferred_username"], claims["iss"]) == (name, "arangodb")
    assert claims["exp"] - claims["iat"] > 43_200  # else pyArango asks for another one each time


@pytest.mark.parametrize("path", [LOGIN, "/_db/_system/_open/auth", LOGIN + "/"])
@pytest.mark.parametrize("body", NO_NAMES)
async def test_a_login_without_name_and_password_is_a_bad_parameter(
    demo: Client, path: str, body: bytes
) -> None:
    assert error(await demo("POST", path, data=body))[:2] == (400, 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer a.b"},
        {"Authorization": "Bearer ..."},
        {"Authorization": "Bearer"},
        bearer(None),
        bearer([]),
        bearer("text"),
        bearer({"preferred_username": 1}),
        bearer({"preferred_username": "\ud800"}),
    ],
)
async def test_a_token_that_names_nobody_is_one_of_nobody(
    demo: Client, store_path: Path, headers: dict[str, str]
) -> None:
    await demo.submit("/echo", headers=headers)
    assert rows(store_path, "SELECT owner FROM job") == [("",)]


async def test_with_accounts_a_login_is_refused_and_told_what_to_send_instead(
    people: People,
) -> None:
    alice, stranger = await people.add("alice"), await people.client()
    login = {"json": {"username": "alice", "password": PASSWORD}}
    for client, status in ((stranger, 401), (alice, 403)):
        told = error(await client("POST", LOGIN, **login))
        assert told[:2] == (status, 11)
        assert "HTTP Basic" in told[2]
        assert "jobstore user token" in told[2]

    def talk() -> None:
        with closing(ArangoClient(hosts=people.server.url)) as client:
            client.db("_system", username="alice", password=PASSWORD, auth_method="jwt")

    with pytest.raises(JWTAuthError, match="HTTP Basic"):
        await asyncio.to_thread(talk)


async def test_with_accounts_a_token_of_one_who_logged_in_before_opens_nothing(
    people: People,
) -> None:
    token = await log_in(await people.client(), "alice")
    await people.add("alice")
    late = await people.client(f"bearer {token}")
    assert error(await late("GET", "/_api/job/done"))[:2] == (401, 11)


async def test_before_a_service_the_login_is_the_services(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    async def own(_: web.Request) -> web.Response:
        return web.json_response({"jwt": "its own"})

    app = web.Application()
    app.router.add_post(LOGIN, own)
    target = {"upstream": await services.application(app)}
    client = Client(http, (await serve(target=target)).url)
    answer = await client("POST", LOGIN, json={"username": "a", "password": "b"})
    assert json.loads(answer.body) == {"jwt": "its own"}


async def test_a_service_with_accounts_before_it_tells_who_logs_in_to_it_why_not(
    serve: Serve,
) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=GATED), stack)
        await people.add("alice")
        said: Any = error(await (await people.client())("POST", LOGIN, data=b"{}"))
        assert "HTTP Basic" in said[2]
        wrong = await people.client(basic("alice", "wrong"))
        assert error(await wrong("POST", LOGIN, data=b"{}"))[:2] == (401, 11)
