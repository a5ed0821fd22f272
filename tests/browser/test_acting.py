"""Acting on jobs in a browser, and pages that change by themselves."""

import asyncio
import json
import re

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from jobstore.server import Server
from tests.browser.conftest import Open, check_looks
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.loop import turns


@pytest_asyncio.fixture(loop_scope="session")
async def server(serve: Serve) -> Server:
    """Give a server that does one piece of work at a time, each behind a gate."""
    status = {"prefix": "/status", **ORDINARY}
    return await serve(target=[GATED, status], executor={"concurrency": 1, "cancel_grace": "1h"})


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server, http: ClientSession) -> Client:
    """Give a client of that server."""
    return Client(http, server.url)


async def listened(server: Server, number: int) -> None:
    """Wait until so many pages are told of changes."""
    async with asyncio.timeout(10):
        while server.store.changes.listeners != number:  # nobody is told of it
            await turns(1)


async def state_of(client: Client, job_id: int) -> str:
    """Wait until a job has ended, and tell how."""
    answer = await client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=60"})
    return str(json.loads(answer.body)["state"])


def row(job_id: int) -> str:
    return f"#job-{job_id}"


async def choose(page: Page, action: str, *ids: int) -> None:
    """Select jobs of the list, and ask to do something to them."""
    for job_id in ids:
        await page.check(f"{row(job_id)} td.check input")
    await page.click(f"#selection button[value={action}]")


async def agree(page: Page, question: str) -> None:
    """Do what a dialog asks about."""
    await expect(page.locator("dialog[open] h1")).to_have_text(question)
    await page.click("dialog[open] button")


async def over(page: Page, number: int) -> None:
    """Wait until an operation is over, on its page."""
    await expect(page.locator(".story")).to_contain_text(f"Finished: done to {number} job")


@pytest.mark.does("matching/retry")
async def test_dialogs_and_operations_are_for_everybody(client: Client, open_page: Open) -> None:
    for _ in range(2):
        await client.done("/status/500")
    page = await open_page(f"{client.url}/_jobs/ui/matching/retry?status=500")
    await page.click("#ask button")
    await page.wait_for_url("**/operations/1")
    await expect(page.locator(".story")).to_contain_text("Finished: done to 2 jobs.")
    await check_looks(page)
    await page.goto(f"{client.url}/_jobs/ui/")
    await page.keyboard.press("?")
    await check_looks(page)
    await page.keyboard.press("Escape")
    await page.locator("td.check input").first.check()
    await page.click("#selection button[value=retry]")
    await page.wait_for_selector("dialog[open] #ask-title")
    await check_looks(page)


async def test_jobs_like_one_and_those_beside_it_are_for_everybody(
    client: Client, open_page: Open
) -> None:
    for status in (200, 500, 404, 200, 503, 200, 200, 200):
        await client.done(f"/status/{status}")
    await client("POST", "/_jobs/3/retry")
    await state_of(client, 9)
    page = await open_page(f"{client.url}/_jobs/ui/3")
    assert await page.locator("svg a").count() == 8
    await page.click("details.more summary")
    await check_looks(page)
    topmost = page.locator("svg a").last  # jobs of the same moment lie on one another
    target = await topmost.get_attribute("href")
    assert target is not None
    assert target != "./3"
    await topmost.click()
    await page.wait_for_url(f"**/ui/{target.removeprefix('./')}")


async def test_a_list_follows_what_happens_and_keeps_focus_selection_and_scroll(
    server: Server, client: Client, open_page: Open
) -> None:
    for number in range(30):
        await client.submit(f"/wait/{number}")
    await client.when("0", "started")
    page = await open_page(f"{client.url}/_jobs/ui/", viewport={"width": 1200, "height": 400})
    await listened(server, 1)
    await page.check(f"{row(3)} td.check input")
    await page.focus(f"{row(1)} td.id a")
    scrolled = await page.evaluate("scrollY")
    assert scrolled > 0
    await page.evaluate("document.querySelector('#job-1').mine = true")
    await client.let("0")
    await expect(page.locator(f"{row(1)} .s")).to_have_text("done")
    await expect(page.locator(f"{row(2)} .s")).to_have_text("running")
    assert await page.evaluate("document.querySelector('#job-1').mine")
    assert await page.evaluate("document.activeElement.textContent") == "1"
    assert await page.is_checked(f"{row(3)} td.check input")
    assert await page.inner_text("#picked") == "1 selected"
    assert await page.evaluate("scrollY") == scrolled
    assert await page.inner_text("b[data-count=done]") == "1"
    await client.submit("/wait/late")
    await expect(page.locator("#newer")).to_have_text("1 newer")
    assert await page.locator("tr[data-id]").count() == 30
    await page.click("#newer a")
    await expect(page.locator("tr[data-id]").first).to_have_id("job-31")
    await client("POST", "/_jobs/operations", data='{"action": "cancel", "filter": {"all": true}}')
    await client.let("1")


