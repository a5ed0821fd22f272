"""The least that an aiohttp server can do: what all the other figures are a ratio to.

``python -m trials.bench.bare`` answers each request with 202 and nothing, but below ``/echo`` with
200 and the request's body.
"""

import asyncio

from aiohttp import web

from trials.services import serve


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


if __name__ == "__main__":
    asyncio.run(serve(create_app()))
