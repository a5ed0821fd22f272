"""An application whose work may take its whole process along, as a fault in a C library does."""

import os
from typing import NoReturn

from aiohttp import web


async def die(_: web.Request) -> NoReturn:
    """End the process at once, with nothing cleaned up."""
    os._exit(9)


async def live(_: web.Request) -> web.Response:
    """Answer."""
    return web.Response(text="alive")


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    app = web.Application()
    app.router.add_route("*", "/die", die)
    app.router.add_route("*", "/live", live)
    return app
