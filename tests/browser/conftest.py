"""A real browser before a real server: Debian's Chromium, driven by Playwright.

All that is asynchronous here runs on one event loop for the whole run, since the browser does.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Response,
    ViewportSize,
    async_playwright,
    expect,
)

from jobstore.server import Server
from tests.conftest import Serve, running
from trials.clients import client

CHROMIUM: Final = shutil.which("chromium")
MISSING: Final = "no Chromium: apt-get install chromium"
# Its own sandbox cannot be set up by root, as whom containers run their tests.
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
# How long a page may take to be as a test expects it, in milliseconds.
PATIENCE: Final = 60_000
# What is held against a page: WCAG 2.2 at level AA, by
# https://github.com/dequelabs/axe-core/blob/develop/doc/API.md#axe-core-tags
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# What of them is about colours, which are all that differs in the dark.
OF_COLOURS: Final = ("color-contrast", "link-in-text-block")
DESK: Final[ViewportSize] = {"width": 1440, "height": 900}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "mobile": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}

# Of a window as wide as 320 and 1280 pixels at 200 %, and of tablets.
WIDTHS: Final = (320, 640, 800)
# What cannot be read of the drawings that are shown: letters that are small, that lie upon others,
# or beyond the card; and what has to be moved sideways to be seen.
UNREADABLE: Final = """() => [...document.querySelectorAll('.chart, .lanes, .spark, .heat')]
    .filter((each) => each.checkVisibility()).flatMap((drawing) => {
      const card = drawing.closest('.panel').getBoundingClientRect();
      const shown = [...drawing.querySelectorAll('text, span, .lanes > a')]
        .filter((each) => each.getBoundingClientRect().width > 0);
      const [boxes, found] = [shown.map((each) => each.getBoundingClientRect()), []];
      shown.forEach((each, place) => {
        const box = boxes[place];
        const scale = each.getScreenCTM?.().a ?? 1;
        if (parseFloat(getComputedStyle(each).fontSize) * scale < 8) found.push(['small', each]);
        if (box.left < card.left || box.right > card.right) found.push(['beyond', each]);
        const upon = boxes.slice(place + 1).some((other) =>
          Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1 &&
          Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 4);
        if (upon) found.push(['upon', each]);
      });
      const room_of = drawing.matches('.chart, .lanes') ? drawing : document.body;
      for (let room = room_of; room !== document.body; room = room.parentElement)
        if (room.scrollWidth > room.clientWidth + 1 && getComputedStyle(room).overflowX === 'auto')
          found.push(['sideways', room]);
      return found.map(([what, each]) => `${what}: ${each.textContent.slice(0, 40)}`);
    })"""

MOUNT: Final = "/_jobs/ui/"

Open = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what is tested here share the browser's loop."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give the browser; where there is none, skip what needs one, but not in CI."""
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Open]:
    """Give a function that opens a page in a profile of its own.

    Its arguments are the page's URL and how the profile differs, such as ``color_scheme``. A test
    fails in which a page says anything on the console, or breaks its policy; and if it did not do
    what it is marked with: ``does("{id}/retry")`` means that such a form was sent and accepted.
    """
    said: list[str] = []
    done: set[str] = set()
    async with AsyncExitStack() as stack:

        async def open_page(url: str, **differing: Any) -> Page:
            options = {"viewport": DESK, "reduced_motion": "reduce", **differing}
            context = await browser.new_context(**options)
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: said.extend(_said(message, page.url)))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("response", lambda answer: done.update(_done(answer)))
            await page.goto(url)
            return page

        yield open_page
    assert said == []
    assert {each for mark in request.node.iter_markers("does") for each in mark.args} <= done


def _done(answer: Response) -> list[str]:
    """Name what was done by a form, as its route is: with {id} for numbers."""
    path = urlsplit(answer.url).path.partition(MOUNT)[2]
    accepted = answer.request.method == "POST" and answer.status < HTTPStatus.BAD_REQUEST
    return [re.sub(r"\b[0-9]+\b", "{id}", path)] if accepted else []


def _said(message: ConsoleMessage, url: str) -> list[str]:
    """Write what a page says, but for the browser's own remark that it is a page about an error."""
    if message.text.startswith("Failed to load resource") and message.location["url"] == url:
        return []
    return [f"{message.type}: {message.text} ({message.location})"]


@pytest_asyncio.fixture(loop_scope="session")
async def serve(store_path: Path) -> AsyncIterator[Serve]:
    """Give a function that starts a server in this process; see the one of all tests."""
    async with AsyncExitStack() as stack:

        async def start(**sections: Any) -> Server:
            return await stack.enter_async_context(running(store_path, **sections))

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[ClientSession]:
    """Give an HTTP client that changes nothing on its own account."""
    async with client() as session:
        yield session


async def check_looks(page: Page) -> None:
    """Hold a page against `check_axe` in each look, without loading it again."""
    for name, look in LOOKS.items():
        await page.emulate_media(color_scheme=look["color_scheme"])
        await page.set_viewport_size(look["viewport"])
        await check_axe(page, name, OF_COLOURS if name == "dark" else RULES)
        await check_room(page)
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        await check_room(page)
    await page.set_viewport_size(DESK)


async def check_axe(page: Page, look: str = "light", rules: Sequence[str] = RULES) -> None:
    """Hold a page against WCAG 2.2 AA, and against what is good practice besides."""
    if not await page.evaluate("'axe' in window"):  # it is half a megabyte
        await page.evaluate(AXE_SCRIPT)
    options = {"runOnly": list(rules), "resultTypes": ["violations"]}
    found = AxeResults(await page.evaluate("options => axe.run(options)", options))
    assert found.violations_count == 0, f"{page.url}, {look}: {found.generate_report()}"


async def check_room(page: Page) -> None:
    """Ensure that nothing has to be moved sideways, and that drawings can be read."""
    where = f"{page.url}, {page.viewport_size}"
    overflows = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflows) <= 0, where
    assert await page.evaluate(UNREADABLE) == [], where
