"""An HTTP front for a peer: a job's body comes in, its result goes out once.

``python -m trials.bench.peers.front PEER front WHERE`` serves, and with ``work`` works jobs off.
"""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Final, Protocol

from aiohttp import web

from trials.services import serve

# How long to rest between two looks for a result, in seconds.
LOOK: Final = 0.1


class Queue(Protocol):
    """What a peer has to be able to do."""

    async def submit(self, body: bytes) -> str:
        """Take a job in that gives its body back; return its id once it is on the disk."""

    async def take(self, job: str) -> bytes | None:
        """Give a result to one caller, or None if it is not there yet."""

    async def rest(self, job: str) -> None:
        """Wait for the end of a job, or at least for a while."""


class Front:
    """The application's two calls.

    Args:
        queue: where the jobs go.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def submit(self, request: web.Request) -> web.Response:
        """Answer 202 once a job is on the disk."""
        job = await self._queue.submit(await request.read())
        return web.Response(status=202, headers={"x-arango-async-id": job})

    async def fetch(self, request: web.Request) -> web.Response:
        """Answer with a job's result, or 204; with ``Prefer: wait`` once it is there."""
        job = request.match_info["job"]
        while (result := await self._queue.take(job)) is None and "Prefer" in request.headers:
            await self._queue.rest(job)
        return web.Response(status=204) if result is None else web.Response(body=result)


async def _front(opening: AbstractAsyncContextManager[Queue]) -> None:
    async with opening as queue:
        front = Front(queue)
        app = web.Application()
        app.router.add_post("/echo", front.submit)
        app.router.add_put("/_api/job/{job}", front.fetch)
        await serve(app)


def main(peer: str, part: str, where: str) -> None:
    """Be the front or the worker of a peer.

    Args:
        peer: the name of its module, which has ``opening`` and ``work``.
        part: ``front`` or ``work``.
        where: the jobs are.
    """
    module: Any = import_module(f"trials.bench.peers.{peer}")
    asyncio.run(_front(module.opening(where)) if part == "front" else module.work(where))


if __name__ == "__main__":
    main(*sys.argv[1:])
