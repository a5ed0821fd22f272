"""Everything private that jobstore uses of aiohttp, in one place.

Each use of a private attribute is a function here. Private names that our subclasses inherit are
listed in `INHERITED`, by base class. A test compares both with the installed release and with what
our modules use. So if a release removes a name, that test says which one before anything else
fails.
"""

# ruff: noqa: SLF001 - that is what this module is for

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpVersion, StreamWriter
from aiohttp.web_app import Application

# The server's side of a connection.
_CONNECTION: Final = frozenset(
    {
        "_close",  # whether it is to be closed after the request that is answered
        "_current_request",  # whose handler runs
        "_force_close",  # whether it is being closed
        "_handler_waiter",  # pending while a shutdown waits for an answer
        "_keepalive_timeout",
        "_loop",
        "_manager",  # the server
        "_messages",  # requests that wait for their turn
        "_next_keepalive_close_time",
        "_parser",
        "_pause_reading_for_buffer",
        "_process_keepalive",  # closes it when it has been idle for too long
        "_request_count",
        "_request_in_progress",  # until the request is answered wholly
        "_resume_reading_for_buffer",
        "_upgraded",
        "_waiter",  # pending while there are no messages
    }
)
INHERITED: Final[Mapping[type, frozenset[str]]] = {
    web.RequestHandler: _CONNECTION,
    web.Server: frozenset({"_kwargs", "_loop"}),
    web.Request: frozenset({"_match_info", "_prepare_hook"}),
    ResponseHandler: frozenset(
        {
            "_exception",
            "_parser",
            "_read_bufsize",
            "_reading_paused",
            "_should_close",
            "_skip_payload",
            "_tail",  # what a service has sent behind its switch to another protocol
            "_upgraded",
        }
    ),
    StreamWriter: frozenset({"_headers_buf", "_headers_written"}),
}


def unread(payload: StreamReader) -> bytes:
    """Return what has arrived of a body, without consuming it."""
    return b"".join(payload._buffer)


def version_of(request: web.BaseRequest) -> HttpVersion:
    """Return a request's version without caching it: it may still be changed."""
    return request._version


def set_version(request: web.BaseRequest, version: HttpVersion) -> None:
    """Set the version by which a request is answered."""
    request._version = version


def set_match(request: web.Request, match: web.UrlMappingMatchInfo) -> None:
    """Let a request have been found by another router than its application's own."""
    match.add_app(request.app)
    match.freeze()
    request._match_info = match


def set_writer(request: web.BaseRequest, writer: AbstractStreamWriter) -> None:
    """Replace the writer of a request's answer."""
    request._payload_writer = writer


def finish(request: web.BaseRequest) -> None:
    """Release a request's resources, as aiohttp does once its handler has returned."""
    request._finish()


async def prepare(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Run the signals of a response that is about to be sent, as aiohttp does."""
    await request._prepare_hook(response)


def mark_sent(response: web.StreamResponse) -> None:
    """Mark a response as sent, so that it cannot be sent again."""
    response._eof_sent = True


async def drain(connection: BaseProtocol) -> None:
    """Wait until a connection has room for more."""
    await connection._drain_helper()


def below(transport: asyncio.BaseTransport) -> asyncio.WriteTransport | None:
    """Return the transport below a TLS transport; None for any other.

    The data buffered there is not counted by the TLS transport; this is private to asyncio.
    """
    encrypting = getattr(transport, "_ssl_protocol", None)
    carrier = getattr(encrypting, "_transport", None)
    return carrier if isinstance(carrier, asyncio.WriteTransport) else None


async def handle(app: Application, request: web.Request) -> web.StreamResponse:
    """Let an application answer a request, as its runner does."""
    return await app._handle(request)


def request_factory_of(app: Application) -> Any:
    """Return the factory of an application's requests."""
    return app._make_request


def current_request(connection: web.RequestHandler) -> web.BaseRequest | None:
    """Return the request whose handler runs on a connection."""
    return connection._current_request


def closes_at(connection: web.RequestHandler) -> float:
    """Return when an idle connection is closed, in seconds of its loop's clock."""
    return connection._next_keepalive_close_time


def take_tail(connection: web.RequestHandler) -> bytes:
    """Take the data that a client sent behind a request for another protocol."""
    tail = connection._message_tail
    connection._message_tail = b""
    return tail


def take_early(connection: ResponseHandler) -> bytes:
    """Take the data that a service sent behind its switch to another protocol."""
    tail = connection._tail
    connection._tail = b""
    return tail
