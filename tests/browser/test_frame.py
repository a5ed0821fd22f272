"""What all pages have in common, as a browser shows it."""

import pytest

from tests.browser.conftest import LOOKS, Open, check_axe
from tests.conftest import Serve


@pytest.mark.parametrize("look", LOOKS)
async def test_the_frame_is_for_everybody(serve: Serve, open_page: Open, look: str) -> None:
    server = await serve()
    page = await open_page(f"{server.url}/_jobs/ui/nowhere", **LOOKS[look])
    assert await page.inner_text("h1") == "Not Found"
    await check_axe(page)


async def test_the_first_key_leads_past_the_navigation(serve: Serve, open_page: Open) -> None:
    server = await serve()
    page = await open_page(f"{server.url}/_jobs/ui/")
    await page.keyboard.press("Tab")
    assert await page.inner_text(":focus") == "Skip to content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
