"""In front of a service: by which name and path it is asked, and who is said to ask."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from jobstore.embedding import setup
from jobstore.model.account import Role
from jobstore.model.passwords import hashed
from tests.accounts import PASSWORD, People
from tests.client import Client
from tests.conftest import Serve, running
from tests.peers import Services
from tests.stores import owned
from trials.services import answering
from trials.sockets import ask, message

TRUSTED = {"trusted_proxies": ["127.0.0.1"]}
ASYNC = "x-arango-async: store"


async def tell(request: web.Request) -> web.Response:
    """Tell all that was asked, and how."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return web.json_response({"path": request.raw_path, "headers": headers})


async def redirect(request: web.Request) -> web.Response:
    """Send the client to where the query says, with the service's own name in the place of {}."""
    to = request.query["to"].replace("{}", f"http://{request.host}")
    raise web.HTTPFound(to, headers={"Content-Location": to})


def create_app() -> web.Application:
    """Return a service that tells what it was asked."""
    app = web.Application()
    app.router.add_get("/redirect", redirect)
    app.router.add_route("*", "/{tail:.*}", tell)
    return app


@pytest.fixture
async def upstream(services: Services) -> str:
    """Start the service; give its URL."""
    return await services.application(create_app())


async def told(url: str, path: str, *fields: str) -> dict[str, Any]:
    """Ask, and return what the service has been told."""
    _, body = await ask(url, message("GET", path, "Connection: close", *fields))
    told: dict[str, Any] = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    return told


async def told_as_job(url: str, http: ClientSession, path: str, *fields: str) -> dict[str, Any]:
    """Ask by a job, and return what the service has been told."""
    head, _ = await ask(url, message("GET", path, "Connection: close", ASYNC, *fields))
    (job_id,) = (each.split()[1] for each in head if each.lower().startswith("x-arango-async-id"))
    told: dict[str, Any] = json.loads((await Client(http, url).fetched(int(job_id))).body)
    return told


Telling = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(params=["at once", "as a job"])
def telling(request: pytest.FixtureRequest, http: ClientSession) -> Telling:
    """Ask in either way, and return what the service has been told."""
    if request.param == "at once":
        return told
    return lambda url, *arguments: told_as_job(url, http, *arguments)


def forwarded(told: Mapping[str, Any]) -> list[str | None]:
    """Give what a service was told of where a request comes from."""
    names = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
    return [told["headers"].get(name) for name in names]


# --- Host ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ({}, True),
        ({"prefix": "/"}, True),
        ({"prefix": "/", "preserve_host": False}, False),
        ({"prefix": "/x"}, False),
        ({"prefix": "/x", "preserve_host": True}, True),
    ],
    ids=str,
)
async def test_the_name_that_was_asked_for_goes_on_to_what_answers_all_paths(
    serve: Serve, telling: Telling, upstream: str, target: dict[str, Any], *, kept: bool
) -> None:
    server = await serve(target={"upstream": upstream, **target})
    asked = await telling(server.url, "/x")
    own = upstream.removeprefix("http://")
    assert asked["headers"]["host"] == ("localhost" if kept else own)
    assert asked["headers"]["x-forwarded-host"] == "localhost"


async def test_what_a_target_does_with_names_does_not_depend_on_the_others(
    serve: Serve, upstream: str
) -> None:
    targets = [{"upstream": upstream}, {"upstream": upstream, "prefix": "/x"}]
    server = await serve(target=targets)
    own = upstream.removeprefix("http://")
    assert (await told(server.url, "/a"))["headers"]["host"] == "localhost"
    assert (await told(server.url, "/x"))["headers"]["host"] == own


async def test_a_job_that_was_written_as_json_asks_by_the_name_of_the_service(
    serve: Serve, http: ClientSession, upstream: str
) -> None:
    client = Client(http, (await serve(target={"upstream": upstream})).url)
    answer = await client("POST", "/_jobs", json={"target": "/x", "headers": {"X-A": "1"}})
    told = json.loads((await client.fetched(json.loads(answer.body)["id"])).body)
    assert told["headers"]["host"] == upstream.removeprefix("http://")
    assert forwarded(told) == ["for=127.0.0.1;proto=http", "127.0.0.1", None, "http"]


# --- who asks -----------------------------------------------------------------------------------


