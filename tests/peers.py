"""What stands behind a server: services that end with the test, and a port where there is none."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from aiohttp import web

from trials.services import Talk, answering, listening
from trials.sockets import read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Services:
    """Services on free ports of this machine, which end with the test.

    Args:
        stack: what ends them.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def listen(self, talk: Talk) -> str:
        """Start a service that speaks for itself, and return its URL."""
        return await self._stack.enter_async_context(listening(talk))

    async def application(self, app: web.Application) -> str:
        """Start an application whose handlers learn that their client has left; return its URL."""
        return await self._stack.enter_async_context(
            answering(app, handler_cancellation=True, auto_decompress=False)
        )


@dataclass
class Origin:
    """A service that gives the same bytes to each request without a body, and keeps what it got."""

    answer: bytes = OK
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request of a connection."""
        self.connections += 1
        try:
            while True:
                self.heads.append(await read_head(reader))
                writer.write(self.answer)
                self.asked.set()
        finally:
            self.left.set()


def nobodys_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def stranger(
    status: int, *headers: tuple[str, str], body: bytes = b"<p>hello</p>"
) -> Iterator[str]:
    """Serve something else than a jobstore; give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
