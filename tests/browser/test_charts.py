"""Activity, statistics and definitions in a browser, of a store that has a past."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from jobstore.model import clock
from tests.browser.conftest import Open, check_looks
from tests.client import Client
from tests.commands import jobstore
from tests.conftest import Serve
from tests.stores import prepare
from trials.screenshots.past import lines

DEFINITION = {
    "name": "Nightly <i>import</i>",
    "path": "/Imports/nightly",
    "target": "/import?records=10&seconds=0",
    "headers": {"Accept": "text/csv"},
    "schedule": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
}


@pytest_asyncio.fixture(loop_scope="session")
async def client(tmp_path: Path, store_path: Path, serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has some hundred jobs, and a definition with a run."""
    export = tmp_path / "past.jsonl"
    export.write_text("\n".join(lines([], clock.now(), share=0.1)) + "\n")
    prepare(store_path)
    ran = await asyncio.to_thread(jobstore, "import", export, "--store", store_path)
    assert ran.exit_code == 0, ran.output
    client = Client(http, (await serve()).url)
    made = await client("POST", "/_jobs/definitions", json=DEFINITION)
    assert json.loads(made.body)["id"] == 1001
    return client


async def activity(open_page: Open, url: str, **look: Any) -> Page:
    """Open the Activity page, and reload it until it misses no jobs, as it asks to.

    On a busy machine, jobs that were just imported are not found in the time of one page.
    """
    page = await open_page(url, **look)
    while await page.locator("text=Some jobs are missing").count():
        await page.reload()
    return page


@pytest.mark.does("definitions/{id}/run", "definitions/{id}/pause", "definitions/{id}/resume")
@pytest.mark.does("definitions/{id}", "definitions/{id}/delete")
async def test_without_a_script_a_definition_is_run_paused_and_changed(
    client: Client, open_page: Open
) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/definitions", java_script_enabled=False)
    assert "every day at 03:00 Europe/Berlin" in await page.inner_text("tbody")
    await page.click("button:has-text('Pause')")
    assert await page.inner_text("[role=status]") == "Paused."
    assert "paused" in await page.inner_text("tbody")
    await page.click("tbody th a")
    assert await page.inner_text("h1") == DEFINITION["name"]
    await page.fill("input[name=cron]", "30 4 * * MON")
    await page.fill("textarea[name=headers]", "Accept: text/plain\nX-Tag: a")
    await page.click("text=Change it")
    assert "every Monday at 04:30 Europe/Berlin" in await page.inner_text("main")
    await page.click("button:has-text('Resume')")
    assert await page.inner_text("[role=status]") == "Resumed."
    await page.click("button:has-text('Run now')")
    assert await page.inner_text("[role=status]") == "Started."
    assert "/import" in await page.inner_text("h1")
    await page.go_back()
    await page.click("text=Delete…")
    await page.click("button:has-text('Delete the definition')")
    assert "No definitions yet" in await page.inner_text("main")


@pytest.mark.does("definitions")
async def test_a_definition_is_created_with_the_form(client: Client, open_page: Open) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/definitions")
    await page.click("summary:has-text('Create a definition')")
    written = {"name": "Weekly report", "path": "/Reports/weekly", "target": "/import?records=1"}
    for name, text in {**written, "cron": "now and then"}.items():
        await page.fill(f"[name={name}]", text)
    await page.click("text=Create it")
    assert "schedule.cron: expected the five fields" in await page.inner_text("#cron-told")
    await check_looks(page)
    await page.fill("[name=cron]", "*/20 * * * *")
    await page.click("text=Show when it would run")
    assert "It would run every 20 minutes" in await page.inner_text("form [role=status]")
    await page.click("text=Create it")
    await page.wait_for_url(re.compile(r"/definitions/1002\?done=created"))
    assert await page.inner_text("h1") == "Weekly report"
    await page.click("nav >> text=Definitions")
    lane = page.locator("section:has(#fires) .lanes a:has-text('Weekly report')")
    assert await lane.get_attribute("href") == "./definitions/1002"
    told = await page.inner_text("section:has(#fires) header")
    assert "73 runs of 2 definitions in the next 24 h" in told


async def test_a_target_shows_how_its_last_day_was(client: Client, open_page: Open) -> None:
    page = await open_page(f"{client.url}/_jobs/ui/targets")
    line = page.locator("tr:has(th a:text-is('/')) svg.spark")
    while "no jobs" in (told := await line.get_attribute("aria-label") or ""):
        await page.reload()  # what was just imported is counted meanwhile
    assert re.match(r"\d+ jobs in the last 24 h: .* % went wrong.*; median .* 95 % within", told)
    assert await line.locator("path").count() > 1


async def test_a_bar_leads_to_its_jobs(client: Client, open_page: Open) -> None:
    page = await activity(open_page, f"{client.url}/_jobs/ui/activity?by=hour")
    assert await page.locator("svg.chart a").count() > 20
    bar = page.locator("svg.chart a").first
    label = await bar.locator("title").text_content() or ""
    await bar.click()
    counted = int(label.rpartition(": ")[2].split(" ")[0])
    await expect(page.locator("tbody#rows tr")).to_have_count(counted)
    await page.goto(f"{client.url}/_jobs/ui/activity")
    await page.fill("input[name=running_at]", "2h")
    await page.click("text=List the jobs")
    await page.wait_for_url("**running_at*")
    assert "running_at" in await page.inner_text("form[role=search]")
    assert await page.locator("#q-error").count() == 0


async def test_a_chart_is_one_tab_stop_and_arrow_keys_go_from_bar_to_bar(
    client: Client, open_page: Open
) -> None:
    page = await activity(open_page, f"{client.url}/_jobs/ui/activity?by=hour")
    bars = page.locator("svg.bars a")
    await page.focus("button:has-text('Show')")
    for key, focused in [
        ("Tab", bars.last),
        ("ArrowRight", bars.last),
        ("Home", bars.first),
        ("ArrowLeft", bars.first),
        ("ArrowRight", bars.nth(1)),
        ("Tab", page.locator("details:has(table) > summary").first),
        ("Shift+Tab", bars.nth(1)),
        ("End", bars.last),
    ]:
        await page.keyboard.press(key)
        await expect(focused).to_be_focused()


async def test_without_a_script_every_bar_can_be_reached(client: Client, open_page: Open) -> None:
    url = f"{client.url}/_jobs/ui/activity?by=hour"
    page = await activity(open_page, url, java_script_enabled=False)
    bars = page.locator("svg.bars a")
    await page.focus("button:has-text('Show')")
    for bar in (bars.first, bars.nth(1)):
        await page.keyboard.press("Tab")
        await expect(bar).to_be_focused()
