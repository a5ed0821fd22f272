"""Work in ArangoDB's dialect: submit by a header, fetch once, cancel, delete, expire, list."""

import asyncio
import random
import time
from collections import deque
from http import HTTPStatus
from itertools import count, cycle
from typing import Final

from trials.clients import Answer
from trials.soak.visitor import PATIENCE, Visitor, Work, has_ended, see, until

STORE: Final = {"x-arango-async": "store"}
_GONE: Final = 404
_NOT_NOW: Final = 204  # while another reader is being given the result
# So many 64 KiB as the bodies of some jobs have, one after the other: up to 4 MiB, and 32 MiB.
_LARGE: Final = (1, 4, 8, 16, 32, 64)
_HUGE: Final = 512
_LARGEST_SMALL: Final = 8 * 1024
_QUERY: Final = '{"query": "FOR i IN 1..60 LET x = sleep(1) RETURN 42"}'
_NAP: Final = (0.05, 0.1, 0.5, 2)


class Arango:
    """A client of ArangoDB.

    Args:
        visitor: what it asks with.
        large: what it asks with where bodies are large.
        unfetched: how long the server keeps what nobody fetches, in seconds.
    """

    def __init__(self, visitor: Visitor, large: Visitor, unfetched: float) -> None:
        self._visitor = visitor
        self._large = large
        self._unfetched = unfetched
        self._left: deque[tuple[float, int]] = deque()
        self._sizes = cycle(_LARGE)
        self._naps = cycle(_NAP)
        self._numbers = count(1)

    def works(self) -> list[Work]:
        """List what it does, and how often in a second."""
        work = self._visitor.work
        return [
            work("submit, look, fetch", self.echo, 44),
            work("two fetch at once", self.race, 4),
            work("wait for a sleep", self.sleep, 10),
            work("nobody wants it", self.unwanted, 8),
            work("cancel a sleep", self.cancel, 3),
            work("cancel a query", self.cancel_query, 0.5),
            work("delete", self.delete, 4),
            work("list", self.list, 3),
            work("expire", self.expire, 0.2),
            work("leave it", self.leave, 4),
            work("come back too late", self.come_back, 4),
            self._large.work("up to 4 MiB", self.large, 0.5),
            self._large.work("32 MiB", self.huge, 1 / 60),
        ]

    # --- ordinary -------------------------------------------------------------------------------

    async def echo(self) -> None:
        """Submit a job, look until it has ended, and fetch its result once."""
        body = random.randbytes(random.randrange(_LARGEST_SMALL))
        job_id = await self._submit("POST", "/echo", data=body)
        await self._ended(job_id)
        answer = await self._fetch(job_id)
        see(answer.body == body, f"job {job_id} gave {answer.body[:40]!r}, not its own body")
        see(answer.headers["x-arango-async-id"] == str(job_id), answer.headers)
        await self._gone(job_id)

    async def race(self) -> None:
        """Let two readers fetch one result at the same moment."""
        job_id = await self._submit("GET", "/_api/version")
        await self._ended(job_id)
        asking = (self._fetch(job_id, 200, _NOT_NOW, _GONE) for _ in range(2))
        both = await asyncio.gather(*asking)
        served = [each for each in both if each.status == HTTPStatus.OK]
        see(len(served) == 1, f"both of two readers: {both}")

    async def sleep(self) -> None:
        """Submit what takes its time, and wait for it with the fetch."""
        job_id = await self._submit("GET", f"/_admin/sleep?duration={next(self._naps)}")
        wait = {"Prefer": f"wait={PATIENCE:g}"}
        await self._visitor.wait("PUT", f"/_api/job/{job_id}", 200, headers=wait)
        await self._gone(job_id)

    async def unwanted(self) -> None:
        """Submit what nobody will ask for."""
        header = {"x-arango-async": "true"}
        path = f"/_admin/time?n={next(self._numbers)}"
        answer = await self._visitor.ask("submit", "GET", path, 202, headers=header)
        see("x-arango-async-id" not in answer.headers, answer.headers)

    # --- ended by somebody ----------------------------------------------------------------------

    async def cancel(self) -> None:
        """Cancel a job that sleeps."""
        await self._cancel(await self._submit("PUT", "/_admin/sleep?duration=30"))

    async def cancel_query(self) -> None:
        """Cancel a job that takes a moment to notice."""
        await self._cancel(await self._submit("POST", "/_api/cursor", data=_QUERY))

    async def _cancel(self, job_id: int) -> None:
        await self._visitor.ask("cancel", "PUT", f"/_api/job/{job_id}/cancel", 200)
        await self._ended(job_id)
        await self._fetch(job_id, 410)
        await self._gone(job_id)

    async def delete(self) -> None:
        """Delete a job while it runs or when it has ended."""
        job_id = await self._submit("GET", "/_admin/sleep?duration=0.05")
        if next(self._numbers) % 2:
            await self._ended(job_id)
        await self._visitor.ask("delete", "DELETE", f"/_api/job/{job_id}", 200)
        await self._gone(job_id)

    async def expire(self) -> None:
        """Expire the results that nobody has fetched for a while."""
        stamp = time.time() - self._unfetched * 0.8
        await self._visitor.ask("expire", "DELETE", f"/_api/job/expired?stamp={stamp:f}", 200)

    async def list(self) -> None:
        """List what is pending, and what is done."""
        for kind in ("pending", "done"):
            answer = await self._visitor.ask("list", "GET", f"/_api/job/{kind}?count=50", 200)
            ids = [int(each) for each in answer.json()]
            see(ids == sorted(set(ids)), f"ids are not in order: {ids}")

    async def leave(self) -> None:
        """Submit a job whose result nobody fetches."""
        job_id = await self._submit("GET", "/_api/version")
        await self._ended(job_id)
        self._left.append((time.monotonic(), job_id))

    async def come_back(self) -> None:
        """Ask for a result that expired long ago."""
        long_ago = time.monotonic() - 1.3 * self._unfetched
        if self._left and self._left[0][0] < long_ago:
            await self._gone(self._left.popleft()[1])

    # --- large ----------------------------------------------------------------------------------

    async def large(self) -> None:
        """Have a body echoed that is kept in pieces."""
        await self._echo_blocks(next(self._sizes))

    async def huge(self) -> None:
        """Have a body echoed that should never be whole in memory."""
        await self._echo_blocks(_HUGE)

    async def _echo_blocks(self, blocks: int) -> None:
        answer = await self._large.send_blocks("PUT", "/echo", blocks, headers=STORE)
        job_id = answer.headers["x-arango-async-id"]
        await until(lambda: self._large.wait("GET", f"/_api/job/{job_id}", 200, 204), has_ended)
        await self._large.read_blocks("PUT", f"/_api/job/{job_id}", blocks)
        await self._large.ask("again", "PUT", f"/_api/job/{job_id}", _GONE)

    # --- steps ----------------------------------------------------------------------------------

    async def _submit(self, method: str, path: str, data: bytes | str | None = None) -> int:
        answer = await self._visitor.ask("submit", method, path, 202, data=data, headers=STORE)
        return int(answer.headers["x-arango-async-id"])

    async def _ended(self, job_id: int) -> None:
        path = f"/_api/job/{job_id}"
        await until(lambda: self._visitor.ask("status", "GET", path, 200, 204), has_ended)

    async def _fetch(self, job_id: int, *expected: int) -> Answer:
        return await self._visitor.ask("fetch", "PUT", f"/_api/job/{job_id}", *expected or (200,))

    async def _gone(self, job_id: int) -> None:
        answer = await self._visitor.ask("again", "PUT", f"/_api/job/{job_id}", _GONE)
        see("x-arango-async-id" not in answer.headers, f"job {job_id} was given twice")
