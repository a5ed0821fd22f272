"""An application whose work goes on only when it is told to: asked and told over HTTP, like any."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Gate:
    """Where one piece of work stands."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Gates:
    """All pieces of work, by name, and their names in the order in which they were started."""

    of: defaultdict[str, Gate] = field(default_factory=lambda: defaultdict(Gate))
    started: list[str] = field(default_factory=list)


GATES = web.AppKey("gates", Gates)


async def work(request: web.Request) -> web.Response:
    """Work until told to finish; stop when cancelled."""
    return await _work(request, request.match_info["name"], stubborn=False)


async def linger(request: web.Request) -> web.Response:
    """Work until told to finish; when cancelled, stop only then."""
    return await _work(request, request.match_info["name"], stubborn=True)


async def query(request: web.Request) -> web.Response:
    """Linger as a query of a database may, which takes its time to notice that it was cancelled."""
    return await _work(request, "query", stubborn=True)


async def _work(request: web.Request, name: str, *, stubborn: bool) -> web.Response:
    gates = request.app[GATES]
    gates.started.append(name)
    gate = gates.of[name]
    gate.started.set()
    try:
        await gate.let.wait()
    except asyncio.CancelledError:
        gate.cancelled.set()
        if stubborn:
            await gate.let.wait()
        raise
    gate.finished.set()
    return web.Response(text=f"{name} is done")


async def let(request: web.Request) -> web.Response:
    """Let a piece of work finish, begun or not."""
    request.app[GATES].of[request.match_info["name"]].let.set()
    return web.Response()


async def when(request: web.Request) -> web.Response:
    """Answer when a piece of work has started, was cancelled or has finished."""
    event = getattr(request.app[GATES].of[request.match_info["name"]], request.match_info["event"])
    await event.wait()
    return web.Response()


async def started(request: web.Request) -> web.Response:
    """Name the pieces of work that were started."""
    return web.json_response(request.app[GATES].started)


async def _let_all(app: web.Application) -> None:
    for gate in app[GATES].of.values():
        gate.let.set()


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    app = web.Application()
    app[GATES] = Gates()
    app.on_shutdown.append(_let_all)
    app.router.add_route("*", "/wait/{name}", work)
    app.router.add_route("*", "/linger/{name}", linger)
    app.router.add_route("*", "/_api/cursor", query)
    app.router.add_route("*", "/let/{name}", let)
    app.router.add_get("/when/{name}/{event}", when)
    app.router.add_get("/started", started)
    return app