async def test_a_filtered_list_lets_go_of_what_is_on_it_no_more(
    server: Server, client: Client, open_page: Open
) -> None:
    for name in "abc":
        await client.submit(f"/wait/{name}")
    page = await open_page(f"{client.url}/_jobs/ui/?state=running,queued")
    await listened(server, 1)
    await page.focus(f"{row(3)} td.id a")
    for name in "ab":
        await client.let(name)
    await expect(page.locator("tr[data-id]")).to_have_count(1)
    assert await page.evaluate("document.activeElement.textContent") == "3"
    await client.let("c")
    await expect(page.locator("tr[data-id]")).to_have_count(0)


async def test_a_job_grows_on_its_page(server: Server, client: Client, open_page: Open) -> None:
    job_id = await client.submit("/wait/a")
    await client.when("a", "started")
    page = await open_page(f"{client.url}/_jobs/ui/{job_id}")
    await listened(server, 1)
    await page.focus("[data-action=delete]")
    await client.let("a")
    await expect(page.locator("h1").locator("xpath=preceding-sibling::span")).to_have_text("done")
    assert re.match(rf"{job_id} done", await page.title())
    assert await page.evaluate("document.activeElement.textContent") == "Delete…"
    await expect(page.locator("[data-action=cancel]")).to_have_count(0)
    await expect(page.locator("#news")).to_have_text(f"Job {job_id} is done")


async def test_a_hidden_page_is_told_nothing(
    server: Server, client: Client, open_page: Open
) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/")
    await listened(server, 1)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    await page.evaluate(hide % "true")
    await client.done("/status/200")
    await listened(server, 0)
    await page.evaluate(hide % "false")
    await listened(server, 1)
    await expect(page.locator("tr[data-id]")).to_have_count(1)
    await page.click("#live button")
    await client.done("/status/200")
    await listened(server, 0)
    assert await page.is_visible("#live >> text=Refresh")
    await page.click("#live >> text=Refresh")
    await expect(page.locator("tr[data-id]")).to_have_count(2)
    assert server.store.changes.listeners == 0
    await page.click("#live button")
    await listened(server, 1)


@pytest.mark.does("{id}/retry")
async def test_from_the_list_to_a_retry_with_keys_alone(client: Client, open_page: Open) -> None:
    for _ in range(3):
        await client.done("/status/500")
    page = await open_page(f"{client.url}/_jobs/ui/")
    press = page.keyboard.press
    for key in "jjjkx":
        await press(key)
    assert await page.is_checked(f"{row(2)} td.check input")
    await press("x")
    await press("r")
    dialog = page.locator("dialog[open]")
    await expect(dialog.locator("h1")).to_have_text("Retry job 2?")
    for _ in range(4):  # the focus does not leave it for the page
        await press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await press("Escape")
    await expect(dialog).to_have_count(0)
    assert await page.evaluate("document.activeElement.textContent") == "2"
    await press("r")
    await expect(dialog.locator("h1")).to_have_text("Retry job 2?")
    await press("Enter")
    await page.wait_for_url("**/ui/4?done=retried")
    assert await page.inner_text(".said") == "This is the new job."
    await page.goto(f"{client.url}/_jobs/ui/")
    await press("/")
    await page.keyboard.type("rjkx?")
    assert await page.input_value("#q") == "rjkx?"
    await page.focus("h1")
    await page.evaluate("document.activeElement.blur()")
    await press("?")
    await expect(page.locator("#keys")).to_be_visible()


@pytest.mark.does("selected/retry")
async def test_two_operators_choose_the_same_jobs(client: Client, open_page: Open) -> None:
    for _ in range(3):
        await client.done("/status/500")
    first, second = [await open_page(f"{client.url}/_jobs/ui/?status=500") for _ in range(2)]
    for page in (first, second):
        for job_id in (1, 2):
            await page.check(f"{row(job_id)} td.check input")
        await expect(page.locator("#selection button[value=cancel]")).to_have_count(0)
        await page.click("#selection button[value=retry]")
        await expect(page.locator("dialog[open] h1")).to_have_text("Retry 2 jobs?")
    await first.click("dialog[open] button")
    await first.wait_for_url("**/operations/1")
    await expect(first.locator(".story")).to_contain_text("Finished: done to 2 jobs.")
    await second.click("dialog[open] button")
    await expect(second.locator("h1")).to_have_text("Nothing to retry")
    await expect(second.locator("[role=alert]")).to_contain_text("there were 2 when you were asked")


