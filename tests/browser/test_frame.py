"""What all pages have in common, as a browser shows it."""

from tests.browser.conftest import Open
from tests.conftest import Serve


async def test_the_first_key_leads_past_the_navigation(serve: Serve, open_page: Open) -> None:
    server = await serve()
    page = await open_page(f"{server.url}/_jobs/ui/")
    await page.keyboard.press("Tab")
    assert await page.inner_text(":focus") == "Skip to content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
