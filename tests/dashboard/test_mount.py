"""Where the dashboard is, who is let in, and what all of its pages have in common."""

import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

import jobstore
from jobstore.model.account import Role
from tests.accounts import People
from tests.client import Client
from tests.conftest import Serve
from trials.clients import Answer

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    return Client(http, (await serve()).url)


def is_page(answer: Answer) -> bool:
    """Tell whether an answer is a page, under the headers that all of them have."""
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_pages_are_below_a_path_of_our_own(client: Client) -> None:
    assert is_page(await client("GET", "/_jobs/ui/"))
    below = await client("GET", "/_jobs/ui?state=failed")
    assert (below.status, below.headers["Location"]) == (303, "ui/?state=failed")
    assert (await client("HEAD", "/_jobs/ui/")).status == 200


async def test_what_goes_wrong_is_said_on_a_page(client: Client) -> None:
    nowhere = await client("GET", "/_jobs/ui/no/such/page")
    assert (nowhere.status, is_page(nowhere)) == (404, True)
    assert b"There is no such page." in nowhere.body
    method = await client("POST", "/_jobs/ui/")
    assert (method.status, method.headers["Allow"], is_page(method)) == (405, "GET", True)


async def test_no_page_knows_where_it_is(client: Client) -> None:
    for path, up in (("", "./"), ("nowhere", "./"), ("no/where", "../"), ("a/b/c", "../../")):
        page = (await client("GET", f"/_jobs/ui/{path}")).body.decode()
        assert f'<a class="brand" href="{up}">' in page
        links = re.findall(r'(?:href|src|action)="([^"]*)"', page)
        assert all(link.startswith((up, "#", "?")) for link in links), links


async def test_files_are_asked_for_once(client: Client) -> None:
    page = (await client("GET", "/_jobs/ui/")).body.decode()
    (sheet,) = re.findall(r'href="\./(static/\w+/jobs\.css)"', page)
    found = await client("GET", f"/_jobs/ui/{sheet}")
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert found.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "ETag" not in found.headers
    for other in (sheet.replace("jobs.css", "__init__.py"), "static/0/jobs.css"):
        assert (await client("GET", f"/_jobs/ui/{other}")).status == 404


async def test_nothing_in_a_template_breaks_the_policy() -> None:
    folder = Path(jobstore.__file__).parent / "dashboard" / "templates"
    templates = {each.name: each.read_text("utf-8") for each in folder.glob("*.html")}
    assert "base.html" in templates
    for name, template in templates.items():
        assert not re.search(
            r"""<style|\sstyle=|\son\w+=|https?://|<script(?! type="module" src)|\|\s*safe""",
            template,
        ), name


# Who is let in


async def test_without_accounts_everybody_is_let_in_and_told_so(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    anybody = Client(http, server.url)
    assert b"jobstore user add NAME" in (await anybody("GET", "/_jobs/ui/")).body
    async with AsyncExitStack() as stack:
        alice = await People(server, stack).with_token("alice", Role.ADMIN)
        page = (await alice("GET", "/_jobs/ui/")).body
    assert b"alice" in page
    assert b"jobstore user add" not in page


async def test_with_accounts_a_stranger_is_sent_to_the_login(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    async with AsyncExitStack() as stack:
        await People(server, stack).with_token("alice")
    anybody = Client(http, server.url)
    script = await anybody("GET", "/_jobs/ui/")
    assert (script.status, is_page(script)) == (401, True)
    assert "WWW-Authenticate" not in script.headers
    asked = "/_jobs/ui/?state=failed&path=/a%20b"
    browser = await anybody("GET", asked, headers=BROWSER)
    assert browser.status == 303
    assert browser.headers["Location"] == "./login?next=%3Fstate%3Dfailed%26path%3D%2Fa%2520b"
    (sheet,) = re.findall(rb'href="\./(static/\w+/jobs\.css)"', script.body)
    assert (await anybody("GET", f"/_jobs/ui/{sheet.decode()}")).status == 200


async def test_a_page_of_another_origin_gets_nothing(client: Client) -> None:
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client("GET", "/_jobs/ui/", headers=foreign)).status == 403


async def test_it_can_be_left_out(serve: Serve, http: ClientSession) -> None:
    server = await serve(dashboard={"enabled": False})
    assert server.dashboard is None
    answer = await Client(http, server.url)("GET", "/_jobs/ui/")
    assert (answer.status, answer.headers["Content-Type"]) == (
        404,
        "application/problem+json; charset=utf-8",
    )


# Where it is


async def test_a_port_for_operators_has_it_alone(serve: Serve, http: ClientSession) -> None:
    server = await serve(admin={"listen": ["127.0.0.1:0"]})
    assert server.dashboard is not None
    assert not server.dashboard.startswith(server.url)
    async with http.get(server.dashboard) as page:
        assert page.status == 200
    assert (await Client(http, server.url)("GET", "/_jobs/ui/")).status == 404


async def test_an_application_has_it_among_its_own_paths(
    tmp_path: Path, http: ClientSession
) -> None:
    app = web.Application()
    jobstore.setup(
        app,
        tmp_path / "jobs.db",
        identify=lambda request: (
            jobstore.Identity(name="carol", role=Role.READER) if "X-In" in request.headers else None
        ),
    )
    async with TestServer(app) as server:
        client = Client(http, str(server.make_url("")).rstrip("/"))
        page = await client("GET", "/_jobs/ui/", headers={"X-In": "yes"})
        assert is_page(page)
        assert b"carol" in page.body
        stranger = await client("GET", "/_jobs/ui/", headers=BROWSER)
        assert (stranger.status, is_page(stranger)) == (401, True)
