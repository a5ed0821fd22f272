"""Work in jobstore's own words: wait, follow, try again, restore, define, list."""

import asyncio
import time
from datetime import datetime
from itertools import count
from typing import Any, Final

from trials.clients import Answer
from trials.soak.visitor import PATIENCE, Visitor, Work, see

SCHEDULED: Final = "/Soak/scheduled"
SCHEDULES: Final = 3
# A run of a schedule comes every minute; one that is so late, in seconds, has been forgotten.
_LATE: Final = 90
_WAIT: Final = {"Prefer": f"wait={PATIENCE:g}"}
_RETRIES: Final = 2
_TRIES: Final = _RETRIES + 1


class Native:
    """A client of jobstore itself.

    Args:
        visitor: what it asks with.
        definitions: the ids of the definitions that run by themselves.
    """

    def __init__(self, visitor: Visitor, definitions: list[int]) -> None:
        self._visitor = visitor
        self._last_run = dict.fromkeys(definitions, time.time())
        self._numbers = count(1)

    def works(self) -> list[Work]:
        """List what it does, and how often in a second."""
        work = self._visitor.work
        return [
            work("submit, wait, take", self.take, 16),
            work("prefer a job", self.prefer, 6),
            work("the same key twice", self.submit_once, 2),
            work("follow to the end", self.follow, 2),
            work("follow and leave", self.leave, 2),
            work("fail and try again", self.retry, 2),
            work("cancel what waits", self.cancel, 2),
            work("again and restore", self.again, 2),
            work("define and run", self.define, 1),
            work("list and count", self.list, 2),
            work("see schedules run", self.see_schedules, 0.1),
        ]

    # --- one job --------------------------------------------------------------------------------

    async def take(self) -> None:
        """Submit a job, wait for its end, look at it, and take its result once."""
        body = f"body {next(self._numbers)}"
        at = await self._submit("POST", "/echo", body=body, priority=next(self._numbers) % 3)
        await self._ended(at, "done")
        looked = await self._visitor.ask("response", "GET", f"{at}/response", 200)
        taken = await self._visitor.ask("take", "POST", f"{at}/take", 200)
        see(taken.body == looked.body == body.encode(), f"{at} gave {taken.body!r}")
        await self._visitor.ask("again", "POST", f"{at}/take", 410)
        events = (await self._visitor.ask("timeline", "GET", f"{at}/timeline", 200)).json()
        see(events["timeline"][-1]["event"] == "fetched", events)

    async def prefer(self) -> None:
        """Ask for a result in the standard's words, if it comes in time."""
        headers = {"Prefer": f"respond-async, wait={PATIENCE:g}"}
        await self._visitor.wait("GET", "/_admin/sleep?duration=0.05", 200, headers=headers)

    async def submit_once(self) -> None:
        """Submit the same job twice under one key."""
        key = f"soak-{next(self._numbers)}"
        both = [await self._submit("POST", "/echo", idempotency_key=key) for _ in range(2)]
        see(both[0] == both[1], f"one key gave {both}")

    async def follow(self) -> None:
        """Follow a job's events to their end."""
        at = await self._submit("GET", "/import?records=100&seconds=0.5&warnings=2")
        followed = await self._visitor.wait("GET", f"{at}/events", 200)
        see(b"event: end" in followed.body, followed.body[-200:])

    async def leave(self) -> None:
        """Follow a job for a moment, leave, and cancel it."""
        at = await self._submit("GET", "/_admin/sleep?duration=30")
        async with self._visitor.open("GET", f"{at}/events", 200) as stream:
            first = await stream.content.readany()
            stream.close()
        see(b"event:" in first, first)
        await self._visitor.ask("cancel", "POST", f"{at}/cancel", 200, 202)
        await self._ended(at, "cancelled")

    async def retry(self) -> None:
        """Submit what fails however often it is tried."""
        at = await self._submit("GET", "/import?fail=true", retries=_RETRIES)
        await self._ended(at, "done")
        attempts = (await self._visitor.ask("attempts", "GET", f"{at}/attempts", 200)).json()
        see([each["status"] for each in attempts["attempts"]] == [500] * _TRIES, attempts)

    async def cancel(self) -> None:
        """Cancel a job that waits for its time."""
        at = await self._submit("GET", "/_admin/time", delay="10m")
        await self._visitor.ask("cancel", "POST", f"{at}/cancel", 200)
        await self._ended(at, "cancelled")

    async def again(self) -> None:
        """Take a result, have it given back, take it again; and run the same request once more."""
        at = await self._submit("GET", "/_api/version")
        await self._ended(at, "done")
        await self._visitor.ask("take", "POST", f"{at}/take", 200)
        await self._visitor.ask("restore", "POST", f"{at}/restore", 200)
        await self._visitor.ask("take", "POST", f"{at}/take", 200)
        again = await self._visitor.ask("retry", "POST", f"{at}/retry", 202)
        await self._ended(again.headers["Location"], "done")
        await self._visitor.ask("delete", "DELETE", again.headers["Location"], 204)

    # --- many jobs ------------------------------------------------------------------------------

    async def define(self) -> None:
        """Make a definition, change it, run it, and delete it."""
        name = f"number {next(self._numbers)}"
        draft = {"name": name, "path": f"/Soak/{name}", "target": "/import?records=5"}
        made = await self._visitor.ask("define", "POST", "/_jobs/definitions", 201, json=draft)
        at = made.headers["Location"]
        await self._visitor.ask("define", "PATCH", at, 200, json={"timeout": "1m"})
        run = await self._visitor.ask("run", "POST", f"{at}/run", 202)
        await self._ended(run.headers["Location"], "done")
        await self._visitor.ask("delete", "DELETE", at, 204)
        await self._visitor.ask("define", "GET", at, 404)

    async def list(self) -> None:
        """List the history with filters, two pages of it, and count what is there."""
        query = "/_jobs?state=done&status=2xx&path=/echo&limit=50"
        page = (await self._visitor.ask("list", "GET", query, 200)).json()
        if page["next"]:
            second = await self._visitor.ask("list", "GET", f"{query}&cursor={page['next']}", 200)
            page["jobs"] += second.json()["jobs"]
        ids = [job["id"] for job in page["jobs"]]
        see(ids == sorted(set(ids), reverse=True), f"ids are not in order: {ids}")
        await self._visitor.ask("list", "GET", "/_jobs?state=failed,cancelled&limit=20", 200)
        counted = await self._visitor.ask("statistics", "GET", "/_jobs/statistics", 200)
        see(min(counted.json()["jobs"].values()) >= 0, counted)

    async def see_schedules(self) -> None:
        """See that what is due every minute has run a short time ago."""
        for definition, last in self._last_run.items():
            query = f"/_jobs?definition={definition}&trigger=SCHEDULE&limit=1"
            jobs = (await self._visitor.ask("list", "GET", query, 200)).json()["jobs"]
            latest = max([last, *(_moment(job["submitted_at"]) for job in jobs)])
            see(time.time() - latest < _LATE, f"definition {definition} ran last at {latest}")
            self._last_run[definition] = latest

    # --- steps ----------------------------------------------------------------------------------

    async def _submit(self, method: str, target: str, **members: Any) -> str:
        """Submit a job, and return its place."""
        asked = {"method": method, "target": target, **members}
        answer = await self._visitor.ask("submit", "POST", "/_jobs", 202, json=asked)
        return answer.headers["Location"]

    async def _ended(self, at: str, state: str) -> Answer:
        """Wait for a job's end, and see that it is in this state then."""
        answer = await self._visitor.wait("GET", at, 200, headers=_WAIT)
        see(answer.json()["state"] == state, answer.body)
        return answer


async def define(visitor: Visitor, path: str, target: str, **members: Any) -> int:
    """Make a definition that stays, and return its id."""
    draft = {"name": path, "path": path, "target": target, **members}
    answer = await visitor.wait("POST", "/_jobs/definitions", 201, json=draft)
    return int(answer.json()["id"])


async def schedule(visitor: Visitor) -> list[int]:
    """Make some definitions that run every minute, and return their ids."""
    every_minute = {"cron": "* * * * *", "overlap": "queue"}
    paths = [f"{SCHEDULED}/{number}" for number in range(SCHEDULES)]
    target = "/import?records=10&seconds=1"
    making = (define(visitor, path, target, schedule=every_minute) for path in paths)
    return await asyncio.gather(*making)


def _moment(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()
