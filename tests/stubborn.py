"""Applications that do not want to end: handlers, threads, tasks, their cleanup."""

import asyncio
import threading
from collections.abc import AsyncIterator

from aiohttp import web

STARTED = web.AppKey("started", asyncio.Event)


async def deaf() -> None:
    """Go on whatever happens."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def swallow(request: web.Request) -> web.Response:
    """Never answer, and never stop."""
    request.app[STARTED].set()
    await deaf()
    return web.Response()


async def thread(request: web.Request) -> web.Response:
    """Wait for a thread that never ends."""
    request.app[STARTED].set()
    await asyncio.to_thread(threading.Event().wait)
    return web.Response()


async def busy(_: web.Request) -> web.Response:
    """Let nobody else have the loop."""
    while True:
        pass


async def started(request: web.Request) -> web.Response:
    """Answer when a handler has started."""
    await request.app[STARTED].wait()
    return web.Response()


def create_app() -> web.Application:
    """Return an application with stubborn handlers."""
    app = web.Application()
    app[STARTED] = asyncio.Event()
    for handler in (swallow, thread, busy, started):
        app.router.add_route("*", f"/{handler.__name__}", handler)
    return app


def with_task() -> web.Application:
    """Return an application that leaves a task behind."""

    async def background(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(deaf())
        yield
        task.cancel()

    app = create_app()
    app.cleanup_ctx.append(background)
    return app


def with_thread() -> web.Application:
    """Return an application that leaves a thread of its own behind."""

    async def background(_: web.Application) -> AsyncIterator[None]:
        threading.Thread(target=threading.Event().wait).start()
        yield

    app = create_app()
    app.cleanup_ctx.append(background)
    return app


def with_cleanup() -> web.Application:
    """Return an application whose cleanup waits for a task that never ends."""

    async def background(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(deaf())
        yield
        task.cancel()
        await asyncio.wait([task])

    app = create_app()
    app.cleanup_ctx.append(background)
    return app
