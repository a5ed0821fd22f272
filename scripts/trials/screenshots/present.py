"""What goes on in the store of the pictures while they are taken, through its HTTP API."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

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
# A request: the method, the path, whose it is, and how it is answered; see `app`.
_Wanted: TypeAlias = tuple[str, str, str, Mapping[str, str]]
_RUNNING: Final[Sequence[_Wanted]] = (
    ("GET", "/reports/revenue?region=emea&granularity=day", "dashboards", {"X-Seconds": "900"}),
    ("POST", "/v1/summaries?lang=de", "alice", {"X-Seconds": "900"}),
    ("POST", "/exports/orders?month=2026-11&format=xlsx", "shop", {"X-Seconds": "900"}),
)
_ENDING: Final[Sequence[_Wanted]] = (
    ("POST", "/v1/embeddings", "etl", {"X-Seconds": "0.3"}),
    ("PUT", "/thumbnails/81277", "shop", {"X-Seconds": "0.1"}),
    ("POST", "/v1/embeddings", "etl", {"X-Seconds": "0.2"}),
    ("GET", "/reports/revenue?region=apac", "dashboards", {"X-Status": "422"}),
    ("PUT", "/thumbnails/81278", "shop", {"X-Seconds": "0.1"}),
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
    for wanted in _ENDING:
        await _submit(http, url, wanted)
    await _ended(http, url)
    for wanted in (*_RUNNING, *_RUNNING[2:]):
        await _submit(http, url, wanted)
    again: dict[str, Any] = {
        "target": "/v1/summaries?lang=fr",
        "method": "POST",
        "retries": 5,
        "tag": "fr",
    }
    again["replay"] = "always"
    async with http.post(f"{url}/_jobs", json=again | {"headers": {"X-Status": "503"}}) as answer:
        answer.raise_for_status()


async def _submit(http: ClientSession, url: str, wanted: _Wanted) -> None:
    """Submit a job on behalf of its owner."""
    method, path, owner, answered = wanted
    headers = {
        **answered,
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
