"""``Idempotency-Key``: what is sent twice under one key is one job."""

import asyncio
import json
import string
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from jobstore.model import idempotency
from jobstore.model.account import Role
from jobstore.model.errors import KeyInvalid
from jobstore.model.passwords import digest
from tests.client import GATED, Client
from tests.conftest import Serve, running
from trials.clients import Answer

MIB = 2**20
ARANGO = {"x-arango-async": "store"}
PREFER = {"Prefer": "respond-async"}

NO_KEYS = [
    "",
    " ",
    '""',
    '" "',
    '"',
    '"a',
    'a"',
    '"a" "b"',
    '"a", "b"',
    '"a";p=1',
    '"a\\b"',
    "a b",
    "a,b",
    "(a)",
    "{a}",
    "\N{SNOWMAN}",
    '"\N{SNOWMAN}"',
    "x" * 256,
    '"' + "x" * 256 + '"',
]


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


async def send(
    client: Client, key: str, *, asking: dict[str, str] = PREFER, **options: Any
) -> Answer:
    """Submit a request under a key."""
    headers = {**asking, "Idempotency-Key": key, **options.pop("headers", {})}
    method, path = options.pop("method", "POST"), options.pop("path", "/echo")
    return await client(method, path, headers=headers, **options)


def id_of(answer: Answer) -> int:
    """Read the id of a job that was taken in."""
    assert answer.status == 202, answer
    asked = answer.headers.get("x-arango-async-id")
    return int(asked or json.loads(answer.body)["id"])


async def count(client: Client) -> int:
    """Tell how many jobs there are."""
    return len(json.loads((await client("GET", "/_jobs")).body)["jobs"])


# --- the same request ---------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [ARANGO, PREFER])
async def test_the_same_request_under_the_same_key_is_the_same_job(
    client: Client, asking: dict[str, str]
) -> None:
    first = await send(client, '"one"', asking=asking, data=b"x")
    second = await send(client, '"one"', asking=asking, data=b"x")
    assert id_of(first) == id_of(second)
    assert second.headers.get("Location") == first.headers.get("Location")
    assert await count(client) == 1


async def test_another_key_or_none_is_another_job(client: Client) -> None:
    ids = [id_of(await send(client, key, data=b"x")) for key in ("a", "b", "A")]
    without = [await client("POST", "/echo", headers=PREFER, data=b"x") for _ in range(2)]
    ids += [id_of(answer) for answer in without]
    assert len(set(ids)) == 5


async def test_the_same_job_is_named_when_it_has_ended_and_was_taken(client: Client) -> None:
    job_id = id_of(await send(client, "k", data=b"x"))
    await client("POST", f"/_jobs/{job_id}/take", headers={"Prefer": "wait=60"})
    assert id_of(await send(client, "k", data=b"x")) == job_id


async def test_of_many_at_once_one_is_run(client: Client) -> None:
    answers = await asyncio.gather(*(send(client, "k", data=b"x") for _ in range(20)))
    assert len({id_of(answer) for answer in answers}) == 1
    assert await count(client) == 1


async def test_slots_are_not_lost_to_what_came_twice(serve: Serve, http: ClientSession) -> None:
    executor = {"concurrency": 2, "queue_limit": 2}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    for _ in range(10):
        await send(client, "k", path="/wait/one")
    await send(client, "l", path="/wait/two")
    await client.when("one", "started")
    await client.when("two", "started")
    for _ in range(10):
        await send(client, "m", path="/wait/three")
    assert (await send(client, "n", path="/wait/four")).status == 202


@pytest.mark.parametrize("size", [0, 100, 300_000, 3 * MIB])
@pytest.mark.parametrize("streamed", [False, True])
async def test_bodies_of_any_size_are_compared(
    client: Client, size: int, *, streamed: bool
) -> None:
    async def pieces(last: bytes) -> AsyncIterator[bytes]:
        yield b"x" * size
        yield last

    def body(last: bytes) -> Any:
        return pieces(last) if streamed else BytesIO(b"x" * size + last)

    headers = {"Content-Type": "text/plain"}
    first = id_of(await send(client, "k", data=body(b"1"), headers=headers))
    assert id_of(await send(client, "k", data=body(b"1"), headers=headers)) == first
    assert (await send(client, "k", data=body(b"2"), headers=headers)).status == 422
    result = await client("POST", f"/_jobs/{first}/take", headers={"Prefer": "wait=60"})
    assert result.body == b"x" * size + b"1"


async def test_a_key_outlives_a_restart(store_path: Path, http: ClientSession) -> None:
    ids = []
    for _ in range(2):
        async with running(store_path) as server:
            ids.append(id_of(await send(Client(http, server.url), "k", data=b"x")))
    assert ids == [1, 1]


async def test_a_key_is_forgotten_with_its_job(serve: Serve, http: ClientSession) -> None:
    server = await serve()
    client = Client(http, server.url)
    first = id_of(await send(client, "k", data=b"x"))
    await client("POST", f"/_jobs/{first}/take", headers={"Prefer": "wait=60"})
    await server.store.upkeep.forget(2**62)
    assert id_of(await send(client, "k", data=b"other")) > first


async def test_what_was_not_taken_in_does_not_use_its_key_up(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(capture={"body_limit": 10})).url)
    assert (await send(client, "k", data=b"." * 11)).status == 413
    assert (await send(client, "k", data=b".")).status == 202


# --- another request ----------------------------------------------------------------------------

