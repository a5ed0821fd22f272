"""An aiohttp application as a target, called as over a socket, but without one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, TypeGuard

from aiohttp import StreamReader, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from jobstore.http import private
from jobstore.model.errors import TargetBroken
from jobstore.model.handle import WORKING_FOR, JobHandle
from jobstore.model.message import (
    OURS,
    Request,
    Response,
    bodiless,
    body_size,
    framed,
    without_lookalikes,
)
from jobstore.targets.answer import Answer
from jobstore.targets.mount import Mount
from jobstore.targets.pipe import ReadFlow
from jobstore.targets.upload import Upload

if TYPE_CHECKING:
    from jobstore.targets.switching import Switched

log = logging.getLogger(__name__)

_RAW: Final = ("utf-8", "surrogateescape")
_HANDLE: Final = web.RequestKey("jobstore.handle", JobHandle)


def current(request: web.BaseRequest) -> JobHandle:
    """Return the job that a request belongs to.

    For an ordinary request, the handle has the id None, and its reports are ignored.
    """
    if _HANDLE not in request:
        request[_HANDLE] = JobHandle()
    return request[_HANDLE]


class InProcess:
    """A target that is an aiohttp application in this process.

    Args:
        server: the application's server, from ``AppRunner.server``. The runner's settings for
            the access log apply here too.
        grace: how long a cancelled handler may take to stop, in seconds; one that does not is
            abandoned, and its answer is ignored.
        prefix: the prefix to remove from each path; "" for none.
    """

    def __init__(self, server: web.Server, grace: float = 10.0, prefix: str = "") -> None:
        self.grace = grace
        self.mount = Mount(prefix=prefix) if prefix else None
        self._server = server
        self._protocol = server()
        self._protocol.transport = _Wire()
        # Kept: to ask for the running loop is a system call, and each job would often ask.
        self.flow = ReadFlow()
        self.loop = self.flow.loop

    def send(self, request: Request, handle: JobHandle) -> "_Call":
        """Call the application and yield its response; leaving early cancels its handler.

        Args:
            request: what to send.
            handle: the job that the request is for; ``current`` returns it to the handler.

        Raises:
            TargetBroken: the handler breaks off, on entry or while the body is read.
        """
        return _Call(self, request, handle)

    @asynccontextmanager
    async def switching(
        self, request: Request, handle: JobHandle, protocols: str
    ) -> "AsyncIterator[Response | Switched]":
        """Call the application with an offer of other protocols; yield its answer or the switch.

        This needs a socket: one whose other end is here.

        Args:
            request: what to send, with end-to-end headers only.
            handle: knows where it comes from.
            protocols: the offered protocols, as the value of ``Upgrade``.

        Raises:
            TargetBroken: it did not answer.
        """
        # Loaded when somebody asks: a server whose targets are all in process has no client.
        from jobstore.targets.socketpair import switching

        del handle
        sent = _mounted(request, self.mount)
        async with switching(self._server, sent, protocols) as answer:
            yield _placed(answer, request, self.mount) if isinstance(answer, Response) else answer

    async def run(
        self, message: RawRequestMessage, payload: StreamReader, answer: Answer, handle: JobHandle
    ) -> None:
        """Run the handler of one request to its end."""
        task: asyncio.Task[None] | None = asyncio.current_task(self.loop)
        assert task is not None
        request = self._server.request_factory(message, payload, self._protocol, answer, task)
        request[_HANDLE] = handle
        if handle.id is not None:
            WORKING_FOR.set(handle)  # for this task, and for what it starts
        try:
            await self._respond(request, answer)
            answer.finish()
        except TargetBroken as error:
            answer.fail(error)
        except ConnectionError:  # too late for an error page; aiohttp has logged what happened
            answer.fail(TargetBroken("the handler failed in the middle of its response"))
        except BaseException:
            answer.fail(TargetBroken("the handler broke off its response"))
            raise

    async def _respond(self, request: web.BaseRequest, answer: Answer) -> None:
        """Handle a request as aiohttp does for one from a socket, with the same methods.

        Most answers are complete and need no writer.
        """
        started = self.loop.time()
        try:
            response = await self._server.request_handler(request)
        except web.HTTPException as exc:
            response = exc
        except TimeoutError:
            response = self._protocol.handle_error(request, 504)
        except Exception as exc:  # noqa: BLE001 - logged there, and answered with 500
            response = self._protocol.handle_error(request, 500, exc)
        if _is_whole(response, request) and not self._protocol.access_log:
            await _give(request, response, answer)
            return
        _, broken = await self._protocol.finish_response(request, response, started)
        if broken:
            raise ConnectionResetError


class _Call:
    """One call of the application, while its context lasts."""

    __slots__ = ("_answer", "_handle", "_request", "_target", "_tasks")

    def __init__(self, target: InProcess, request: Request, handle: JobHandle) -> None:
        self._target = target
        self._request = request
        self._handle = handle
        self._answer = Answer(request.method, target.loop)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Response:
        request, answer, target = self._request, self._answer, self._target
        upload, sent = Upload(request, target.flow), _mounted(request, target.mount)
        run = target.run(_message(sent), upload.payload, answer, self._handle)
        self._tasks.append(target.loop.create_task(run))
        if upload.pending:
            self._tasks.append(target.loop.create_task(upload.pour(answer.fail)))
        try:
            await answer.begun
            return _placed(answer.response(), request, target.mount)
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._answer.close()
        if not all(map(asyncio.Task.done, self._tasks)):
            await _stop(self._tasks, self._target.grace)


def _is_whole(response: object, request: web.BaseRequest) -> TypeGuard[web.Response]:
    """Return whether a response is complete and can be taken as it is."""
    if type(response) is not web.Response or response.prepared:  # its own kind may do anything
        return False
    body, length = response.body, response.headers.get("Content-Length")
    return (
        isinstance(body, bytes | None)
        and (length is None or length == str(len(body or b"")))
        and not (response.chunked or response.compression or response.cookies)
        and not bodiless(request.method, response.status)
    )


async def _give(request: web.BaseRequest, response: web.Response, answer: Answer) -> None:
    """Hand over a complete response as aiohttp would send it."""
    private.finish(request)
    body, headers = response.body or b"", response.headers
    assert isinstance(body, bytes)
    headers["Content-Length"] = str(len(body))
    if body:
        headers.setdefault("Content-Type", "application/octet-stream")
    if "Date" not in headers:
        headers["Date"] = rfc822_formatted_time()
    headers.setdefault("Server", SERVER_SOFTWARE)
    await private.prepare(request, response)
    answer.give(response.status, response.reason or "", tuple(headers.items()), body)
    private.mark_sent(response)


def _mounted(request: Request, mount: Mount | None) -> Request:
    return request if mount is None else replace(request, path=mount.path(request.path))


def _placed(response: Response, request: Request, mount: Mount | None) -> Response:
    """Return a response with its locations rewritten for the client."""
    if mount is None:
        return response
    return replace(response, headers=mount.places(response.headers, request))


def _message(request: Request) -> RawRequestMessage:
    headers = framed(without_lookalikes(request.headers, OURS), request.body)
    return RawRequestMessage(
        request.method,
        request.path,
        HttpVersion11,
        CIMultiDictProxy(CIMultiDict(headers)),
        tuple([(name.encode(*_RAW), value.encode(*_RAW)) for name, value in headers]),
        False,  # noqa: FBT003 - whether to close the connection; the tuple takes no names in C
        None,
        False,  # noqa: FBT003 - whether this is an upgrade
        body_size(request.body) is None,
        _url(request.path),
    )


@lru_cache(maxsize=1024)  # most paths are asked for again and again
def _url(path: str) -> URL:
    """Return a request target as aiohttp's parser does, without normalising it."""
    if not path.startswith("/"):
        return URL(path, encoded=True)
    path, _, query = path.partition("?")
    return URL.build(path=path, query_string=query, encoded=True)


async def _stop(tasks: Sequence[asyncio.Task[None]], grace: float) -> None:
    for task in tasks:
        task.cancel()
    _, stubborn = await asyncio.wait(tasks, timeout=grace)
    if stubborn:
        log.warning("a handler is still running %g s after it was cancelled", grace)


class _Wire(asyncio.Transport):
    """The transport of all requests in process; it carries nothing."""

    def is_closing(self) -> bool:
        """Return False: an exchange that is broken off cancels its handler instead."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return 0: what was written has been handed over."""
        return 0

    @property
    def _sendfile_compatible(self) -> NoReturn:
        # loop.sendfile asks for this, and FileResponse takes the error as it is raised by loops
        # without sendfile (uvloop): it writes the file to the writer instead.
        raise NotImplementedError
