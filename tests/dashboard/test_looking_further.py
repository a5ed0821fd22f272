"""A list whose search has used up its time says how far it has looked, and goes on when asked."""

import re
from html import unescape
from pathlib import Path

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from jobstore.dashboard.mount import Dashboard
from jobstore.live.janitor import Retention
from jobstore.store.budget import Budget
from jobstore.store.windows import FIRST
from jobstore.targets.router import Router
from jobstore.web.access import Access
from tests.client import Client
from tests.stock import stocking
from tests.stores import copy_job


async def test_it_looks_further_until_all_is_searched(
    store_path: Path, http: ClientSession
) -> None:
    async with stocking(store_path) as stock:
        await stock.queued(owner="shop")
        other = await stock.queued(owner="bob")
        copy_job(store_path, other, 4 * FIRST)
        gate = Access(stock.store.accounts, anonymous=True)
        app = web.Application()
        kept = Retention(unfetched=None, fetched=None, history=None, interval=60.0)
        pages = Dashboard(stock.store, Router(), gate, kept, lambda: Budget(seconds=0.0))
        pages.add_routes(app)
        async with TestServer(app) as server:
            client = Client(http, str(server.make_url("")).rstrip("/"))
            query, looks = "?owner=shop", 0
            while True:
                page = (await client("GET", f"/_jobs/ui/{query}")).body.decode()
                further = re.search(r'<a href="([^"]*)">Look further</a>', page)
                if further is None:
                    break
                assert "Nothing yet among the jobs since <time datetime=" in page
                assert "No matching jobs" not in page
                query, looks = unescape(further[1]), looks + 1
        assert looks > 2
        assert 'id="job-1"' in page