@pytest.mark.does("{id}/retry", "{id}/delete", "{id}/restore", "selected/retry")
@pytest.mark.does("matching/delete", "operations/{id}/undo")
async def test_without_a_script_all_of_it_works_as_well(client: Client, open_page: Open) -> None:
    for _ in range(2):
        await client.done("/status/500")
    page = await open_page(f"{client.url}/_jobs/ui/1", java_script_enabled=False)
    await page.click("text=Retry as a new job…")
    await page.click("text=Retry it")
    assert page.url.endswith("/3?done=retried")
    assert await state_of(client, 3) == "done"
    await page.click("text=Delete…")
    await page.click("#ask button")
    await page.click("text=Undo")
    assert page.url.endswith("/3?done=restored")
    await page.goto(f"{client.url}/_jobs/ui/")
    await page.check(f"{row(2)} td.check input")
    await page.click("#selection button[value=retry]")
    await page.click("#ask button")
    assert page.url.endswith("/operations/1")
    await page.goto(f"{client.url}/_jobs/ui/?status=500")
    await page.click("#every summary")
    await page.click("#every >> text=Delete all")
    await page.click("#ask button")
    assert page.url.endswith("/operations/2")
    while json.loads((await client("GET", "/_jobs/operations/2")).body)["state"] == "running":
        pass
    await page.goto(f"{client.url}/_jobs/ui/operations/2")
    await page.click("text=Undo…")
    await page.click("#ask button")
    assert page.url.endswith("/operations/3")


@pytest.mark.does("{id}/cancel", "{id}/delete", "{id}/restore")
async def test_a_job_is_cancelled_deleted_and_restored(client: Client, open_page: Open) -> None:
    job_id = await client.submit("/wait/a")
    await client.when("a", "started")
    page = await open_page(f"{client.url}/_jobs/ui/{job_id}")
    await page.click("text=Cancel…")
    await agree(page, f"Cancel job {job_id}?")
    await expect(page.locator(".said")).to_contain_text("Asked to stop")
    await expect(page.locator(".s-big")).to_have_text("cancelled")
    await page.click("text=Delete…")
    await agree(page, f"Delete job {job_id}?")
    await expect(page.locator(".said")).to_contain_text("Deleted.")
    await page.click("text=Restore…")
    await agree(page, f"Restore job {job_id}?")
    await expect(page.locator(".said")).to_contain_text("Restored")


@pytest.mark.does("selected/cancel", "selected/delete", "selected/restore")
@pytest.mark.does("matching/cancel", "matching/restore", "operations/{id}/retry")
async def test_what_was_done_to_many_jobs_is_done_to_just_these_again(
    client: Client, open_page: Open
) -> None:
    for name in "abcd":
        await client.submit(f"/wait/{name}")
    await client.when("a", "started")
    page = await open_page(f"{client.url}/_jobs/ui/?state=queued")
    await choose(page, "cancel", 3, 4)
    await agree(page, "Cancel 2 jobs?")
    await over(page, 2)
    await page.click("text=Retry these…")
    await agree(page, "Retry 2 jobs?")
    await over(page, 2)
    for query, action, number in (
        ("state=queued", "cancel", 3),
        ("state=cancelled", "delete", 5),
        ("result=deleted", "restore", 5),
    ):
        await page.goto(f"{client.url}/_jobs/ui/?{query}")
        await page.click("#every summary")
        await page.click(f"#every a[href*={action}]")
        await agree(page, f"{action.capitalize()} {number} jobs?")
        await over(page, number)
    await page.goto(f"{client.url}/_jobs/ui/?state=cancelled")
    for action in ("delete", "restore"):
        await choose(page, action, 3)
        await agree(page, f"{action.capitalize()} 1 job?")
        await over(page, 1)
        await page.goto(f"{client.url}/_jobs/ui/?result=deleted")


@pytest.mark.does("operations/{id}/stop")
async def test_an_operation_that_waits_is_stopped(
    serve: Serve, http: ClientSession, open_page: Open
) -> None:
    executor = {"concurrency": 1, "queue_limit": 1}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    for name in "abc":
        await client.let(name)
        await client.done(f"/wait/{name}")
    await client.submit("/wait/last")  # which takes the slot
    page = await open_page(f"{client.url}/_jobs/ui/matching/retry?state=done")
    await page.click("#ask button")
    await expect(page.locator(".story")).to_contain_text("It waits: ")
    await check_looks(page)
    await page.click("text=Stop…")
    await agree(page, "Stop operation 1?")
    await expect(page.locator(".story")).to_contain_text("Stopped after 1 of 3 jobs.")
    await expect(page.locator(".said")).to_have_text("Stopped; what it had done stays done.")
    await client.let("last")


async def test_a_theme_is_chosen_once(client: Client, open_page: Open) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/", color_scheme="light")
    shown = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(shown)
    await page.click("#theme")
    await page.click("#theme")
    assert await page.inner_text("#theme") == "Theme: dark"
    await page.reload()
    assert await page.evaluate(shown) != light
