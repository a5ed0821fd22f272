"""What goes on in the store of the pictures while they are taken, through its HTTP API."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import ClientSession, encode_basic_auth

# Of all accounts; the store is thrown away.
PASSWORD: Final = "for the picture"  # noqa: S105 - it keeps nothing
DEFINITIONS: Final[Sequence[Mapping[str, Any]]] = (
    {
        "name": "Nightly export of orders",
        "path": "/Exports/orders",
        "method": "POST",
        "target": "/exports/nightly?format=xlsx",
        "headers": {"Content-Type": "application/json"},
        "body": '{"month": "2026-10", "columns": ["order_id", "total"]}',
        "timeout": "10m",
        "retries": 2,
        "schedule": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
    },
    {
        "name": "Refresh the search index",
        "path": "/Search/refresh",
        "method": "POST",
        "target": "/v1/index/refresh",
        "schedule": {"cron": "20 * * * *", "catch_up": "none"},
    },
    {
        "name": "Weekly report",
        "path": "/Reports/weekly",
        "target": "/reports/weekly?region=emea",
        "schedule": {"cron": "30 6 * * MON", "time_zone": "Europe/Berlin", "paused": True},
    },
    {"name": "Rebuild thumbnails", "path": "/Thumbnails/rebuild", "target": "/thumbnails/rebuild"},
)
# By how much longer than the others: they still run when the pictures are taken.
_RUNNING: Final = (
    ("GET", "/reports/revenue?region=emea&granularity=day&seconds=900", "dashboards"),
    ("POST", "/v1/summaries?lang=de&seconds=900", "alice"),
    ("POST", "/exports/orders?month=2026-11&format=xlsx&seconds=900", "shop"),
)
_ENDING: Final = (
    ("POST", "/v1/embeddings?seconds=0.3", "etl"),
    ("PUT", "/thumbnails/81277?seconds=0.1", "shop"),
    ("POST", "/v1/embeddings?seconds=0.2", "etl"),
    ("GET", "/reports/revenue?region=apac&seconds=0.4&status=422", "dashboards"),
    ("PUT", "/thumbnails/81278?seconds=0.1", "shop"),
)


async def define(http: ClientSession, url: str) -> list[Mapping[str, Any]]:
    """Put definitions in; return them as the API tells of them."""
    found = []
    for written in DEFINITIONS:
        async with http.post(f"{url}/_jobs/definitions", json=written) as answer:
            answer.raise_for_status()
            found.append(await answer.json())
    return found


async def live(http: ClientSession, url: str) -> None:
    """Submit jobs: some that end, some that run on, and some that have to wait for those."""
    for method, path, owner in _ENDING:
        await _submit(http, url, method, path, owner)
    await _ended(http, url)
    for method, path, owner in (*_RUNNING, *_RUNNING[2:]):
        await _submit(http, url, method, path, owner)
    retried = {"target": "/exports/orders?month=2026-09&status=503", "method": "POST", "retries": 5}
    async with http.post(f"{url}/_jobs", json=retried | {"tag": "orders-2026-09"}) as answer:
        answer.raise_for_status()


async def _submit(http: ClientSession, url: str, method: str, path: str, owner: str) -> None:
    """Submit a job on behalf of its owner."""
    headers = {
        "x-arango-async": "store",
        "Content-Type": "application/json",
        "Authorization": encode_basic_auth(owner, PASSWORD),
    }
    body = b'{"lang": "de"}'
    async with http.request(method, url + path, headers=headers, data=body) as answer:
        answer.raise_for_status()


async def _ended(http: ClientSession, url: str) -> None:
    """Wait until nothing runs or waits."""
    jobs = True
    while jobs:
        await asyncio.sleep(0.1)
        async with http.get(f"{url}/_jobs?state=queued,running") as answer:
            jobs = (await answer.json())["jobs"]
