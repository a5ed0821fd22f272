"""What answers the jobs of the pictures: anything, after as long and with the status asked for."""

import asyncio

from aiohttp import web


def create_app() -> web.Application:
    """Build it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def answer(request: web.Request) -> web.Response:
    """Answer as the header fields ``X-Seconds`` and ``X-Status`` say."""
    await asyncio.sleep(float(request.headers.get("X-Seconds", "0")))
    status = int(request.headers.get("X-Status", "200"))
    return web.json_response({"path": request.path, "rows": 412, "ok": status < 400}, status=status)
