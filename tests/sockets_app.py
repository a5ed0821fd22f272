"""An aiohttp application with WebSockets, for servers in front of it and for one around it."""

import asyncio
from typing import Final

from aiohttp import WSMsgType, web

ENDED: Final = web.AppKey("ended", asyncio.Event)
CLOSE_CODES: Final = web.AppKey("close_codes", list[int | None])


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Give back each message; what is called "bye" ends it."""
    socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
    await socket.prepare(request)
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == "bye":
                await socket.close(code=4000, message=b"as you wish")
            else:
                await socket.send_str(message.data)
    finally:
        request.app[CLOSE_CODES].append(socket.close_code)
        request.app[ENDED].set()
    return socket


async def asked(request: web.Request) -> web.WebSocketResponse:
    """Say what was asked for, in a first message."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    await socket.send_json({"path": request.raw_path, "headers": headers})
    await socket.close()
    return socket


async def cut(request: web.Request) -> web.WebSocketResponse:
    """Break off in the middle of things."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    assert request.transport is not None
    request.transport.abort()
    return socket


async def refuse(_: web.Request) -> web.Response:
    """Let nobody in."""
    return web.Response(status=403, text="not you", headers={"X-Why": "because"})


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    app = web.Application()
    app[ENDED], app[CLOSE_CODES] = asyncio.Event(), []
    app.router.add_get("/echo", echo)
    app.router.add_get("/asked", asked)
    app.router.add_get("/cut", cut)
    app.router.add_get("/refuse", refuse)
    return app