OTHERS: list[dict[str, Any]] = [
    {"data": b"y"},
    {"data": b""},
    {"data": b"x", "method": "PUT"},
    {"data": b"x", "path": "/echo?a=b"},
    {"data": b"x", "path": "/echo/"},
    {"data": b"x", "headers": {"Content-Type": "text/csv"}},
]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_request_under_the_same_key_is_refused(
    client: Client, other: dict[str, Any]
) -> None:
    headers = {"Content-Type": "text/plain"}
    await send(client, "k", data=b"x", headers=headers)
    answer = await send(client, "k", **{"headers": headers, **other})
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"]) == (422, 422)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert '"k" was already used for another request' in problem["detail"]
    assert await count(client) == 1


async def test_other_headers_do_not_make_another_request(client: Client) -> None:
    first = await send(client, "k", data=b"x", headers={"X-Trace": "1"})
    second = await send(client, "k", data=b"x", headers={"X-Trace": "2", "Accept": "*/*"})
    assert id_of(first) == id_of(second)


async def test_arangodbs_clients_are_refused_in_their_own_words(client: Client) -> None:
    await send(client, "k", asking=ARANGO, data=b"x")
    other = await send(client, "k", asking=ARANGO, data=b"y")
    refusal = json.loads(other.body)
    assert (other.status, refusal["code"], refusal["errorNum"]) == (422, 422, 422)
    assert (refusal["error"], "another request" in refusal["errorMessage"]) == (True, True)
    bad = await send(client, '"', asking=ARANGO, data=b"x")
    assert (bad.status, json.loads(bad.body)["errorNum"]) == (400, 400)


async def test_everybody_has_keys_of_their_own(serve: Serve, http: ClientSession) -> None:
    server = await serve()
    client = Client(http, server.url)
    ids = []
    for name in ("uma", "udo"):
        await server.store.accounts.add(name, Role.USER, "unused")
        await server.store.accounts.add_token(name, "test", digest(name))
    for name in ("uma", "udo"):
        headers = {"Authorization": f"Bearer {name}"}
        ids.append(id_of(await send(client, "k", data=name.encode(), headers=headers)))
    assert ids == [1, 2]


# --- jobs as JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_job_as_json_may_have_a_key_too(client: Client, *, in_body: bool) -> None:
    async def submit(**members: Any) -> Answer:
        headers = {} if in_body else {"Idempotency-Key": '"k"'}
        key = {"idempotency_key": "k"} if in_body else {}
        return await client("POST", "/_jobs", headers=headers, data=json.dumps({**members, **key}))

    first = id_of(await submit(target="/echo", method="POST", body="x"))
    assert id_of(await submit(target="/echo", method="POST", body_base64="eA==")) == first
    for other in ({"body": "y"}, {"body": "x", "headers": {"Content-Type": "a/b"}}):
        assert (await submit(target="/echo", method="POST", **other)).status == 422


async def test_a_header_and_a_member_may_not_say_different_things(client: Client) -> None:
    members = {"target": "/echo", "idempotency_key": "a"}
    for key, status in {"a": 202, "b": 400}.items():
        headers = {"Idempotency-Key": key}
        answer = await client("POST", "/_jobs", headers=headers, data=json.dumps(members))
        assert answer.status == status


async def test_a_job_as_json_and_its_twin_with_a_header_are_one(client: Client) -> None:
    members = {"target": "/_admin/time", "idempotency_key": "k"}
    first = id_of(await client("POST", "/_jobs", data=json.dumps(members)))
    second = await send(client, "k", method="GET", path="/_admin/time")
    assert id_of(second) == first


# --- reading the header -------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["abc", '"abc"', ' "abc" ', "\tabc"])
@pytest.mark.file
async def test_the_quotes_may_be_left_out(client: Client, key: str) -> None:
    assert id_of(await send(client, '"abc"')) == id_of(await send(client, key))


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(KeyInvalid, match="expected a key such as"):
        idempotency.key_of([key])


@pytest.mark.parametrize("keys", [['"'], ['""'], ["a", "b"], ["a", "a"], ["x" * 256]])
@pytest.mark.file
async def test_nonsense_is_answered_with_a_problem(client: Client, keys: list[str]) -> None:
    headers = CIMultiDict([*PREFER.items(), *(("Idempotency-Key", key) for key in keys)])
    answer = await client("POST", "/echo", headers=headers)
    assert (answer.status, json.loads(answer.body)["status"]) == (400, 400)
    assert await count(client) == 0


async def test_a_request_that_asks_for_no_job_keeps_its_key_to_itself(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={"app": "tests.webapp:create_app"})).url)
    answer = await client("GET", "/mirror/", headers={"Idempotency-Key": "k"})
    assert ["idempotency-key", "k"] in json.loads(answer.body)["headers"]


async def test_the_key_of_a_job_does_not_travel_on(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target={"app": "tests.webapp:create_app"})).url)
    prefer = {"Prefer": "respond-async, wait=60"}
    answer = await send(client, "k", asking=prefer, method="GET", path="/mirror/")
    assert "idempotency-key" not in dict(json.loads(answer.body)["headers"])


@given(st.text(string.printable[:95], min_size=1, max_size=255).filter(str.strip))
def test_any_printable_text_can_be_a_key_in_quotes(text: str) -> None:
    quoted = text.replace("\\", r"\\").replace('"', r"\"")
    assert idempotency.key_of([f'"{quoted}"']) == text


@given(st.text())
def test_any_other_text_is_a_key_or_is_refused(text: str) -> None:
    try:
        key = idempotency.key_of([text])
    except KeyInvalid:
        return
    assert key is not None
    assert idempotency.checked(key) == key