async def test_what_a_stranger_says_of_where_it_comes_from_is_replaced(
    serve: Serve, telling: Telling, upstream: str
) -> None:
    server = await serve(target={"upstream": upstream})
    lies = (
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X_Forwarded_For: 6.6.6.6",
        "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
        "Jobstore-Front: https://evil.example",
    )
    asked = await telling(server.url, "/x", *lies)
    assert forwarded(asked) == [
        'for=127.0.0.1;host="localhost";proto=http',
        "127.0.0.1",
        "localhost",
        "http",
    ]
    assert "evil" not in json.dumps(asked)
    assert "6.6.6.6" not in json.dumps(asked)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        (
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.7", "X-Forwarded-Proto: https"),
            ['for=192.0.2.7;host="localhost";proto=https', "192.0.2.7", "localhost", "https"],
        ),
        (
            ("X-Forwarded-For: 192.0.2.7, 127.0.0.1", "X-Forwarded-Host: pub.example"),
            ['for=192.0.2.7;host="pub.example";proto=http', "192.0.2.7", "pub.example", "http"],
        ),
        (
            ('Forwarded: for="[2001:db8::7]:99";host="pub.example:8";proto=HTTPS',),
            [
                'for="[2001:db8::7]";host="pub.example:8";proto=https',
                "2001:db8::7",
                "pub.example:8",
                "https",
            ],
        ),
        (
            ("X-Forwarded-Host: a b<script>", "X-Forwarded-Proto: gopher"),
            ['for=127.0.0.1;host="localhost";proto=http', "127.0.0.1", "localhost", "http"],
        ),
        (
            (),
            ['for=127.0.0.1;host="localhost";proto=http', "127.0.0.1", "localhost", "http"],
        ),
    ],
    ids=["right to left", "past the trusted", "RFC 7239", "nonsense", "nothing"],
)
async def test_what_a_trusted_proxy_says_goes_on_in_few_words(
    serve: Serve, telling: Telling, upstream: str, fields: tuple[str, ...], seen: list[str]
) -> None:
    server = await serve(target={"upstream": upstream}, server=TRUSTED)
    asked = await telling(server.url, "/", *fields)
    assert forwarded(asked) == seen
    assert asked["headers"]["host"] == "localhost"


async def test_nobody_can_write_down_by_which_name_a_job_was_asked_for(
    serve: Serve, http: ClientSession, upstream: str
) -> None:
    client = Client(http, (await serve(target={"upstream": upstream})).url)
    headers = {"Jobstore-Front": "https://evil.example"}
    answer = await client("POST", "/_jobs", json={"target": "/x", "headers": headers})
    assert answer.status == 400
    assert b"headers: Jobstore-Front is set by jobstore; leave it out" in answer.body


async def test_a_job_tells_it_after_a_restart_as_well(
    store_path: Path, http: ClientSession, upstream: str, tmp_path: Path
) -> None:
    sections = {"server": TRUSTED, "executor": {"retries": 1000, "retry_delay": "1ms"}}
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    nowhere = {"upstream": f"unix:{tmp_path}/nobody"}
    async with running(store_path, target=nowhere, **sections) as server:
        host = server.url.removeprefix("http://")
        job_id = await Client(http, server.url).submit("/x", headers=headers)
    async with running(store_path, target={"upstream": upstream}, **sections) as server:
        told = json.loads((await Client(http, server.url).fetched(job_id)).body)
    said = f'for=192.0.2.7;host="{host}";proto=https'
    assert forwarded(told) == [said, "192.0.2.7", host, "https"]
    assert told["headers"]["host"] == host


async def test_an_application_in_process_sees_what_came(serve: Serve) -> None:
    server = await serve(target={"app": "tests.web.test_sidecar:create_app"})
    asked = await told(server.url, "/", "X-Forwarded-For: 192.0.2.7", "Jobstore-Front: http://e")
    assert asked["headers"]["x-forwarded-for"] == "192.0.2.7"
    assert not {"forwarded", "jobstore-front"} & asked["headers"].keys()


# --- paths --------------------------------------------------------------------------------------


