"""All pages are for everybody, and all that can be done on them is done in a browser by a test."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from aiohttp import ClientSession

from jobstore.dashboard import deeds, targets
from jobstore.dashboard.assets import assets
from jobstore.dashboard.site import ROUTES
from jobstore.model.account import Role
from tests.browser.conftest import MOUNT, Open, check_looks
from tests.browser.test_operators import log_in
from tests.client import Client
from tests.conftest import Serve
from tests.dashboard.every_page import PAGES, TARGETS, fill, furnish, route_of
from tests.dashboard.visitors import account

# What is no page: files, the feed of changes, and what is downloaded.
NO_PAGES = {r"static/{version}/{file}", "feed", "statistics.csv"}
NO_PAGES.add(r"{id:[0-9]+}/{which:request|response}")
# What sticks to the edges of its card.
STUCK = """[...document.querySelectorAll('.body')]
    .filter((each) => getComputedStyle(each).paddingLeft === '0px').map((each) => each.className)"""
# What a name in a route stands for, where the route does not say so.
DEEDS = {"access/{deed}": [*deeds.DEEDS], "targets/{deed}": [*targets.DEEDS]}


async def test_every_page_is_for_everybody(
    serve: Serve, http: ClientSession, open_page: Open, store_path: Path, tmp_path: Path
) -> None:
    await fill(store_path, tmp_path, http, share=0.1, definitions=3)
    server = await serve(target=TARGETS)
    job_id = await furnish(server, Client(http, server.url))
    await account(server, "ute", Role.USER)
    await account(server, "alice")
    page = await open_page(f"{server.url}{MOUNT}")
    await check_looks(page)
    await log_in(page, "alice")
    for path in PAGES:
        await page.goto(f"{server.url}{MOUNT}{path.format(job=job_id)}")
        opening = "document.querySelectorAll('details').forEach(each => each.open = true)"
        await page.evaluate(opening)
        assert await page.locator("h1").count() == 1, path
        assert await page.evaluate(STUCK) == [], path
        await check_looks(page)


async def test_in_the_dark_only_colours_differ() -> None:
    everything = b"".join(assets().contents.values())
    assert b"light-dark(" in everything  # which takes nothing but colours
    assert b"prefers-color-scheme" not in everything


async def test_no_page_is_left_out() -> None:
    shown = {route_of(path.format(job=1)) for path in (*PAGES, "login")}
    pages = {route.path for route in ROUTES if route.method == "GET"} - NO_PAGES
    assert shown - {""} == pages - {""}


async def test_all_that_can_be_done_is_done_in_a_browser() -> None:
    done = {
        each
        for module in iter_modules([str(Path(__file__).parent)], "tests.browser.")
        for test in vars(import_module(module.name)).values()
        for mark in getattr(test, "pytestmark", ())
        if mark.name == "does"
        for each in mark.args
    }
    assert done == {each for route in ROUTES if route.method == "POST" for each in _all(route.path)}


def _all(route: str) -> list[str]:
    """Name all that is done by a route, with {id} for numbers."""
    named = re.sub(r"\{id[^}]*\}", "{id}", route)
    choice = re.search(r"\{(?:deed|action:([a-z|]+))\}$", named)
    if choice is None:
        return [named]
    words = choice[1].split("|") if choice[1] else DEEDS[route]
    return [named[: choice.start()] + word for word in words]
