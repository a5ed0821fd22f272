"""The list of jobs and the page of one, in a browser."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from tests.accounts import basic
from tests.browser.conftest import LOOKS, Open, check_looks
from tests.client import ORDINARY, Client
from tests.conftest import Serve

EVIL = "\"'><script>document.title='x'</script><img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(loop_scope="session")
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has some jobs of each kind."""
    nobody = {"prefix": "/nobody", "upstream": "http://127.0.0.1:9", "hold": "0"}
    again = {"prefix": "/status", **ORDINARY, "retries": 2, "retry_delay": "1ms"}
    client = Client(http, (await serve(target=[ORDINARY, nobody, again])).url)
    await client.done("/echo", "POST", data=b'{"a": [1, 9007199254740993], "b": null}')
    await client.done("/greet/you?and=me", headers={"Authorization": basic("shop")})
    await client.done("/nobody/there")
    await client.done("/status/503")
    await client("POST", "/_jobs", data=json.dumps({"target": "/later", "delay": "1h", "tag": "t"}))
    return client


async def test_jobs_of_all_kinds_are_for_everybody(client: Client, open_page: Open) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/")
    assert await page.locator("tbody tr").count() == 5
    await check_looks(page)
    for path in ("3", "4", "5", "1?body=hex"):
        await page.goto(f"{client.url}/_jobs/ui/{path}")
        await check_looks(page)


async def test_from_the_start_page_to_why_a_job_failed_without_a_script(
    client: Client, open_page: Open
) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/", java_script_enabled=False)
    await page.click("text=failed")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.click("tbody tr td.id a")
    assert "No connection to 127.0.0.1:9" in await page.inner_text(".story")
    await page.goto(f"{client.url}/_jobs/ui/1")
    await page.click("section:has(#response) >> text=Hex")
    assert (await page.inner_text("section:has(#response) pre")).startswith("00000000  7b")


async def test_the_filter_is_reached_and_used_by_keys(client: Client, open_page: Open) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/")
    await page.focus("#q")
    await page.keyboard.type("owner:shop")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/?owner=shop")
    assert await page.locator("tbody tr").count() == 1
    await page.focus("[aria-label='Remove owner']")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/")
    await page.fill("#q", "#2")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/2")
    assert await page.inner_text("h1") == "GET /greet/you?and=me"


async def test_what_a_jobs_time_went_into_fits_on_a_telephone(
    client: Client, open_page: Open
) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/4", **LOOKS["mobile"])
    drawing = page.get_by_role("img", name="attempt 3: 503 after")
    await expect(drawing).to_have_count(1)  # the other one is for larger screens
    hidden = "each => each.parentNode.scrollWidth - each.parentNode.clientWidth"
    assert await drawing.evaluate(hidden) == 0
    ends = "all => all.map(each => each.getBoundingClientRect().right)"
    box = await drawing.bounding_box()
    assert box is not None
    assert max(await drawing.locator("*").evaluate_all(ends)) <= box["x"] + box["width"]


async def test_the_help_names_the_filters_also_on_a_telephone(
    client: Client, open_page: Open
) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/activity", **LOOKS["mobile"])
    await expect(page.locator("#help")).to_be_hidden()  # it would name keys only
    await page.goto(f"{client.url}/_jobs/ui/")
    await page.click("#help")
    await expect(page.locator("#keys")).to_be_in_viewport()
    await expect(page.locator("#filters")).to_be_in_viewport()
    await expect(page.locator("#keys kbd").first).to_be_hidden()
    await check_looks(page)


async def test_nothing_that_a_client_sends_is_run(client: Client, open_page: Open) -> None:
    job = {
        "method": "POST",
        "target": "/echo",
        "tag": EVIL,
        "headers": {"X-Evil": EVIL, "Content-Type": "text/html"},
        "body": json.dumps({EVIL: EVIL}),
    }
    answer = await client(
        "POST", "/_jobs", data=json.dumps(job), headers={"Authorization": basic(EVIL)}
    )
    made = json.loads(answer.body)["id"]
    await client("GET", f"/_jobs/{made}", headers={"Prefer": "wait=60"})
    page = await open_page(f"{client.url}/_jobs/ui/")
    for path in (
        "",
        f"{made}",
        f"{made}?body=raw",
        "?tag=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "?q=%3Cscript%3E:1",
    ):
        await page.goto(f"{client.url}/_jobs/ui/{path}")
        assert "jobstore" in await page.title()
        assert await page.locator("script:not([src]), main img").count() == 0
    await page.goto(f"{client.url}/_jobs/ui/{made}")
    assert EVIL in await page.inner_text("aside .facts")


@asynccontextmanager
async def stripping(http: ClientSession, behind: str, prefix: str) -> AsyncIterator[str]:
    """Serve a proxy that has a server below a prefix, of which that server does not know."""

    async def relay(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.removeprefix(prefix)
        async with http.get(behind + path, allow_redirects=False) as answer:
            names = ("Location", "Content-Type")
            kept = {name: answer.headers[name] for name in names if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    app = web.Application()
    app.router.add_get(prefix + "/{tail:.*}", relay)
    async with TestServer(app) as server:
        yield str(server.make_url(prefix))


async def test_behind_a_proxy_that_strips_a_prefix_every_link_stays_below_it(
    client: Client, http: ClientSession, open_page: Open
) -> None:
    async with stripping(http, client.url, "/a/b") as outside:
        start = f"{outside}/_jobs/ui"
        page = await open_page(start)
        assert page.url == f"{start}/"
        pages, seen = [page.url], {page.url}
        while pages:
            await page.goto(pages.pop())
            found: list[str] = await page.evaluate(
                "[...document.querySelectorAll('[href],[src],[action],[formaction]')].flatMap(e =>"
                " ['href','src','action','formaction'].map(n => e.getAttribute(n)).filter(v => v))"
            )
            assert found
            for link in found:
                url = urljoin(page.url, link)
                assert url.startswith(f"{start}/"), (page.url, link)
                bare = urlsplit(url)._replace(query="", fragment="").geturl()
                if bare not in seen and re.fullmatch(r".*/ui/(\d+)?", bare):
                    seen.add(bare)
                    pages.append(bare)
        assert len(seen) == 6
        await page.close()  # before the proxy ends, over which it hears what happens
