"""An HTTP client that repeats nothing by itself, and that can leave in the middle of anything."""

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

from trials.sockets import Connection, connect, hang_up, message, read_head

# A server that takes longer for any answer hangs, however busy its machine is.
_PATIENCE_SECONDS: Final = 120.0
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
# Than any other answer with 500, of which it tells HEAD only the length.
_LONGER: Final = 120
_WITHOUT_BODY: Final = frozenset({204, 304})

T = TypeVar("T")


class BrokenError(Exception):
    """The connection broke before the answer was read to its end."""


class HungError(BrokenError):
    """No answer came for a long time."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def head(self) -> bytes:
        """Write everything but the body."""
        fields = [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method not in {"GET", "HEAD"}:
            fields.append(f"Content-Length: {len(self.body)}")
        return message(self.method, self.path, *fields)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read to its end; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_for_now(self) -> bool:
        """Whether it says to come again; Kinetica's clients want to be told that with 400."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return "retry-after" in self.headers
        return self.status == HTTPStatus.BAD_REQUEST and b"just now" in self.body

    @property
    def is_unsure(self) -> bool:
        """Whether it says that nobody knows what has become of the request.

        To HEAD it says so by its status alone; what else is wrong then stands in the server's log.
        """
        if self.status == HTTPStatus.INTERNAL_SERVER_ERROR and not self.body:
            return int(self.headers.get("content-length", 0)) > _LONGER
        return b"whether it took effect" in self.body

    def body_size(self, method: str) -> int:
        """Tell how many bytes follow the head."""
        if method == "HEAD" or self.status in _WITHOUT_BODY:
            return 0
        return int(self.headers["content-length"])


class Client:
    """A client with one connection, which it keeps from one request to the next.

    Args:
        url: where the server is.
        patience: for how many seconds it waits for an answer before it hangs up; None to wait for
            as long as an answer may take, and to complain then.
    """

    def __init__(self, url: str, patience: float | None = None) -> None:
        self._url = url
        self._patience = patience
        self._open: Connection | None = None

    async def ask(self, ask: Ask) -> Answer:
        """Send a request and read its answer to the end.

        Raises:
            BrokenError: that could not be done, and nobody knows how far it came.
        """
        return await self._bounded(self._ask(ask))

    async def begin(self, ask: Ask, after: int) -> Answer:
        """Send a request, and read a part of the answer's body; hang up afterwards.

        Args:
            ask: the request.
            after: how many bytes of the body to read, if there are so many.

        Returns:
            the answer as far as it was read.

        Raises:
            BrokenError: not even so much could be read.
        """
        return await self._bounded(self._begin(ask, after))

    async def stop_half_way(self, ask: Ask, size: int, *, reset: bool) -> None:
        """Send a request with only so many bytes of its body, and hang up."""
        try:
            await self._bounded(self._send(ask.head() + ask.body[:size]))
        finally:
            self.close(reset=reset)

    def close(self, *, reset: bool = False) -> None:
        """Hang up, politely or not."""
        connection, self._open = self._open, None
        if connection:
            hang_up(connection.writer, reset=reset)

    async def _bounded(self, exchange: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._patience or _PATIENCE_SECONDS):
                return await exchange
        except TimeoutError as error:
            self.close(reset=True)
            raise (BrokenError if self._patience else HungError) from error
        except (OSError, EOFError) as error:
            self.close(reset=True)
            raise BrokenError from error

    async def _ask(self, ask: Ask) -> Answer:
        connection = await self._send(ask.head() + ask.body)
        answer = await _answered(connection)
        body = await connection.reader.readexactly(answer.body_size(ask.method))
        if answer.headers.get("connection") == "close":
            self.close()
        return replace(answer, body=body)

    async def _begin(self, ask: Ask, after: int) -> Answer:
        connection = await self._send(ask.head() + ask.body)
        answer = await _answered(connection)
        size = min(after, answer.body_size(ask.method))
        return replace(answer, body=await connection.reader.readexactly(size))

    async def _send(self, data: bytes) -> Connection:
        if self._open is None:
            self._open = await connect(self._url)
        await self._open.send(data)
        return self._open


async def _answered(connection: Connection) -> Answer:
    """Read the head of an answer."""
    head = await read_head(connection.reader)
    status = _STATUS.match(head)
    if not status:
        raise EOFError
    fields = (line.decode("latin-1").split(":", 1) for line in head.split(b"\r\n")[1:-2])
    return Answer(int(status[1]), {name.lower(): value.strip() for name, value in fields})
