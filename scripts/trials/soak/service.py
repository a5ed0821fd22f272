"""The service behind the server: the demo's endpoints, in a process of their own."""

import asyncio

from aiohttp import web

from jobstore.demo import create_app


async def main() -> None:
    """Serve on any free port, and print the URL."""
    runner = web.AppRunner(create_app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
