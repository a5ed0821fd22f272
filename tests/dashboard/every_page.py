"""Every page of the dashboard, and a store that has something to show on each of them."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from aiohttp.web_urldispatcher import DynamicResource

from jobstore.dashboard.site import ROUTES
from jobstore.model import clock
from jobstore.model.clock import SECOND
from jobstore.model.periods import DAY, HOUR
from jobstore.server import Server
from tests.client import ORDINARY, Client
from tests.commands import said
from tests.conftest import running
from trials.screenshots.past import lines

# Below the mount, as an admin sees them who has logged in: more than one of a route where they
# differ.
# `{job}` is one that was answered with an error.
PAGES: Final = (
    *("", "?since=30d", "?q=colour:red", "?owner=nobody"),
    *("activity", "activity?since=7d&by=hour", "activity?since=30d"),
    *(f"statistics?by={kind}&since=7d" for kind in ("route", "definition", "owner", "target")),
    *("definitions", "definitions/1", "definitions/1/delete"),
    *("targets", "targets/pause?target=/", "targets/slots?target=/", "store"),
    *("access", "access/add", "access/token?name=ute", "own-password", "nowhere"),
    *("operations", "operations/1", "operations/1/stop", "operations/1/undo", "operations/2"),
    *("operations/2/retry", "selected/delete?id={job}", "matching/retry?status=5xx"),
    *("{job}", "{job}/retry", "{job}?body=raw", "{job}?body=hex"),
)
# What the jobs of the past are sent to, and those of definitions.
TARGETS: Final = [{"prefix": prefix, **ORDINARY} for prefix in ("/v1", "/exports", "/reports", "/")]
_SERVICES: Final = 30
_TIMES: Final = frozenset(
    {"submitted_at", "started_at", "finished_at", "fetched_at", "cancel_asked_at", "purgeable_at"}
    | {"at", "ended_at"}
)
_SECRET: Final = {"Authorization": "Basic c2hvcDpodW50ZXIy", "Content-Type": "application/json"}


def route_of(path: str) -> str:
    """Return the route of a page, as the dashboard has it; "" if there is no such page."""
    bare = f"/{path.partition('?')[0]}"
    for route in ROUTES:
        pattern = DynamicResource(f"/{route.path}").get_info()["pattern"]
        if route.method == "GET" and pattern.fullmatch(bare):
            return route.path
    return ""


async def fill(
    store_path: Path, folder: Path, http: ClientSession, share: float, definitions: int
) -> None:
    """Fill a new store with jobs of 30 days.

    Args:
        share: how many there are of the usual number, which is some thousands.
        definitions: how many there are, each with a schedule and runs.
    """
    async with running(store_path, target=TARGETS) as server:
        client = Client(http, server.url)
        made = [await _defined(client, number) for number in range(definitions)]
    export = folder / "past.jsonl"
    export.write_text("".join(f"{json.dumps(each)}\n" for each in _busy(made, share)))
    await asyncio.to_thread(said, "import", export, "--store", store_path)


def _busy(definitions: Sequence[Any], share: float) -> Iterator[dict[str, Any]]:
    """Give the past of the pictures, but let a week be busy: many services, at all hours."""
    now = clock.now()
    for line in map(json.loads, lines(definitions, now, share)):
        job = line.get("job", {"definition": 0})
        if job["definition"] is None:
            _send_elsewhere(job, now)
        yield line


def _send_elsewhere(job: dict[str, Any], now: int) -> None:
    """Let a job be one of a service, so that each gets one in each hour, and then another one."""
    turn, hour = divmod(job["id"], 7 * DAY // HOUR)
    service = f"/service-{turn % _SERVICES}"
    job |= {"method": "POST", "target": service, "path": f"{service}/orders/{hour}"}
    later = now - (hour + 1) * HOUR * SECOND - job["submitted_at"]
    for each in (job, *job["events"], *job["attempts"]):
        each |= {name: at + later for name, at in each.items() if name in _TIMES and at is not None}


async def _defined(client: Client, number: int) -> Any:
    definition = {
        "name": f"Nightly <i>import</i> of warehouse {number}",
        "path": f"/Imports/nightly/{number}",
        "method": "POST",
        "target": f"/warehouse-{number}/import?records=10",
        "headers": {"Accept": "text/csv"},
        "schedule": {"cron": f"{number} */{1 + number % 6} * * *", "time_zone": "Europe/Berlin"},
    }
    return json.loads((await client("POST", "/_jobs/definitions", json=definition)).body)


async def furnish(server: Server, client: Client) -> int:
    """Do what is not in the past: operations, and a job with a secret that fails; return its id."""
    job_id = await client.done("/status/503", "POST", headers=_SECRET, data=b'{"a": [1, null]}')
    await client.done("/greet/gone")
    for tag in ("first", "second"):
        await client("POST", "/_jobs", json={"target": "/greet/you", "delay": "1h", "tag": tag})
    await _operate(client, action="delete", filter={"path": "/greet/gone"})
    await _operate(client, action="cancel", filter={"tag": "first"})
    await server.store.upkeep.count()
    return job_id


async def _operate(client: Client, **order: object) -> None:
    """Do something to many jobs, and wait until that is over."""
    made = json.loads((await client("POST", "/_jobs/operations", json=order)).body)
    while made["state"] == "running":
        made = json.loads((await client("GET", f"/_jobs/operations/{made['id']}")).body)
    assert made["done"] == 1, made
