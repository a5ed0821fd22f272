"""A client that puts a load on a server, and takes little of the processor for itself.

Raw sockets below one epoll: an HTTP client library would cost more than the server that it is to
measure. Of an answer it reads the status, the length and where the head ends, and nothing else.
"""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Final

from trials.bench.scripts import SCRIPTS, Load, Script, WrongAnswerError

# How much of an answer is read at a time; Python sets so much aside for each reading.
_SMALL: Final = 4096
_LARGE: Final = 256 * 1024
# How long a server may be silent on all connections.
_PATIENCE: Final = 120.0
_LENGTH: Final = b"\r\nContent-Length: "
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load.

    Args:
        operations: how many there were.
        requests: how many requests that took.
        seconds: how long all of it took.
        p50: the median time that an operation took, in milliseconds.
        p99: the time that 99 in 100 stayed below.
        worst: the longest.
        cpu: how much processor time the client itself has used, in seconds.
    """

    operations: int
    requests: int
    seconds: float
    p50: float
    p99: float
    worst: float
    cpu: float

    @property
    def per_second(self) -> float:
        """The rate of operations."""
        return self.operations / self.seconds


def drive(load: Load) -> Outcome:
    """Put a load on a server.

    Raises:
        WrongAnswerError: the server has not done what it was asked for.
        OSError: it has hung up, or is silent.
    """
    with ExitStack() as stack:
        return _Driver(load, stack).run()


class _Connection:
    __slots__ = ("begun", "got", "script", "socket", "unsent")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        self.script: Script
        self.begun = 0.0
        self.got = b""
        self.unsent = memoryview(b"")


class _Driver:
    def __init__(self, load: Load, stack: ExitStack) -> None:
        self._load = load
        self._begin: Callable[[Load], Script] = SCRIPTS[load.script]
        self._connections: dict[int, _Connection] = {}
        self._epoll = stack.enter_context(epoll())
        for port in islice(cycle((load.port, *load.others)), load.connections):
            connection = _Connection(port)
            stack.enter_context(connection.socket)
            self._epoll.register(connection.socket, EPOLLIN)
            self._connections[connection.socket.fileno()] = connection
        self._read_size = _SMALL if load.size < _SMALL // 2 else _LARGE
        self._requests = 0
        self._took: list[float] = []

    def run(self) -> Outcome:
        cpu, start = time.process_time(), time.perf_counter()
        self._until = start + self._load.seconds
        self._busy = len(self._connections)
        for connection in self._connections.values():
            self._next(connection, start)
        self._loop()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        took = sorted(self._took)
        return Outcome(
            operations=len(took),
            requests=self._requests,
            seconds=seconds,
            p50=took[len(took) // 2] * 1000,
            p99=took[int(len(took) * 0.99)] * 1000,
            worst=took[-1] * 1000,
            cpu=cpu,
        )

    def _loop(self) -> None:
        while self._busy:
            events = self._epoll.poll(_PATIENCE)
            if not events:
                raise TimeoutError(f"no answer within {_PATIENCE} seconds")
            for number, event in events:
                connection = self._connections[number]
                if event & EPOLLOUT:
                    self._send(connection, connection.unsent)
                if event & ~EPOLLOUT:
                    self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(self._read_size)
        if not data:
            raise ConnectionResetError("the server has hung up")
        if connection.got:
            data = connection.got + data
        start = data.find(_END) + len(_END)
        if start < len(_END) or len(data) < start + _length(data, start):
            connection.got = data
            return
        connection.got = b""
        try:
            request = connection.script.send((data, start))
        except StopIteration:
            now = time.perf_counter()
            self._took.append(now - connection.begun)
            self._next(connection, now)
        else:
            self._send(connection, request)

    def _next(self, connection: _Connection, now: float) -> None:
        """Begin the next operation, unless it is too late for one; each makes at least one."""
        if now >= self._until and connection.begun:
            self._busy -= 1
            return
        connection.begun = now
        connection.script = self._begin(self._load)
        self._send(connection, next(connection.script))

    def _send(self, connection: _Connection, request: bytes | memoryview) -> None:
        sent = connection.socket.send(request)
        if sent == len(request):
            self._requests += 1
            if connection.unsent:
                connection.unsent = memoryview(b"")
                self._epoll.modify(connection.socket, EPOLLIN)
            return
        connection.unsent = memoryview(request)[sent:]
        self._epoll.modify(connection.socket, EPOLLIN | EPOLLOUT)


def _length(data: bytes, start: int) -> int:
    """Read how long a body is; only an answer that never has one may leave that out."""
    found = data.find(_LENGTH, 0, start)
    if found >= 0:
        begin = found + len(_LENGTH)
        return int(data[begin : data.find(b"\r", begin)])
    if data[9:12] == b"204":
        return 0
    raise WrongAnswerError(data[:start].decode(errors="replace"))
