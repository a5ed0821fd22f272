"""What answers the jobs of the pictures: anything, after as long and with the status asked for."""

import asyncio

from aiohttp import web


def create_app() -> web.Application:
    """Build it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def answer(request: web.Request) -> web.Response:
    """Answer as the query says, by ``seconds`` and ``status``."""
    await asyncio.sleep(float(request.query.get("seconds", "0")))
    status = int(request.query.get("status", "200"))
    return web.json_response({"path": request.path, "rows": 412, "ok": status < 400}, status=status)  # noqa: PLR2004
