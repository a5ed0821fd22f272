"""Connections to a service, each reused only if nothing unread is left on it.

Anything that a service sends unasked would be mistaken for the answer to the next
request: RFC 9112 section 9.2. So a connection is closed if anything arrived after its last answer,
or if an answer or a request was incomplete.
"""

import asyncio
import math
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final, TypeAlias

from aiohappyeyeballs import AddrInfoType, start_connection
from yarl import URL

from jobstore.model.errors import TargetUnreachable
from jobstore.model.frozen import frozen
from jobstore.model.message import HeadLimits
from jobstore.targets.exchange import Exchange

# How long an idle connection is kept, in seconds. One that the service closes just as a request
# goes out fails the job if its method is not idempotent, since RFC 9110 section 9.2.2 forbids to
# send that again. So this has to be shorter than any usual service's own limit (gunicorn: 2 s;
# uvicorn, Node.js and Apache: 5 s); a new connection costs little beside a lost job.
IDLE_SECONDS: Final = 1.0
# For how long the addresses of a host are remembered, in seconds: each lookup takes a thread.
_REMEMBERED: Final = 10.0
# After how long another address of the same host is tried as well, in seconds: RFC 8305 section 5.
_NEXT_ADDRESS: Final = 0.25

UNIX: Final = "unix:"
# What `socket.getaddrinfo` gives.
Addresses: TypeAlias = Sequence[AddrInfoType]


@frozen
class ServiceAddress:
    """The address of a service.

    Args:
        url: its URL; for a socket file, the URL that its requests name.
        path: the path of the socket file, or None.
    """

    url: URL
    path: str | None = None

    @classmethod
    def of(cls, base: str) -> "ServiceAddress":
        """Read a URL, or ``unix:`` and the path of a socket file."""
        if base.startswith(UNIX):
            return cls(URL("http://localhost"), base.removeprefix(UNIX))
        return cls(URL(base, encoded=True))

    def __str__(self) -> str:
        return f"{self.url.raw_host}:{self.url.port}" if self.path is None else UNIX + self.path


class Connections:
    """All connections to one service.

    Args:
        place: its address.
        limits: the limits for the head of an answer.
        connect: how long connecting may take, in seconds.
    """

    def __init__(self, place: ServiceAddress, limits: HeadLimits, connect: float) -> None:
        base, self._place = place.url, place
        self._host = base.raw_host or ""
        self._port = base.port or 0
        self._tls = ssl.create_default_context() if base.scheme == "https" else None
        self._limits = limits
        self._connect = connect
        self._idle: deque[tuple[float, Exchange]] = deque()  # the one that was used last comes last
        self._sweeping: asyncio.TimerHandle | None = None
        self._addresses = _numeric(self._host, self._port)
        self._known_until = math.inf if self._addresses else 0.0
        self._looking_up = asyncio.Lock()
        self._open: set[Exchange] = set()

    def reused(self) -> Exchange | None:
        """Return an idle connection that can be reused, if there is one."""
        while self._idle:
            since, exchange = self._idle.pop()
            if exchange.is_quiet and monotonic() - since < IDLE_SECONDS:
                return exchange
            self.drop(exchange)
        return None

    async def made(self) -> Exchange:
        """Make a new connection.

        Raises:
            TargetUnreachable: no connection could be made, or none in time.
        """
        try:
            async with asyncio.timeout(self._connect):
                exchange = await self._made()
        except TimeoutError as error:
            self._look_up_again()
            raise TargetUnreachable("no connection to the target could be made in time") from error
        except (OSError, ValueError) as error:
            self._look_up_again()
            reason = _reason(error)
            raise TargetUnreachable(f"no connection to {self._place}: {reason}") from error
        self._open.add(exchange)
        return exchange

    async def _made(self) -> Exchange:
        loop = asyncio.get_running_loop()
        if self._place.path is not None:
            _, exchange = await loop.create_unix_connection(
                lambda: Exchange(loop, self._limits), self._place.path
            )
            return exchange
        found = await self._looked_up()
        reached = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1)
        try:
            named = self._host.removesuffix(".") if self._tls else None
            _, exchange = await loop.create_connection(
                lambda: Exchange(loop, self._limits),
                sock=reached,
                ssl=self._tls,
                server_hostname=named,
            )
        except BaseException:
            reached.close()
            raise
        return exchange

    async def _looked_up(self) -> Addresses:
        """Return the addresses of the service, cached for a moment."""
        loop = asyncio.get_running_loop()
        async with self._looking_up:
            if loop.time() >= self._known_until:
                kind, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
                found = await loop.getaddrinfo(self._host, self._port, type=kind, flags=flags)
                self._addresses, self._known_until = found, loop.time() + _REMEMBERED
            return self._addresses

    def _look_up_again(self) -> None:
        """Forget a cached address that could not be reached."""
        if self._known_until < math.inf:  # and it is no address itself
            self._known_until = 0.0

    def release(self, exchange: Exchange) -> None:
        """Take back a connection whose exchange is over."""
        if not exchange.is_quiet:
            self.drop(exchange)
            return
        self._idle.append((monotonic(), exchange))
        if self._sweeping is None:
            self._sweep_after(IDLE_SECONDS)

    def drop(self, exchange: Exchange) -> None:
        """Close a connection that cannot be reused."""
        exchange.close()
        self._open.discard(exchange)

    def _sweep(self) -> None:
        """Close connections that have been idle for too long."""
        self._sweeping, latest = None, monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0][0] <= latest:
            self.drop(self._idle.popleft()[1])
        if self._idle:
            self._sweep_after(self._idle[0][0] - latest)

    def _sweep_after(self, seconds: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def close(self) -> None:
        """Close all of them."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        for exchange in [*self._open]:
            self.drop(exchange)


def _numeric(host: str, port: int) -> Addresses:
    """Return the address if a host is one, which needs no lookup; none if it is a name."""
    try:
        kind, flags = socket.SOCK_STREAM, socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=kind, flags=flags)
    except (OSError, UnicodeError):
        return []


def _reason(error: OSError | ValueError) -> str:
    """Return the system's message for a failed connection, which asyncio replaces by its own."""
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return str(error)
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return str(error.strerror or "all addresses failed")
