"""An application in a process of its own, as `trials.serving.start` expects it."""

import asyncio

from aiohttp import web


async def serve(app: web.Application) -> None:
    """Serve on any free port, say which one, and do so until killed."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site.port}", flush=True)
    await asyncio.Event().wait()
