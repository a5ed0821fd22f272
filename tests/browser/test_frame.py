"""What all pages have in common, as a browser shows it."""

from aiohttp import ClientSession

from tests.browser.conftest import Open
from tests.client import ORDINARY, Client
from tests.conftest import Serve


async def test_the_first_key_leads_past_the_navigation(serve: Serve, open_page: Open) -> None:
    server = await serve()
    page = await open_page(f"{server.url}/_jobs/ui/")
    await page.keyboard.press("Tab")
    assert await page.inner_text(":focus") == "Skip to content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"


async def test_a_small_screen_shows_the_whole_menu(serve: Serve, open_page: Open) -> None:
    server = await serve()
    page = await open_page(f"{server.url}/_jobs/ui/store", viewport={"width": 390, "height": 844})
    links = page.locator(".top nav a")
    boxes = [await link.bounding_box() for link in await links.all()]
    assert len(boxes) == 7
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    head = await page.locator(".top").bounding_box()
    assert head
    assert head["width"] == 390  # and no strip is left beside it


async def test_who_presses_a_key_in_a_narrow_window_is_told_the_keys(
    serve: Serve, open_page: Open
) -> None:
    server = await serve()
    narrow = {"width": 390, "height": 844}  # as of a page that is zoomed far in
    page = await open_page(f"{server.url}/_jobs/ui/activity", viewport=narrow)
    await page.keyboard.press("?")
    assert await page.locator("#keys kbd").first.is_visible()


async def test_on_paper_there_is_all_that_is_told_and_nothing_to_click(
    serve: Serve, http: ClientSession, open_page: Open
) -> None:
    server = await serve(target=ORDINARY)
    job_id = await Client(http, server.url).done("/greet/you")
    page = await open_page(f"{server.url}/_jobs/ui/{job_id}", color_scheme="dark")
    assert await page.locator(".top nav").is_visible()
    await page.emulate_media(media="print", color_scheme="dark")
    assert await page.locator("#time").is_visible()
    for each in await page.locator("nav:not(.crumb), button, main .btn").all():
        assert not await each.is_visible()
    ink = await page.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(22, 27, 34)"  # which can be read on white paper
