"""Starts aiohttp's servers and applications, and cleans them up."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiohttp import web

from jobstore.targets.inprocess import InProcess

# How long a request that is being answered may take once the server stops.
SHUTDOWN_SECONDS: Final = 5.0
# What aiohttp's servers are told.
SERVING: Final[Mapping[str, Any]] = {
    "access_log": None,
    # A reader who is gone is noticed at once, and what was for them is held again.
    "handler_cancellation": True,
    # Bodies are kept and sent on as they came.
    "auto_decompress": False,
    # In bytes; up to three times as much of a body that nobody reads yet is in memory.
    "read_bufsize": 2**16,
}

log = logging.getLogger(__name__)


async def in_process(
    stack: AsyncExitStack,
    app: web.Application,
    grace: float,
    cleanup: float | None = None,
    *,
    prefix: str = "",
) -> InProcess:
    """Start an application up as a target, until the stack is unwound.

    Args:
        stack: cleans it up.
        app: the application.
        grace: how long a cancelled handler may take to stop, in seconds.
        cleanup: how long its cleanup may take, in seconds, or None for no limit.
        prefix: the prefix to remove from each path.
    """
    return InProcess(await served(stack, app, cleanup), grace, prefix)


async def served(
    stack: AsyncExitStack, app: web.Application, cleanup: float | None = None
) -> web.Server:
    """Start an application up, and return its server, until the stack is unwound."""
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS, **SERVING)
    await stack.enter_async_context(running(runner, cleanup))
    assert runner.server is not None
    return runner.server


@asynccontextmanager
async def running(runner: web.BaseRunner, cleanup: float | None = None) -> AsyncIterator[None]:
    """Set up a runner, and clean it up at the end, in so many seconds at most."""
    await runner.setup()
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(cleanup) as limit:
                await runner.cleanup()
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning(
                "the application's cleanup has not ended after %g s; it was interrupted",
                cleanup,
                extra={"action": "stop"},
            )
