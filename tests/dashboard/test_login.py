"""How people come in with a browser, what that is good for, and how it ends."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

import jobstore
from jobstore.dashboard.login import next_page
from jobstore.dashboard.session import described
from jobstore.live.meters import Login
from jobstore.model.account import Role
from jobstore.store.sessions import IDLE
from jobstore.web.logins import WAITING_BY_SOURCE
from tests.accounts import PASSWORD, People, basic
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.dashboard.visitors import MOUNT, OURS, Visitor, account, visitor
from tests.stores import execute, rows

CROSS = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}


@pytest.fixture
async def browser(serve: Serve, http: ClientSession) -> Visitor:
    """Give a browser before a server where alice is an admin, and nobody has logged in."""
    server = await serve(target=ORDINARY)
    await account(server, "alice")
    return Visitor(http, f"{server.url}{MOUNT}")


async def test_who_logs_in_comes_to_the_page_that_was_asked_for(browser: Visitor) -> None:
    stranger = await browser.get("?state=failed")
    assert (stranger.status, stranger.headers["Location"]) == (
        303,
        "./login?next=%3Fstate%3Dfailed",
    )
    form = await browser.get("login?next=%3Fstate%3Dfailed")
    assert form.status == 200
    assert b'name="next" value="?state=failed"' in form.body
    assert b"ended" not in form.body
    answer = await browser.log_in("alice", asked="?state=failed")
    assert (answer.status, answer.headers["Location"]) == (303, "./?state=failed")
    page = await browser.get("?state=failed")
    assert page.status == 200
    assert b"alice" in page.body
    again = await browser.get("login?next=access")
    assert (again.status, again.headers["Location"]) == (303, "./access")


async def test_the_cookie_stays_below_the_mount_and_out_of_reach(browser: Visitor) -> None:
    answer = await browser.log_in("alice")
    (cookie,) = answer.headers.getall("Set-Cookie")
    assert set(cookie.partition("=")[2].split("; ")[1:]) == {"HttpOnly", "SameSite=Lax"}
    assert answer.headers["Cache-Control"] == "no-store"
    left = await browser.post("logout", {})
    (cookie,) = left.headers.getall("Set-Cookie")
    assert cookie.startswith('jobstore_session=""; ')
    assert {*cookie.split("; ")} >= {"HttpOnly", "Max-Age=0", "SameSite=Lax"}


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "wrong horse"), ("nobody", PASSWORD), ("", ""), ("<b>", "x" * 5000), ("a:b", "\0")],
)
async def test_a_wrong_password_is_said_on_the_page(
    browser: Visitor, name: str, password: str
) -> None:
    answer = await browser.log_in(name, password, "access")
    assert answer.status == 403
    assert b"There is no account with that name and that password." in answer.body
    assert b'name="next" value="access"' in answer.body
    assert b"<b>" not in answer.body
    assert "WWW-Authenticate" not in answer.headers
    assert browser.cookies == {}


async def test_logins_with_a_browser_are_held_up_and_refused_as_all_others(
    serve: Serve, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    await account(server, "alice")
    browser = Visitor(http, f"{server.url}{MOUNT}")
    for _ in range(2):
        await browser.log_in("alice", "wrong horse")
    logged = [record for record in caplog.records if getattr(record, "action", "") == "login"]
    assert [record.message for record in logged] == ["login as 'alice' from 127.0.0.1 failed"] * 2
    assert server.store.meters is not None
    counted = server.store.meters.logins
    assert (counted[Login.REFUSED], counted[Login.HELD_UP], counted[Login.ACCEPTED]) == (2, 1, 0)


async def test_too_many_logins_at_once_are_refused_with_a_sentence(browser: Visitor) -> None:
    many = [
        asyncio.create_task(browser.log_in(f"nobody {n}")) for n in range(WAITING_BY_SOURCE * 2)
    ]
    for each in asyncio.as_completed(many):
        answer = await each
        if answer.status == 429:
            break
    assert answer.headers["Retry-After"] == "1"
    assert b"Too many logins at once; try again." in answer.body
    for task in many:
        task.cancel()
    await asyncio.wait(many)


async def test_a_form_that_is_none_is_refused_in_a_sentence(browser: Visitor) -> None:
    for body, kind in [
        (b"{}", "application/json"),
        (b"name=%FF", "application/x-www-form-urlencoded"),
        ("näme=".encode(), "application/x-www-form-urlencoded"),
        (b"&".join([b"a="] * 101), "application/x-www-form-urlencoded"),
    ]:
        answer = await Client(browser.http, browser.url)(
            "POST", "login", data=body, headers={**OURS, "Content-Type": kind}
        )
        assert (answer.status, b"Expected a form as a browser sends it" in answer.body) == (
            400,
            True,
        )
    large = await browser.post("login", {"name": "x" * 70_000})
    assert large.status == 413


# --- what a session is good for -------------------------------------------------------------------


async def test_the_cookie_is_for_pages_alone(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    browser = await visitor(server, http, "alice", Role.ADMIN)
    cookie = {"Cookie": f"a=1; {browser.cookies['jobstore_session'].OutputString([])}; b=2"}
    client = Client(http, server.url)
    for path in ("/_jobs", "/_api/job/done", "/_jobs/targets"):
        assert (await client("GET", path, headers=cookie)).status == 401
    job = await client("GET", "/_jobs/ui/", headers={**cookie, "x-arango-async": "store"})
    assert job.status == 401
    assert (await client("GET", "/_jobs/ui/", headers=cookie)).status == 200


async def test_the_cookie_goes_on_to_no_target_and_into_no_job(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    server = await serve(target=ORDINARY)
    browser = await visitor(server, http, "alice", Role.ADMIN)
    secret = browser.cookies["jobstore_session"].value
    cookies = [f"a=1; jobstore_session={secret}; b=2", f"jobstore_session={secret}", "c=3"]
    sent = [("Cookie", each) for each in cookies]
    async with AsyncExitStack() as stack:
        alice = await People(server, stack).client(basic("alice"))
        for body in (b"", b"x" * 100_000):  # at the desk, and the long way
            job = [*sent, ("x-arango-async", "store")]
            taken = await alice("POST", "/mirror/x", headers=job, data=body)
            answers = [
                await alice("POST", "/mirror/x", headers=sent, data=body),
                await alice.fetched(int(taken.headers["x-arango-async-id"])),
            ]
            for answer in answers:
                came = [value for name, value in answer.json()["headers"] if name == "cookie"]
                assert came == ["a=1; b=2", "c=3"]
    kept = rows(store_path, "SELECT headers, secrets FROM request")
    assert len(kept) == 2
    assert secret not in str(kept)


async def test_a_page_of_somebody_else_changes_nothing_by_a_session(browser: Visitor) -> None:
    await browser.log_in("alice")
    fields = {"name": "eve", "role": "admin", "password": PASSWORD, "again": PASSWORD}
    forged: list[dict[str, str]] = [
        CROSS,
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
        {"Sec-Fetch-Site": ""},
    ]
    for headers in forged:
        for page in ("access/add", "logout"):
            assert (await browser.post(page, fields, **headers)).status == 403
    assert b"eve" not in (await browser.get("access")).body
    ours = {"Sec-Fetch-Site": "", "Origin": browser.url.removesuffix(MOUNT)}
    assert (await browser.post("access/add", fields, **ours)).status == 303
    assert b"eve" in (await browser.get("access")).body


async def test_a_user_sees_their_own_jobs_and_a_reader_those_of_all(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    users = {name: await visitor(server, http, name, Role.USER) for name in ("ute", "uwe")}
    rita = await visitor(server, http, "rita", Role.READER)
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        done = {name: await (await people.client(basic(name))).done("/echo") for name in users}
    for name, other in (("ute", "uwe"), ("uwe", "ute")):
        listed = (await users[name].get()).body.decode()
        assert f'id="job-{done[name]}"' in listed
        assert f'id="job-{done[other]}"' not in listed
        assert (await users[name].get(str(done[name]))).status == 200
        assert (await users[name].get(str(done[other]))).status == 404
    listed = (await rita.get()).body.decode()
    assert all(f'id="job-{each}"' in listed for each in done.values())
    assert 'method="post"' not in listed.replace('method="post" action="./logout"', "")


async def test_basic_credentials_are_good_for_pages_as_well(browser: Visitor) -> None:
    await browser.log_in("alice")
    known = await browser.get("", Authorization=basic("alice"))
    assert b"Log out" not in known.body, "there is no session to leave"
    wrong = await browser.get("", Authorization=basic("alice", "wrong horse"))
    assert wrong.status == 303, "what is said last counts, whatever the cookie says"


# --- how it ends ----------------------------------------------------------------------------------


async def test_who_logs_out_is_out(browser: Visitor) -> None:
    await browser.log_in("alice")
    kept = dict(browser.cookies)
    assert b"Log out" in (await browser.get()).body
    assert (await browser.get("logout")).status == 405
    left = await browser.post("logout", {})
    assert (left.status, left.headers["Location"]) == (303, "./login")
    assert browser.cookies == {}
    browser.cookies = kept
    assert (await browser.get()).status == 303
    assert (await browser.post("logout", {})).status == 303, "whoever is out may leave again"


async def test_a_session_that_ended_leads_to_the_login_with_a_sentence(
    browser: Visitor, store_path: Path
) -> None:
    await browser.log_in("alice")
    execute(store_path, "UPDATE session SET until = until - ?", IDLE)
    expired = await browser.get("access")
    assert (expired.status, expired.headers["Location"]) == (303, "./login?next=access")
    assert b"Your session has ended" in (await browser.get("login?next=access")).body
    acting = await browser.post("access/add", {"name": "bob"})
    assert acting.status == 401
    assert b"so nothing was changed" in acting.body
    assert b'action="../login"' in acting.body
    assert (await browser.log_in("alice")).status == 303
    assert (await browser.get("access")).status == 200


async def test_who_wants_to_change_something_has_to_log_in_first(browser: Visitor) -> None:
    for page in ("access/add", "targets/pause"):
        answer = await browser.post(page, {})
        assert (answer.status, b"Please log in first" in answer.body) == (401, True)
    script = await browser.post("access/add", {}, Accept="*/*")
    assert (script.status, b"not authorized" in script.body.lower()) == (401, True)


# --- where a browser is ---------------------------------------------------------------------------


async def test_behind_a_proxy_that_strips_a_prefix_everything_stays_below_it(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(server={"trusted_proxies": ["127.0.0.0/8"]})
    await account(server, "alice")
    inner = ClientSession(auto_decompress=False)

    async def passed_on(request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix("/tools")
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.2.3"}
        sent = {**{k: v for k, v in request.headers.items() if k != "Host"}, **told}
        async with inner.request(
            request.method,
            server.url + path,
            headers=sent,
            data=await request.read(),
            allow_redirects=False,
        ) as got:
            headers = got.headers.copy()
            headers.popall("Transfer-Encoding", None)
            return web.Response(status=got.status, body=await got.read(), headers=headers)

    app = web.Application()
    app.router.add_route("*", "/tools{tail:.*}", passed_on)
    async with inner, TestServer(app) as proxy:
        browser = Visitor(http, str(proxy.make_url(f"/tools{MOUNT}")))
        assert (await browser.get("access")).headers["Location"] == "./login?next=access"
        answer = await browser.log_in("alice", asked="access")
        (cookie,) = answer.headers.getall("Set-Cookie")
        assert "Secure" in cookie.split("; ")
        assert "path" not in cookie.lower()
        assert answer.headers["Location"] == "./access"
        page = await browser.get("access")
        assert b"Firefox 131 on Linux, 10.1.2.3" in page.body
        assert (await browser.post("logout", {})).headers["Location"] == "./login"


async def test_who_is_no_trusted_proxy_does_not_say_that_it_was_asked_by_tls(
    browser: Visitor,
) -> None:
    browser.headers["X-Forwarded-Proto"] = "https"
    (cookie,) = (await browser.log_in("alice")).headers.getall("Set-Cookie")
    assert "Secure" not in cookie


async def test_without_accounts_and_in_an_application_there_is_nothing_to_log_in_to(
    serve: Serve, http: ClientSession, tmp_path: Path
) -> None:
    anybody = Visitor(http, f"{(await serve()).url}{MOUNT}")
    for answer in (
        await anybody.get("login?next=access"),
        await anybody.log_in("x", "y", "access"),
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "./access")
    app = web.Application()
    identity = jobstore.Identity(name="carol", role=Role.ADMIN)
    jobstore.setup(app, tmp_path / "own.db", identify=lambda _: identity)
    async with TestServer(app) as server:
        carol = Visitor(http, str(server.make_url(MOUNT)))
        assert (await carol.get("login")).status == 404
        access = await carol.get("access")
        assert b"The application decides who has access" in access.body
        assert (await carol.get("access/add")).status == 404


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        "/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "..",
        "../x",
        "a/../../x",
        "%2e%2e/x",
        "a/%2E./x",
        "..%2fx",
        "..%5cx",
        "a b",
        "a\n",
        "\u2028",
        "a#b",
        "x" * 2001,
    ],
)
def test_the_login_leads_nowhere_else(asked: str) -> None:
    assert next_page(asked) == "./"


@pytest.mark.parametrize(
    "asked",
    ["", "access", "?state=failed&path=/a%20b", "42?body=hex", "http://evil.example", "a//b"],
)
def test_the_login_leads_below_the_mount(asked: str) -> None:
    assert next_page(asked) == f"./{asked}", "which is below, as it begins so"


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("", "unknown browser"),
        ("curl/8.1", "curl"),
        ("\u202e<script>", "unknown browser"),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/129.0.0.0 Safari/537.36 Edg/129.0.2792.79"
            ),
            "Edge 129 on Windows",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 "
                "(KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1"
            ),
            "Safari 17 on iPhone",
        ),
        (
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like "
                "Gecko) Chrome/129.0.0.0 Safari/537.36"
            ),
            "Chrome 129 on macOS",
        ),
    ],
)
def test_a_browser_is_named_in_a_few_words(agent: str, said: str) -> None:
    assert described(agent, None) == said