@pytest.fixture(params=["upstream", "in process"])
def prefixed(request: pytest.FixtureRequest, upstream: str) -> dict[str, Any]:
    """Configure a target whose prefix is cut off."""
    if request.param == "upstream":
        service = {"upstream": upstream, "preserve_host": True}
    else:
        service = {"app": "tests.web.test_sidecar:create_app"}
    return {"prefix": "/api", "strip_prefix": True, **service}


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/api/x%2Fy?z=1", "/x%2Fy?z=1"), ("/api", "/"), ("/api?q", "/?q"), ("/api//x", "//x")],
)
async def test_a_prefix_is_cut_off(
    serve: Serve, http: ClientSession, prefixed: dict[str, Any], path: str, asked: str
) -> None:
    server = await serve(target=prefixed)
    seen = await told(server.url, path)
    as_job = await told_as_job(server.url, http, path)
    assert (seen["path"], as_job["path"]) == (asked, asked)
    if "upstream" in prefixed:
        assert seen["headers"]["x-forwarded-prefix"] == "/api"


@pytest.mark.parametrize("path", ["/api/../x", "/api/%2e%2e/x", "/api/..%2fx", "/api/a/../../x"])
async def test_what_is_cut_off_is_no_way_out(
    serve: Serve, prefixed: dict[str, Any], path: str
) -> None:
    server = await serve(target=prefixed)
    head, _ = await ask(server.url, message("GET", path, "Connection: close"))
    assert head[0] == "HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("/elsewhere?a=b", "/api/elsewhere?a=b"),
        ("{}/x", "http://localhost/api/x"),
        ("next", "next"),
        ("https://example.com/x", "https://example.com/x"),
    ],
)
async def test_a_redirect_leads_below_the_prefix(
    serve: Serve, http: ClientSession, prefixed: dict[str, Any], to: str, told: str
) -> None:
    server = await serve(target=prefixed)
    path = f"/api/redirect?to={to.replace('?', '%3F').replace('&', '%26')}"
    head, _ = await ask(server.url, message("GET", path, "Connection: close"))
    assert f"Location: {told}" in head
    assert f"Content-Location: {told}" in head
    client = Client(http, server.url)
    job = await client.submit(path, headers={"Host": "localhost"})
    assert (await client.fetched(job)).headers["Location"] == told


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_redirect_that_names_the_service_names_what_the_client_knows(
    serve: Serve, http: ClientSession, upstream: str, *, trusted: bool
) -> None:
    server = await serve(
        target={"upstream": upstream, "preserve_host": False}, server=TRUSTED if trusted else {}
    )
    path = "/redirect?to={}/x"
    proxied = ("X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example")
    head, _ = await ask(server.url, message("GET", path, "Connection: close", *proxied))
    front = "https://shop.example" if trusted else "http://localhost"
    assert f"Location: {front}/x" in head
    client = Client(http, server.url)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    job = await client.submit(path, headers={**headers, "Host": "localhost"})
    assert (await client.fetched(job)).headers["Location"] == f"{front}/x"


# --- sockets of this machine --------------------------------------------------------------------


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    """Let the service listen on a socket of this machine."""
    runner = web.AppRunner(create_app())
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "app.sock")).start()
    yield tmp_path / "app.sock"
    await runner.cleanup()


async def test_a_service_may_be_behind_a_socket_of_this_machine(
    serve: Serve, http: ClientSession, socket: Path
) -> None:
    server = await serve(target={"upstream": f"unix:{socket}"})
    for seen in (await told(server.url, "/a"), await told_as_job(server.url, http, "/a")):
        assert (seen["path"], seen["headers"]["host"]) == ("/a", "localhost")
    own = await serve_other(serve, socket)
    assert (await told(own, "/a", "X: 1"))["headers"]["host"] == "localhost"


async def serve_other(serve: Serve, socket: Path) -> str:
    """Serve the same service under its own name."""
    store = {"path": str(socket.with_name("other.db"))}
    target = {"upstream": f"unix:{socket}", "preserve_host": False}
    return (await serve(target=target, store=store)).url


async def test_where_nobody_listens_on_the_socket_that_is_said(
    serve: Serve, http: ClientSession, tmp_path: Path
) -> None:
    target = {"upstream": f"unix:{tmp_path}/none.sock", "hold": "0"}  # or its jobs would wait
    client = Client(http, (await serve(target=target)).url)
    answer = await client("GET", "/")
    assert answer.status in {502, 503}
    job_id = await client.done("/")
    shown = json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    assert (
        shown["detail"] == f"no connection to unix:{tmp_path}/none.sock: No such file or directory"
    )


# --- accounts -----------------------------------------------------------------------------------


