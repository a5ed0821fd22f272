"""Services on free ports of this machine: applications, and what speaks for itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

# Talks with one client.
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, port: int = 0) -> AsyncIterator[str]:
    """Let something speak for itself while the context lasts; give its URL.

    Args:
        port: where, or 0 for any free port.
    """
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await talk(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield _url(server.sockets[0].getsockname()[1])
    finally:
        for writer in writers:
            writer.close()
        server.close()


@asynccontextmanager
async def answering(app: web.Application, **options: Any) -> AsyncIterator[str]:
    """Serve an application while the context lasts; give its URL.

    Args:
        app: the application.
        options: those of aiohttp's runner.
    """
    async with site(web.AppRunner(app, access_log=None, **options)) as url:
        yield url


@asynccontextmanager
async def site(runner: web.BaseRunner) -> AsyncIterator[str]:
    """Let aiohttp serve while the context lasts; give the URL."""
    await runner.setup()
    try:
        at = web.TCPSite(runner, "127.0.0.1", 0)
        await at.start()
        yield _url(at.port)
    finally:
        await runner.cleanup()


async def serve(app: web.Application) -> None:
    """Serve in a process of its own: say where, as `trials.serving` expects it, until killed."""
    async with answering(app) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
