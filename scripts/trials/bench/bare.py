"""The least that an aiohttp server can do: what all the other figures are a ratio to.

``python -m trials.bench.bare`` answers each request with 202 and nothing, but below ``/echo`` with
200 and the request's body.
"""

import asyncio

from aiohttp import web


async def accept(request: web.Request) -> web.Response:
    """Read the request and answer it."""
    await request.read()
    return web.Response(status=202)


async def echo(request: web.Request) -> web.Response:
    """Answer with the request's body."""
    return web.Response(body=await request.read())


def create_app() -> web.Application:
    """Make the application."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/echo", echo)
    app.router.add_route("*", "/{path:.*}", accept)
    return app


async def serve(app: web.Application) -> None:
    """Serve on any free port, say which one, and do so until killed."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(create_app()))
