"""An ordinary aiohttp application with one handler for each thing that a target may do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from jobstore.targets.inprocess import current
from tests.loop import turns

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CHUNK = b"0123456789abcdef" * 4096  # 64 KiB
FILE = Path(__file__)


@dataclass
class Seen:
    """What the handlers noted."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    written: int = 0


SEEN = web.AppKey("seen", Seen)


async def greet(request: web.Request) -> web.Response:
    """Answer with the path parameter and the query as they were understood."""
    return web.json_response({"name": request.match_info["name"], "query": dict(request.query)})


async def echo(request: web.Request) -> web.Response:
    """Answer with the request's body and content type."""
    return web.Response(body=await request.read(), content_type=request.content_type)


async def mirror(request: web.Request) -> web.Response:
    """Answer with all that the request was."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "raw": sorted(
                [name.decode().lower(), value.decode("latin-1")]
                for name, value in request.raw_headers
            ),
            "length": request.content_length,
            "has_body": request.body_exists,
            "body": (await request.read()).decode("latin-1"),
        }
    )


async def upload(request: web.Request) -> web.Response:
    """Answer with what a form had in it."""
    form: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            form[name] = [value.filename, value.content_type, len(value.file.read())]
        else:
            form[name] = value
    return web.json_response(form)


async def count(request: web.Request) -> web.Response:
    """Answer with the length of the body, read piece by piece once it is allowed to."""
    seen = request.app[SEEN]
    seen.started.set()
    if "wait" in request.query:
        await seen.go_on.wait()
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.json_response({"size": size})


async def stream(request: web.Request) -> web.StreamResponse:
    """Write ``chunks`` times 64 KiB, with a length if ``sized``."""
    seen = request.app[SEEN]
    chunks = int(request.query.get("chunks", "4"))
    response = web.StreamResponse()
    if "sized" in request.query:
        response.content_length = chunks * len(CHUNK)
    await response.prepare(request)
    for _ in range(chunks):
        await response.write(CHUNK)
        seen.written += len(CHUNK)
    await response.write_eof()
    seen.finished.set()
    return response


async def trickle(request: web.Request) -> web.StreamResponse:
    """Write a first word, and a last one only when told to."""
    seen = request.app[SEEN]
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first")
    try:
        await seen.go_on.wait()
    except asyncio.CancelledError:
        seen.cancelled.set()
        raise
    await response.write(b"last")
    await response.write_eof()
    await turns(1)
    seen.finished.set()
    return response


async def slow(request: web.Request) -> web.Response:
    """Answer only when told to."""
    seen = request.app[SEEN]
    seen.started.set()
    try:
        await seen.go_on.wait()
    except asyncio.CancelledError:
        seen.cancelled.set()
        raise
    return web.Response(text="at last")


async def stubborn(request: web.Request) -> web.Response:
    """Answer all the more when cancelled."""
    seen = request.app[SEEN]
    seen.started.set()
    try:
        await seen.go_on.wait()
    except asyncio.CancelledError:
        seen.cancelled.set()
    return web.Response(text="all the same")


async def cookies(_request: web.Request) -> web.Response:
    """Answer with two cookies, and a header that occurs twice."""
    response = web.Response(text="cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    response.headers.add("X-Twice", "one")
    response.headers.add("X-Twice", "two")
    return response


async def file(_request: web.Request) -> web.FileResponse:
    """Answer with a file."""
    return web.FileResponse(FILE)


async def compressed(_request: web.Request) -> web.Response:
    """Answer with a body that is compressed as a whole."""
    response = web.Response(text="again and " * 1000)
    response.enable_compression()
    return response


async def compressed_stream(request: web.Request) -> web.StreamResponse:
    """Answer with a body that is compressed piece by piece."""
    response = web.StreamResponse()
    response.enable_compression()
    await response.prepare(request)
    for _ in range(3):
        await response.write(CHUNK)
    await response.write_eof(b"end")
    return response


async def unhandled(_request: web.Request) -> web.Response:
    """Fail."""
    raise RuntimeError("the password is swordfish")


async def too_late(request: web.Request) -> web.StreamResponse:
    """Fail after the answer has begun."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"a beginning")
    raise RuntimeError


async def timed_out(_request: web.Request) -> web.Response:
    """Fail with a timeout of its own."""
    raise TimeoutError


async def gives_up(_request: web.Request) -> web.Response:
    """Cancel itself."""
    raise asyncio.CancelledError


async def cancels_its_task(_request: web.Request) -> web.Response:
    """Cancel whatever it runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await turns(1)
    return web.Response()


class _Unpreparable(web.StreamResponse):
    async def prepare(self, request: web.BaseRequest) -> None:
        del request
        raise RuntimeError("swordfish")


async def unpreparable(_request: web.Request) -> web.StreamResponse:
    """Return a response that cannot be sent, which only turns out behind the handler."""
    return _Unpreparable()


async def nothing(_request: web.Request) -> web.Response:
    """Forget to answer."""
    return None  # type: ignore[return-value] # the mistake that this handler is here for


async def too_short(request: web.Request) -> web.StreamResponse:
    """Announce more than is written."""
    response = web.StreamResponse(headers={"Content-Length": "10"})
    await response.prepare(request)
    await response.write(b"half")
    return response


async def injected(_request: web.Request) -> web.Response:
    """Answer with a header that would end the head of the message."""
    return web.Response(headers={"X-Injected": "a\r\n\r\nb"})


async def redirect(_request: web.Request) -> web.Response:
    """Send the client somewhere else."""
    raise web.HTTPFound("/greet/elsewhere")


async def refuse(_request: web.Request) -> web.Response:
    """Answer with an error on purpose."""
    raise web.HTTPConflict(text="no", headers={"X-Why": "because"})


async def status(request: web.Request) -> web.Response:
    """Answer with a status, and a reason of its own if asked."""
    return web.Response(
        status=int(request.match_info["status"]), reason=request.query.get("reason")
    )


async def progress(request: web.Request) -> web.Response:
    """Report on the job."""
    job = current(request)
    job.report(50)
    job.count("RECORDS", 3)
    job.warn("careful")
    return web.json_response({"id": job.id, "attempt": job.attempt, "progress": job.progress})


ROUTES: dict[str, Handler] = {
    "/greet/{name}": greet,
    "/mirror/{tail:.*}": mirror,
    "/echo": echo,
    "/upload": upload,
    "/count": count,
    "/stream": stream,
    "/trickle": trickle,
    "/slow": slow,
    "/stubborn": stubborn,
    "/cookies": cookies,
    "/file": file,
    "/compressed": compressed,
    "/compressed-stream": compressed_stream,
    "/unhandled": unhandled,
    "/too-late": too_late,
    "/timed-out": timed_out,
    "/gives-up": gives_up,
    "/cancels-its-task": cancels_its_task,
    "/unpreparable": unpreparable,
    "/nothing": nothing,
    "/too-short": too_short,
    "/injected": injected,
    "/redirect": redirect,
    "/refuse": refuse,
    "/status/{status}": status,
    "/progress": progress,
}


def create_app() -> web.Application:
    """Return the application, ready to be run."""
    app = web.Application(client_max_size=64 * 2**20)
    app[SEEN] = Seen()
    for path, handler in ROUTES.items():
        app.router.add_route("*", path, handler)
    return app
