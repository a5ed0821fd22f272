"""Web pages before a server: strangers' pages are refused, trusted ones are served."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession, web

from tests.accounts import People
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Services
from trials.clients import Answer
from trials.sockets import ask

APP = "https://app.example"
PAGE = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}

ServeClient = Callable[..., Awaitable[Client]]


@pytest.fixture
async def served(serve: Serve, http: ClientSession) -> ServeClient:
    """Give a function that starts a server which trusts one origin, and gives a client of it."""

    async def start(**sections: Any) -> Client:
        server = {"port": 0, "origins": [APP], **sections.pop("server", {})}
        return Client(http, (await serve(server=server, target=ORDINARY, **sections)).url)

    return start


def preflight(method: str = "PUT", headers: str = "authorization") -> dict[str, str]:
    """Give the headers by which a page of the trusted origin asks for leave."""
    return {
        "Origin": APP,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


def is_readable(answer: Answer) -> bool:
    """Tell whether the page of the trusted origin may read an answer, and the ids in it."""
    exposed = answer.headers.get("Access-Control-Expose-Headers", "")
    return (
        answer.headers.getall("Access-Control-Allow-Origin", []) == [APP]
        and answer.headers.getall("Access-Control-Allow-Credentials") == ["true"]
        and "Origin" in answer.headers["Vary"]
        and {"x-arango-async-id", "Location", "Retry-After"} <= set(exposed.split(", "))
    )


# --- strangers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_strangers_page_drives_no_api_and_makes_no_job(
    served: ServeClient, foreign: dict[str, str]
) -> None:
    client = await served()
    job_id = await client.done("/greet/you")
    for method, path, headers in [
        ("PUT", f"/_api/job/{job_id}", {}),
        ("GET", f"/_jobs/{job_id}/response", {}),
        ("GET", "/_jobs", {}),
        ("POST", "/_jobs", {"Content-Type": "text/plain"}),
        ("POST", "/create/job", {"Content-Type": "text/plain"}),
        ("DELETE", "/_api/job/all", {}),
        ("POST", "/rest/job-execution?configuration=1", {}),
        ("GET", "/greet/you", {"x-arango-async": "store"}),
        ("GET", "/greet/you", {"Prefer": "respond-async"}),
        ("OPTIONS", "/_api/job/1", {"Access-Control-Request-Method": "PUT"}),
    ]:
        answer = await client(method, path, headers={**headers, **foreign})
        assert answer.status == 403, (method, path)
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "[server] origins" in json.loads(answer.body)["detail"]
    listed = json.loads((await client("GET", "/_jobs")).body)["jobs"]
    assert [(job["id"], job["result"]) for job in listed] == [(job_id, "held")]


async def test_what_is_passed_through_has_the_rules_of_its_target(served: ServeClient) -> None:
    client = await served()
    headers = {"Origin": "http://evil.example", "Host": "evil.example"}
    answer = await client("GET", "/greet/you", headers=headers)
    assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (200, False)


async def test_a_name_that_was_made_to_point_here_is_refused_without_accounts(
    served: ServeClient,
) -> None:
    client = await served()
    for path in ("/_jobs", "/_api/job/done", "/_admin/job/pending"):
        answer = await client("GET", path, headers={"Host": "evil.example:8529"})
        assert answer.status == 421
    asked = {"Host": "evil.example", "x-arango-async": "store"}
    assert (await client("GET", "/greet/you", headers=asked)).status == 421
    absolute = (
        b"GET http://evil.example/_jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    head, _ = await ask(client.url, absolute)
    assert " 421 " in head[0]
    head, _ = await ask(client.url, b"GET /_jobs HTTP/1.0\r\n\r\n")  # no browser speaks that
    assert " 200 " in head[0]


async def test_a_configured_name_is_answered(served: ServeClient) -> None:
    client = await served(server={"hosts": ["jobs.example"]})
    answer = await client("GET", "/_jobs", headers={"Host": "Jobs.Example:443"})
    assert answer.status == 200


async def test_with_accounts_any_name_will_do(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=ORDINARY), stack)
        alice = await people.with_token("alice")
        answer = await alice("GET", "/_jobs", headers={"Host": "anything.example"})
        assert answer.status == 200


# --- pages of a trusted origin ------------------------------------------------------------------


async def test_a_preflight_is_answered_without_a_login(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(server={"port": 0, "origins": [APP]}, target=ORDINARY), stack)
        await people.with_token("alice")
        stranger = await people.client()
        for path in ("/_api/job/1", "/_jobs"):
            answer = await stranger("OPTIONS", path, headers=preflight())
            assert (answer.status, is_readable(answer)) == (204, True)
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
            assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
        asked = await stranger("PUT", "/_api/job/1", headers=PAGE)
        assert (asked.status, is_readable(asked)) == (401, True)


@pytest.mark.parametrize("header", ["x-arango-async", "Prefer"])
async def test_a_preflight_for_a_submission_is_answered_here(
    served: ServeClient, header: str
) -> None:
    client = await served()
    answer = await client("OPTIONS", "/mirror/x", headers=preflight("REPORT", f"x-own,{header}"))
    assert (answer.status, is_readable(answer)) == (204, True)
    assert answer.headers["Access-Control-Allow-Headers"] == f"x-own, {header.lower()}"
    assert "REPORT" in answer.headers["Access-Control-Allow-Methods"]


async def test_any_other_preflight_goes_on_to_the_target(served: ServeClient) -> None:
    client = await served()
    answer = await client("OPTIONS", "/mirror/x", headers=preflight("PUT", "x-own"))
    assert json.loads(answer.body)["method"] == "OPTIONS"
    strangers = {**preflight("GET", "prefer"), "Origin": "http://evil.example"}
    answer = await client("OPTIONS", "/mirror/x", headers=strangers)
    assert json.loads(answer.body)["method"] == "OPTIONS"


async def test_a_page_submits_and_takes_and_reads_what_went_wrong(served: ServeClient) -> None:
    client = await served()
    made = await client("GET", "/greet/you", headers={**PAGE, "x-arango-async": "store"})
    assert (made.status, is_readable(made)) == (202, True)
    await client.ended(int(made.headers["x-arango-async-id"]))
    taken = await client("PUT", f"/_api/job/{made.headers['x-arango-async-id']}", headers=PAGE)
    assert (taken.status, is_readable(taken), b"you" in taken.body) == (200, True, True)
    for method, path, status in [
        ("GET", "/_jobs/99", 404),
        ("GET", "/_api/nothing", 404),
        ("POST", "/_jobs", 400),
        ("PUT", "/_jobs", 405),
    ]:
        answer = await client(method, path, headers=PAGE)
        assert answer.status == status
        assert is_readable(answer) is (path != "/_api/nothing")


async def test_a_page_waits_for_its_result_and_reads_it(served: ServeClient) -> None:
    client = await served()
    headers = {**PAGE, "Prefer": "respond-async, wait=60"}
    answer = await client("GET", "/greet/you", headers=headers)
    assert (answer.status, is_readable(answer)) == (200, True)
    assert answer.headers.getall("Vary") == ["Prefer, Origin"]


async def test_a_page_hears_that_nothing_is_taken_in(serve: Serve, http: ClientSession) -> None:
    server = await serve(server={"port": 0, "origins": [APP]}, target=ORDINARY)
    server.store.refuse()
    client = Client(http, server.url)
    answer = await client("GET", "/greet/you", headers={**PAGE, "x-arango-async": "store"})
    assert (answer.status, is_readable(answer)) == (503, True)
    assert answer.headers["Retry-After"] == "1"


async def _open_to_all(_: web.Request) -> web.Response:
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "X-Mine"}
    return web.Response(text="ok", headers=headers)


@pytest.fixture
async def behind(serve: Serve, http: ClientSession, services: Services) -> Client:
    """Give a client of a server before a service that lets all pages read."""
    app = web.Application()
    app.router.add_get("/open", _open_to_all)
    upstream = {"upstream": await services.application(app)}
    server = await serve(server={"port": 0, "origins": [APP]}, target=upstream)
    return Client(http, server.url)


async def test_a_stored_answer_keeps_its_own_words_and_says_once_who_may_read_it(
    behind: Client,
) -> None:
    job_id = await behind.done("/open")
    through = await behind("GET", "/open", headers=PAGE)
    assert through.headers.getall("Access-Control-Allow-Origin") == ["*"]
    taken = await behind("PUT", f"/_api/job/{job_id}", headers=PAGE)
    assert (taken.status, is_readable(taken)) == (200, True)
    assert taken.headers["Access-Control-Expose-Headers"].startswith("X-Mine, ")
    job_id = await behind.done("/open")
    script = await behind("PUT", f"/_api/job/{job_id}")
    assert script.headers.getall("Access-Control-Allow-Origin") == ["*"]


@pytest.mark.parametrize("origin", ["*", "null", "app.example", "https://app.example/path"])
async def test_an_origin_that_names_no_server_is_no_configuration(
    serve: Serve, origin: str
) -> None:
    with pytest.raises(Exception, match=r"origins.*expected a list of origins"):
        await serve(server={"port": 0, "origins": [origin]})