async def test_with_protect_jobs_what_passes_through_is_the_service_s_own_affair(
    serve: Serve, upstream: str
) -> None:
    server = await serve(target={"upstream": upstream}, server={"protect": "jobs"})
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice = await people.with_token("alice")
        stranger = await people.client("Bearer of-the-service")
        nobody = await people.client()
        passed = json.loads((await stranger("GET", "/x")).body)
        assert passed["headers"]["authorization"] == "Bearer of-the-service"
        assert (await nobody("POST", "/x", data=b"a" * 100_000)).status == 200
        assert (await nobody("GET", "/x")).status == 200
        assert (await stranger("GET", "/_jobs")).status == 401
        assert (await stranger("GET", "/_api/job/done")).status == 401
        refused = await stranger("GET", "/x", headers={"x-arango-async": "store"})
        assert refused.status == 401
        assert (await stranger("GET", "/x", headers={"Prefer": "respond-async"})).status == 401
        assert (await alice.submit("/x")) == 1


async def test_with_protect_all_everybody_needs_an_account(serve: Serve, upstream: str) -> None:
    server = await serve(target={"upstream": upstream})
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        reader = await people.with_token("rita", Role.READER)
        nobody = await people.client()
        assert (await nobody("GET", "/x")).status == 401
        passed = json.loads((await reader("GET", "/x")).body)
        assert "authorization" not in passed["headers"]


async def test_an_application_with_jobs_of_its_own_may_protect_no_more_than_these(
    tmp_path: Path, http: ClientSession
) -> None:
    path = tmp_path / "embedded.db"
    async with owned(path) as store:
        await store.accounts.add("alice", Role.USER, hashed(PASSWORD))
    app = create_app()
    setup(app, path, server={"protect": "jobs"})
    async with answering(app) as url:
        client = Client(http, url)
        assert (await client("GET", "/x")).status == 200
        assert (await client("GET", "/_jobs")).status == 401
        assert (await client("GET", "/x", headers={"x-arango-async": "store"})).status == 401


# --- credentials --------------------------------------------------------------------------------


async def test_that_a_job_s_authorization_is_not_sent_is_said_once_for_each_target(
    serve: Serve, http: ClientSession, upstream: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(http, (await serve(target={"upstream": upstream})).url)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        headers = {"Authorization": "Bearer of-the-service"}
        seen = json.loads((await client.fetched(await client.submit("/x", headers=headers))).body)
        assert "authorization" not in seen["headers"]
    (said,) = [each for each in caplog.records if "Authorization" in each.getMessage()]
    assert "forward_credentials" in said.getMessage()
    assert "of-the-service" not in said.getMessage()


async def test_with_one_line_a_job_logs_in_to_its_service(
    serve: Serve, http: ClientSession, upstream: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(target={"upstream": upstream, "forward_credentials": True})
    client = Client(http, server.url)
    headers = {"Authorization": "Bearer of-the-service"}
    seen = json.loads((await client.fetched(await client.submit("/x", headers=headers))).body)
    assert seen["headers"]["authorization"] == "Bearer of-the-service"
    assert "Authorization" not in caplog.text


async def test_with_accounts_nothing_is_said_since_it_is_meant_for_us(
    serve: Serve, upstream: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(target={"upstream": upstream})
    async with AsyncExitStack() as stack:
        alice = await People(server, stack).with_token("alice")
        await alice.submit("/x")
    assert "Authorization" not in caplog.text


# --- whose calls are answered -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/get/job"),
        ("POST", "/create/job"),
        ("GET", "/rest/jobs/list-running"),
        ("POST", "/_open/auth"),
        ("GET", "/_api/version"),
    ],
)
async def test_in_front_of_a_service_other_dialects_calls_are_its_own(
    serve: Serve, http: ClientSession, upstream: str, method: str, path: str
) -> None:
    server = await serve(target={"upstream": upstream}, server={"dialects": "auto"})
    answer = await Client(http, server.url)(method, path)
    assert json.loads(answer.body)["path"] == path


async def test_dialects_that_are_named_are_answered_in_front_of_a_service(
    serve: Serve, http: ClientSession, upstream: str
) -> None:
    server = await serve(target={"upstream": upstream}, server={"dialects": ["datameer"]})
    client = Client(http, server.url)
    assert json.loads((await client("GET", "/rest/jobs/list-running")).body) == []
    assert json.loads((await client("POST", "/get/job")).body)["path"] == "/get/job"
